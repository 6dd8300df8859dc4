"""The demo's last word: what was accepted, answered, lost and duplicated, and what the failures cost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from attrs import frozen

from showcaller.runtime.cli.ledger import Ledger
from showcaller.runtime.cli.output import SIGNS, Screen
from showcaller.runtime.cli.stage import DOWN, WEIGHTS, Stage
from showcaller.runtime.status import BackendStatus, RuntimeStatus


@frozen(kw_only=True)
class Crash:
    """The crash that was staged.

    Attributes:
        backend: whose actor died.
        held: the attempts that were under way there and never came back, by request id and number.
    """

    backend: str
    held: frozenset[tuple[str, int]]


@frozen(kw_only=True)
class Finding:
    """One line of the account, and whether it is as it must be."""

    ok: bool
    name: str
    text: str


def settle(screen: Screen, stage: Stage, ledger: Ledger, crash: Crash | None) -> bool:
    """Write the account; is everything as it must be?"""
    status = stage.runtime.status()
    findings = [
        *_outcomes(ledger, status),
        _crash(ledger, status, crash),
        _down(stage, _backend(status, DOWN)),
    ]
    screen.rows((SIGNS["ok" if one.ok else "failure"], one.name, one.text) for one in findings)
    for error in ledger.errors[:3]:
        screen.rows([(SIGNS["failure"], type(error).__name__, str(error))])
    screen.line()
    screen.rows(_shares(ledger.by_backend(), {n: w for n, w in WEIGHTS.items() if n != DOWN}))
    if crash is not None:
        screen.aside(f"  (the crash sent {len(crash.held)} from {crash.backend} elsewhere)")
    screen.line()
    p50, p99 = ledger.percentile(0.5), ledger.percentile(0.99)
    screen.rows([("latency", f"p50 {p50:.2f} s, p99 {p99:.2f} s, waiting included")])
    return all(one.ok for one in findings)


def _outcomes(ledger: Ledger, status: RuntimeStatus) -> list[Finding]:
    failed = len(ledger.errors)
    account = status.account
    ours = (ledger.accepted, ledger.answered, failed)
    theirs = (account.accepted, account.answered, account.failed)
    agrees = ours == theirs
    return [
        Finding(
            ok=failed == 0 and ledger.accepted == ledger.answered + failed,
            name="outcomes",
            text=f"{ledger.accepted} accepted = {ledger.answered} answered + {failed} failed",
        ),
        Finding(ok=ledger.lost == 0, name="lost", text=str(ledger.lost)),
        Finding(ok=ledger.duplicated == 0, name="duplicated", text=str(ledger.duplicated)),
        Finding(
            ok=agrees,
            name="second count",
            text="the runtime's own account says the same"
            if agrees
            else "the runtime's own account says {} accepted, {} answered, {} failed".format(*theirs),
        ),
    ]


def _crash(ledger: Ledger, status: RuntimeStatus, crash: Crash | None) -> Finding:
    if crash is None:
        return Finding(ok=False, name="crash", text="none could be staged: nothing was in flight")
    answers: Counter[str] = Counter()
    missing = 0
    for request_id, number in crash.held:
        response = ledger.response(request_id)
        if response is None or response.attempts <= number:
            missing += 1
        else:
            answers[response.backend] += 1
    actor = _backend(status, crash.backend).actor
    where = ", ".join(f"{count} by {name}" for name, count in answers.items()) or "none"
    return Finding(
        ok=missing == 0 and actor.restarts >= 1 and actor.state == "running",
        name="crash",
        text=f"{crash.backend} died with {len(crash.held)} requests in flight that never came back; they were "
        f"sent again and answered: {where}; it is {actor.state}, restarts {actor.restarts}",
    )


def _down(stage: Stage, down: BackendStatus) -> Finding:
    witness = stage.witnesses[DOWN]
    return Finding(
        ok=witness.attempts > 0 and witness.answers == 0,
        name=DOWN,
        text=f"cost {witness.attempts} attempts and {witness.failed_seconds * 1000:.0f} ms; each request failed "
        f"over, breaker {down.circuit.value.replace('_', '-')}",
    )


def _shares(answers: Counter[str], weights: Mapping[str, int]) -> list[tuple[str, ...]]:
    total, sum_of_weights = sum(answers.values()) or 1, sum(weights.values())
    rows: list[tuple[str, ...]] = [("share of", "weight", "expected", "actual", "answers")]
    for name, weight in weights.items():
        rows.append(
            (
                name,
                str(weight),
                f"{weight / sum_of_weights:.0%}",
                f"{answers[name] / total:.0%}",
                str(answers[name]),
            )
        )
    return rows


def _backend(status: RuntimeStatus, name: str) -> BackendStatus:
    return next(backend for backend in status.backends if backend.name == name)
