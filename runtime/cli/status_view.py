"""How the status of a running runtime is drawn: the whole tree of one, one row for each of several."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Literal

from showcaller.actors.enums import BackendState, CircuitState
from showcaller.runtime.cli.output import SIGNS, RichScreen, Row, Screen
from showcaller.runtime.cli.tree_view import BREAKERS, in_words
from showcaller.runtime.control_client import NoAnswer, Report
from showcaller.runtime.status import ActorStatus, BackendStatus, RuntimeStatus

if TYPE_CHECKING:
    from rich.console import Group, RenderableType

_TREE_HEADER = ("", "actor", "state", "in flight", "health", "breaker", "restarts", "")
_TABLE_HEADER = ("", "process", "runtime", "up", "backends", "open", "answered", "failed", "refused", "")
_UNWELL = (BackendState.UNHEALTHY, BackendState.FAILED, BackendState.RETIRED)


class Sheet(RichScreen):
    """A terminal's screen that keeps what is written, to be shown in one go."""

    def __init__(self, screen: RichScreen) -> None:
        self.console = screen.console
        self._kept: list[RenderableType] = []

    def take(self) -> Group:
        """What was written; the next sheet is empty."""
        from rich.console import Group

        kept, self._kept = self._kept, []
        return Group(*kept)

    def show(self, what: RenderableType) -> None:
        """Anything that Rich can draw, indented like rows."""
        from rich.padding import Padding

        self._kept.append(Padding(what, (0, 0, 0, 2)))

    def _print(self, text: str, style: str = "") -> None:
        self._kept.append(self._text(text, style))


def draw(screen: Screen, answers: Sequence[Report | NoAnswer], *, whole: bool) -> None:
    """Draw them.

    Args:
        screen: where.
        answers: at least one.
        whole: each with its tree, even when there are several.
    """
    if not whole and len(answers) > 1:
        screen.rows([_TABLE_HEADER, *(_table_row(answer) for answer in answers)])
        screen.aside("  `showcaller status --pid N` has the whole of one")
        return
    for answer in answers:
        if isinstance(answer, Report):
            _draw_tree(screen, answer)
        else:
            screen.line(f"{SIGNS['failure']} {in_a_sentence(answer)}")


def as_line(answer: Report | NoAnswer) -> str:
    """One line of it, for a log."""
    if isinstance(answer, NoAnswer):
        return in_a_sentence(answer)
    account, stuck = answer.status.account, answer.status.stuck
    parts = [f"{account.open} open, {account.answered} answered, {account.failed} failed"]
    parts += [] if stuck is None else [f"stuck: {stuck}"]
    parts += [in_words(backend) for backend in answer.status.backends]
    return f"{answer.pid} {answer.name}: {'; '.join(parts)}"


def in_a_sentence(answer: NoAnswer) -> str:
    """Which runtime, and why it was not heard."""
    return f"process {answer.pid} (runtime {answer.name}) {answer.reason}"


def _table_row(answer: Report | NoAnswer) -> Row:
    if isinstance(answer, NoAnswer):
        return (SIGNS["failure"], str(answer.pid), answer.name, "", "", "", "", "", "", answer.reason)
    status, account = answer.status, answer.status.account
    marks = [_mark_of(backend) for backend in status.backends]
    return (
        SIGNS[_mark_of_all(status)],
        str(answer.pid),
        answer.name,
        _age(answer.uptime),
        f"{marks.count('ok')} of {len(marks)}",
        *(str(count) for count in (account.open, account.answered, account.failed, account.refused)),
        "" if status.stuck is None else f"stuck: {status.stuck}",
    )


