"""What `showcaller status` shows of each report: signs and words, as a tree, as a table, and drawn over."""

from __future__ import annotations

import io

import attrs
import pytest

from showcaller.actors.enums import BackendState, CircuitState
from showcaller.runtime.cli import status as command_module
from showcaller.runtime.cli.output import RichScreen, Screen
from showcaller.runtime.cli.status import show
from showcaller.runtime.cli.status_view import as_line, draw
from showcaller.runtime.control_client import NoAnswer, Report
from showcaller.runtime.edge import Account
from showcaller.runtime.status import ActorStatus, BackendStatus, RetryBudgetStatus, RuntimeStatus
from tests.runtime.cli.conftest import line_of


def actor(name: str, **changes: object) -> ActorStatus:
    """One that is well."""
    well = ActorStatus(name=name, state="running", generation=1, restarts=0, last_crash=None)
    return attrs.evolve(well, **changes)


def backend(name: str, **changes: object) -> BackendStatus:
    """One that is well."""
    well = BackendStatus(
        name=name,
        actor=actor(name),
        health=BackendState.HEALTHY,
        circuit=CircuitState.CLOSED,
        in_flight=3,
        limit=64,
        hanging=0,
        out_of_service=None,
    )
    return attrs.evolve(well, **changes)


def report(*backends: BackendStatus, pid: int = 12, uptime: float = 5.0, **changes: object) -> Report:
    """One that is well but for what is given."""
    status = RuntimeStatus(
        account=Account(accepted=9, answered=5, failed=1, open=3, refused=2),
        backends=backends,
        actors=(actor("recorder"), actor("supervisor")),
        quotas={},
        retry_budget=RetryBudgetStatus(left=100.0, burst=100.0),
        observations_dropped=0,
        stuck=None,
    )
    return Report(pid=pid, name="ab", uptime=uptime, status=attrs.evolve(status, **changes), document={})


def drawn(*answers: Report | NoAnswer, whole: bool = False) -> list[str]:
    """The lines of it."""
    stream = io.StringIO()
    draw(Screen(stream), answers, whole=whole)
    return stream.getvalue().splitlines()


@pytest.mark.parametrize(
    ("changes", "sign", "words"),
    [
        ({}, "✓", ["3", "of", "64", "healthy", "closed", "0"]),
        ({"health": BackendState.DEGRADED}, "!", ["degraded"]),
        ({"health": BackendState.UNHEALTHY}, "✗", ["unhealthy"]),
        ({"circuit": CircuitState.OPEN}, "✗", ["open"]),
        ({"circuit": CircuitState.HALF_OPEN}, "!", ["half-open"]),
        ({"hanging": 2}, "!", ["2", "seats", "hang"]),
        ({"out_of_service": "draining"}, "✗", ["draining"]),
        ({"out_of_service": "disabled"}, "·", ["disabled"]),
        ({"actor": actor("a", state="restarting")}, "!", ["restarting"]),
        (
            {"actor": actor("a", state="failed", restarts=5, last_crash="DrillError at x")},
            "✗",
            ["failed", "5", "last", "crash:", "DrillError"],
        ),
    ],
)
def test_each_backend_says_how_it_is(changes: dict[str, object], sign: str, words: list[str]) -> None:
    """In a sign and in words."""
    line = line_of(drawn(report(backend("a", **changes))), "a")
    assert line[0] == sign
    for word in words:
        assert word in line


def test_a_stuck_core_and_dropped_observations_are_said() -> None:
    """In the tree, in the table and in the line."""
    stuck = report(backend("a"), stuck="supervisor in on_route for 3.0 s", observations_dropped=7)
    assert any("✗" in line and "stuck: supervisor" in line for line in drawn(stuck))
    assert any("7 observations were dropped" in line for line in drawn(stuck))
    table = drawn(stuck, report(backend("b"), pid=13))
    assert line_of(table, "12")[0] == "✗"
    assert "stuck: supervisor" in "\n".join(table)
    assert "stuck: supervisor" in as_line(stuck)


def test_the_table_says_who_is_well() -> None:
    """As many backends as take requests, of how many."""
    down = backend("b", circuit=CircuitState.OPEN)
    silent = NoAnswer(pid=14, name="cd", reason="does not answer")
    table = drawn(report(backend("a"), down), report(backend("a"), pid=13), silent)
    assert line_of(table, "12")[0] == "!"
    assert "1 of 2" in table[1]
    assert line_of(table, "13")[0] == "✓"
    assert line_of(table, "14")[0] == "✗"
    failed = report(backend("a"), actors=(actor("recorder", state="failed"), actor("supervisor")))
    assert line_of(drawn(failed, silent), "12")[0] == "✗"


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.9, "0 s"), (59, "59 s"), (61, "1 min 1 s"), (3600, "1 h 0 min"), (90061, "1 d 1 h")],
)
def test_an_age_has_two_units(seconds: float, words: str) -> None:
    """More would not be read."""
    assert drawn(report(backend("a"), uptime=seconds))[1].endswith(f"up {words}")


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def test_a_watch_draws_over_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tree of each moment, in one place."""
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setenv("LINES", "50")
    looks = [[report(backend("first"))], [report(backend("second"))], []]
    monkeypatch.setattr(command_module, "_look", lambda _pid: looks.pop(0))
    pauses: list[float] = []
    terminal = Terminal()
    screen = RichScreen(terminal, no_color=False)
    assert show(screen, pid=None, as_json=False, watch=True, pause=pauses.append) is None
    shown = terminal.getvalue()
    first, _, second = shown.partition("second")
    assert "first" in first
    assert "\x1b[1A" in first, "the cursor went back up"
    assert "first" not in second
    assert shown.rstrip().endswith("ended\x1b[0m")
    assert pauses == [1.0, 1.0]


def test_what_failed_says_when_it_is_tried_again() -> None:
    """A backend's actor or another; and an open breaker when its probe is due."""
    given_up = actor("a", state="failed", restarts=5, last_crash="OSError in on_execute", next_start_in=284.2)
    lines = drawn(
        report(
            backend("a", actor=given_up, out_of_service="failed: its actor crashed too often"),
            backend("b", circuit=CircuitState.OPEN, half_open_in=4.1),
            actors=(actor("recorder", state="failed", next_start_in=59.5), actor("supervisor")),
        )
    )
    (failed,) = [line for line in lines if "OSError" in line]
    assert failed.endswith(
        "failed: its actor crashed too often; tried again in 4 min 45 s; last crash: OSError in on_execute"
    )
    assert "open, probe in 5 s" in " ".join(line_of(lines, "b"))
    assert " ".join(line_of(lines, "recorder")).endswith("tried again in 1 min 0 s")


def test_the_retry_budget_is_shown_when_there_is_one() -> None:
    """In retries that may be made now."""
    assert "  7 of 100 retries may be made now" in drawn(
        report(backend("a"), retry_budget=RetryBudgetStatus(left=7.4, burst=100.0))
    )
    without = drawn(report(backend("a"), retry_budget=RetryBudgetStatus(left=0.0, burst=0.0)))
    assert not any("retries" in line for line in without)
