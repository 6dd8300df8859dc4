"""Quotas: what was spent keeps to every limit, in every window; judged by what was carried out, not by the ledger."""

from __future__ import annotations

from collections import Counter, defaultdict
from itertools import pairwise

from attrs import frozen

from showcaller.actors.messages import Reserve
from showcaller.actors.policies.quota_ledger import DAY, HOUR, MINUTE
from showcaller.runtime.testing.backend import Served, SimulatedBackend
from showcaller.runtime.testing.invariants.findings import Findings
from showcaller.runtime.testing.invariants.view import View

ROUNDING = 0.01
"""Requests or tokens that are nothing but the rounding of wall time, which has fewer digits than its origin."""
SKIP = 1e-3
"""Seconds by which the wall clock must be off to have been set."""


@frozen
class _Spent:
    """One call that was carried out, or may have been: when it was granted, and its tokens."""

    now: float
    wall: float
    tokens: float


class QuotaChecks:
    """Watches what the quota manager grants."""

    def __init__(self, view: View, findings: Findings) -> None:
        self._view = view
        self._findings = findings
        self._granted: dict[tuple[int, int], tuple[float, float]] = {}

    def after_reserve(self, message: Reserve) -> None:
        """A Reserve was handled."""
        tree, key = self._view.tree, message.attempt.key
        if tree is not None and key in tree.quotas._whole._open and key not in self._granted:
            clock = self._view.clock
            self._granted[key] = (clock.now(), clock.wall())

    def at_end(self) -> None:
        """No limit was exceeded."""
        groups: defaultdict[str, list[SimulatedBackend]] = defaultdict(list)
        for backend in self._view.simulation.made:
            groups[backend.config.name].append(backend)
        everything: list[_Spent] = []
        for name, made in groups.items():
            spent = self._spent(made)
            everything += spent
            limits = {(one.config.rate_limit_rpm, one.config.rate_limit_tpm) for one in made}
            if len(limits) > 1:
                # A backend that comes back under other limits begins a new account.
                continue
            rpm, tpm = limits.pop()
            if rpm is not None:
                self._judge_rate(name, "rpm", rpm, [(one.now, one.wall, 1.0) for one in spent])
            if tpm is not None:
                self._judge_rate(
                    name, "tpm", tpm, [(one.now, one.wall, min(one.tokens, tpm)) for one in spent]
                )
        quota = self._view.simulation.config.quota
        everything.sort(key=lambda one: one.now)
        if all(earlier.wall <= later.wall for earlier, later in pairwise(everything)):
            self._judge_window("requests_per_hour", quota.requests_per_hour, HOUR, everything)
            self._judge_window("requests_per_day", quota.requests_per_day, DAY, everything)

    def _spent(self, made: list[SimulatedBackend]) -> list[_Spent]:
        spent = []
        for backend in made:
            for served in backend.served:
                record = self._view.executed.get((served.request_id, served.number))
                granted = None if record is None else self._granted.get(record.key)
                if record is None or granted is None or not _carried_out(served):
                    continue
                tokens = record.tokens
                if served.answered:
                    tokens = min(tokens, len(record.flight.request.payload) // 4 + served.output_tokens)
                spent.append(_Spent(*granted, tokens))
        return sorted(spent, key=lambda one: one.now)

    def _judge_rate(
        self, name: str, limit: str, rate: float, spent: list[tuple[float, float, float]]
    ) -> None:
        """A bucket that holds a minute's worth, and is full again whenever the wall clock was set."""
        level, offset, last = float(rate), 0.0, 0.0
        for now, wall, amount in spent:
            if abs(wall - now - offset) > SKIP:
                level, offset, last = float(rate), wall - now, now
            level = min(rate, level + (now - last) * rate / MINUTE) - amount
            last = now
            if level < -ROUNDING:
                self._findings.say(limit, name, f"more was spent than {limit} = {rate:g} allows")
                return

    def _judge_window(self, limit: str, most: int | None, seconds: float, spent: list[_Spent]) -> None:
        if most is None or not spent:
            return
        used = Counter(int(one.wall // seconds) for one in spent)
        highest = max(used.values())
        if highest > most:
            self._findings.say(
                limit, "all backends", f"{highest} requests were carried out, and {limit} = {most}"
            )


def _carried_out(served: Served) -> bool:
    if served.sent is None:
        return False
    return served.error is None or served.error.maybe_executed