def _draw_tree(screen: Screen, report: Report) -> None:
    status, account = report.status, report.status.account
    screen.heading(f"Process {report.pid}, runtime {report.name}, up {_age(report.uptime)}")
    if status.stuck is not None:
        screen.rows([(SIGNS["failure"], f"stuck: {status.stuck}")])
    screen.line(
        f"  {account.accepted} accepted: {account.answered} answered, {account.failed} failed, "
        f"{account.open} open; {account.refused} refused at the door"
    )
    screen.rows([_TREE_HEADER, *_tree_rows(status)])
    if status.retry_budget.burst:
        screen.aside(
            f"  {status.retry_budget.left:.0f} of {status.retry_budget.burst:.0f} retries may be made now"
        )
    if status.quotas:
        screen.heading("Left of the quotas")
        screen.rows(
            (scope, ", ".join(f"{limit} {left}" for limit, left in limits.items()))
            for scope, limits in status.quotas.items()
        )
    if status.observations_dropped:
        screen.aside(f"  {status.observations_dropped} observations were dropped: some observer is too busy")


def _tree_rows(status: RuntimeStatus) -> Iterator[Row]:
    actors = sorted(status.actors, key=lambda actor: actor.name != "supervisor")
    for actor in actors:
        last = actor is actors[-1]
        name = f"{'└─' if last else '├─'} {actor.name}"
        yield (
            SIGNS[_mark_of_actor(actor)],
            name,
            actor.state,
            "",
            "",
            "",
            str(actor.restarts),
            "; ".join(_life(actor)),
        )
        if actor.name == "supervisor":
            for backend in status.backends:
                branch = "└─" if backend is status.backends[-1] else "├─"
                yield _backend_row(backend, f"{' ' if last else '│'}  {branch} {backend.name}")


def _backend_row(backend: BackendStatus, name: str) -> Row:
    hanging = f"{backend.hanging} seats hang" if backend.hanging else ""
    notes = [backend.out_of_service or "", hanging, *_life(backend.actor)]
    return (
        SIGNS[_mark_of(backend)],
        name,
        backend.actor.state,
        f"{backend.in_flight} of {backend.limit}",
        backend.health.value,
        _breaker(backend),
        str(backend.actor.restarts),
        "; ".join(note for note in notes if note),
    )


def _breaker(backend: BackendStatus) -> str:
    words = BREAKERS[backend.circuit]
    return (
        words
        if backend.half_open_in is None
        else f"{words}, probe in {_age(math.ceil(backend.half_open_in))}"
    )


def _life(actor: ActorStatus) -> list[str]:
    notes = []
    if actor.next_start_in is not None:
        notes.append(f"tried again in {_age(math.ceil(actor.next_start_in))}")
    if actor.last_crash is not None:
        notes.append(f"last crash: {actor.last_crash}")
    return notes


def _mark_of_actor(actor: ActorStatus) -> Literal["ok", "warning", "failure"]:
    return "ok" if actor.state == "running" else "failure" if actor.state == "failed" else "warning"


def _mark_of(backend: BackendStatus) -> Literal["ok", "warning", "failure", "aside"]:
    if backend.out_of_service == "disabled":
        return "aside"
    if (
        backend.out_of_service is not None
        or backend.health in _UNWELL
        or backend.circuit is CircuitState.OPEN
    ):
        return "failure"
    if (
        backend.health is BackendState.DEGRADED
        or backend.circuit is CircuitState.HALF_OPEN
        or backend.hanging
    ):
        return "warning"
    return _mark_of_actor(backend.actor)


def _mark_of_all(status: RuntimeStatus) -> Literal["ok", "warning", "failure"]:
    marks = {_mark_of_actor(actor) for actor in status.actors}
    if status.stuck is not None or "failure" in marks:
        return "failure"
    backends = {_mark_of(backend) for backend in status.backends}
    return "ok" if marks | backends <= {"ok", "aside"} else "warning"


def _age(seconds: float) -> str:
    """The two greatest units."""
    whole = int(seconds)
    for size, unit, smaller, smaller_unit in (
        (86400, "d", 3600, "h"),
        (3600, "h", 60, "min"),
        (60, "min", 1, "s"),
    ):
        if whole >= size:
            return f"{whole // size} {unit} {whole % size // smaller} {smaller_unit}"
    return f"{whole} s"
