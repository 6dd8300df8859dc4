"""The tree while it works: drawn over and over on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Protocol

from showcaller.actors.enums import CircuitState
from showcaller.runtime.cli.output import RichScreen, Screen
from showcaller.runtime.status import BackendStatus, RuntimeStatus

if TYPE_CHECKING:
    from rich.live import Live
    from rich.table import Table

LINE_SECONDS = 2.0
"""How often a screen that is no terminal gets a line."""
LONGEST_BAR = 8

BREAKERS = {CircuitState.CLOSED: "closed", CircuitState.OPEN: "open", CircuitState.HALF_OPEN: "half-open"}
_STYLES = {
    "running": "green",
    "closed": "green",
    "restarting": "bold yellow",
    "half-open": "bold yellow",
    "open": "bold red",
    "failed": "bold red",
}


class TreeView(Protocol):
    """Shows the state of the tree."""

    def show(self, status: RuntimeStatus, answered: Mapping[str, int], done: str) -> None:
        """Show a state.

        Args:
            status: of the runtime.
            answered: answers by backend.
            done: how far the whole has come, in words.
        """

    def say(self, text: str) -> None:
        """Something has happened."""


@contextlib.contextmanager
def view_of(screen: Screen) -> Iterator[TreeView]:
    """A view for the time of the block."""
    if not isinstance(screen, RichScreen):
        yield LineView(screen)
        return
    from rich.live import Live

    with Live(console=screen.console, auto_refresh=False, transient=False) as live:
        yield LiveView(live)


class LineView:
    """One line every LINE_SECONDS."""

    def __init__(self, screen: Screen) -> None:
        self._screen = screen
        self._told = float("-inf")

    def show(self, status: RuntimeStatus, answered: Mapping[str, int], done: str) -> None:
        """Show a state."""
        now = time.monotonic()
        if now - self._told >= LINE_SECONDS:
            self._told = now
            parts = [in_words(backend) for backend in status.backends]
            self._screen.line(f"  {done}: {'; '.join(parts)}")

    def say(self, text: str) -> None:
        """Something has happened."""
        self._screen.line(f"  {text}")


def in_words(backend: BackendStatus) -> str:
    """A backend in half a line."""
    actor = backend.actor
    state = "" if actor.state == "running" else f"{actor.state}, "
    restarts = f", restarts {actor.restarts}" if actor.restarts else ""
    return (
        f"{backend.name} {state}{backend.in_flight} in flight, breaker {BREAKERS[backend.circuit]}{restarts}"
    )


class LiveView:
    """The whole tree as a table."""

    def __init__(self, live: Live) -> None:
        self._live = live
        self._said = ""

    def show(self, status: RuntimeStatus, answered: Mapping[str, int], done: str) -> None:
        """Show a state."""
        from rich.console import Group
        from rich.padding import Padding
        from rich.text import Text

        lines = Text(f"\n{done}\n", "bold")
        lines.append(self._said or " ", "yellow")
        self._live.update(Padding(Group(_table(status, answered), lines), (0, 0, 0, 2)), refresh=True)

    def say(self, text: str) -> None:
        """Something has happened."""
        self._said = text


def _table(status: RuntimeStatus, answered: Mapping[str, int]) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for title, width in (("actor", 17), ("state", 10), ("in flight", LONGEST_BAR + 3), ("breaker", 9)):
        table.add_column(title, min_width=width, no_wrap=True)
    for title in ("restarts", "answered"):
        table.add_column(title, justify="right", no_wrap=True)

    def word(text: str) -> Text:
        return Text(text, _STYLES.get(text, ""))

    actors = sorted(status.actors, key=lambda actor: actor.name != "supervisor")
    for actor in actors:
        last = actor is actors[-1]
        name = f"{'└─' if last else '├─'} {actor.name}"
        table.add_row(name, word(actor.state), "", "", str(actor.restarts), "")
        if actor.name != "supervisor":
            continue
        for backend in status.backends:
            branch = "└─" if backend is status.backends[-1] else "├─"
            table.add_row(
                f"│  {branch} {backend.name}",
                word(backend.actor.state),
                Text("▮" * min(backend.in_flight, LONGEST_BAR), "cyan").append(f" {backend.in_flight:>2}"),
                word(BREAKERS[backend.circuit]),
                str(backend.actor.restarts),
                str(answered.get(backend.name, 0)),
            )
    return table
