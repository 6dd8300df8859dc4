"""`showcaller status`: every running runtime of this user, by its socket."""

from __future__ import annotations

import io
import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import attrs
import pytest
from click.testing import Result

from showcaller.actors.enums import BackendState, CircuitState
from showcaller.runtime.cli import status as command_module
from showcaller.runtime.cli.output import RichScreen, Screen
from showcaller.runtime.cli.status import show
from showcaller.runtime.cli.status_view import as_line, draw
from showcaller.runtime.control_client import NoAnswer, Report
from showcaller.runtime.edge import Account
from showcaller.runtime.status import ActorStatus, BackendStatus, RetryBudgetStatus, RuntimeStatus
from tests.runtime.cli.conftest import PATIENCE, Command
from tests.runtime.live import Peer, ready, running

ROOT = Path(__file__).parents[3]
PROGRAM = f"""
import sys
import threading
sys.path.insert(0, {str(ROOT)!r})
from tests.runtime.live import Peer, config_of, ready
from showcaller.runtime.runtime import Runtime

with Runtime.start(config_of(["theirs"]), transports=dict(theirs=Peer(ready))):
    print("ready", flush=True)
    sys.stdin.readline()
"""

Look = Callable[..., Result]


@pytest.fixture
def look(invoke: Callable[..., Result], sockets: Path) -> Look:
    """`showcaller status ...`, in this process."""
    return lambda *arguments: invoke("status", *arguments, XDG_RUNTIME_DIR=str(sockets), TMPDIR=str(sockets))


@pytest.fixture
def other(sockets: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process with a runtime; it ends when its stdin does."""
    environ = {**os.environ, "XDG_RUNTIME_DIR": str(sockets), "TMPDIR": str(sockets)}
    started = subprocess.Popen(
        [sys.executable, "-c", PROGRAM],
        env=environ,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert started.stdout is not None
        assert started.stdout.readline() == "ready\n"
        yield started
    finally:
        started.kill()
        started.communicate(timeout=PATIENCE)


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


def line_of(lines: list[str], name: str) -> list[str]:
    """The words of the one line that has this name."""
    (line,) = [line for line in lines if f" {name} " in f"{line} "]
    return line.split()


def test_without_a_runtime_it_says_what_to_do(look: Look) -> None:
    """With exit code 1."""
    result = look()
    assert (result.exit_code, result.stdout) == (1, "")
    assert "no runtime of yours is running" in result.stderr
    assert "showcaller run" in result.stderr


def test_the_only_runtime_is_shown_whole(look: Look) -> None:
    """Its tree, its backends, its quotas, its requests."""
    with running({"one": Peer(ready), "two": Peer(ready)}, rate_limit_rpm=10) as runtime:
        runtime.ask("q", model="one", timeout=PATIENCE)
        result = look()
    assert (result.exit_code, result.stderr) == (0, "")
    lines = result.stdout.splitlines()
    assert f"Process {os.getpid()}, runtime {runtime._engine.machine.name}" in result.stdout
    assert "1 accepted: 1 answered, 0 failed, 0 open; 0 refused" in result.stdout
    assert line_of(lines, "supervisor")[:4] == ["✓", "├─", "supervisor", "running"]
    backends = [line.split()[:4] for line in lines if " of 64 " in line]
    assert backends == [["✓", "│", "├─", "one"], ["✓", "│", "└─", "two"]]
    assert "one  rpm 9" in result.stdout


def test_json_has_the_whole_status(look: Look) -> None:
    """For programs."""
    with running({"a": Peer(ready)}) as runtime:
        document = json.loads(look("--json").stdout)
        expected = attrs.asdict(runtime.status())
    (one,) = document["runtimes"]
    assert (one["pid"], one["name"]) == (os.getpid(), runtime._engine.machine.name)
    assert one["status"]["account"] == expected["account"]
    assert set(one["status"]) == set(expected)
    assert document["silent"] == []


def test_several_runtimes_are_a_table_and_one_is_chosen(look: Look, other: subprocess.Popen[str]) -> None:
    """By the process."""
    with running({"mine": Peer(ready)}):
        table = look()
        chosen = look("--pid", str(other.pid))
        nobody = look("--pid", "1")
    assert table.exit_code == 0
    for pid in (os.getpid(), other.pid):
        assert line_of(table.stdout.splitlines(), str(pid))[0] == "✓"
    assert "supervisor" not in table.stdout
    assert "--pid N" in table.stdout
    assert chosen.exit_code == 0
    assert "theirs" in chosen.stdout
    assert "mine" not in chosen.stdout
    assert nobody.exit_code == 1
    assert f"these have: {', '.join(map(str, sorted([os.getpid(), other.pid])))}" in nobody.stderr


def test_a_process_that_does_not_answer_is_named(look: Look, other: subprocess.Popen[str]) -> None:
    """After two seconds, with exit code 1; those that answer are shown."""
    other.send_signal(signal.SIGSTOP)
    os.waitpid(other.pid, os.WUNTRACED)
    with running({"mine": Peer(ready)}):
        result = look()
        document = json.loads(look("--json").stdout)
    assert result.exit_code == 1
    assert f"process {other.pid} (runtime " in result.stderr
    assert "does not answer within 2 s" in result.stderr
    assert "mine" in result.stdout
    assert [one["pid"] for one in document["silent"]] == [other.pid]


def test_what_a_dead_process_left_is_removed(look: Look, other: subprocess.Popen[str], sockets: Path) -> None:
    """And is not a runtime."""
    other.kill()
    other.wait(PATIENCE)
    left = list(sockets.rglob("*.sock"))
    assert len(left) == 1
    result = look()
    assert result.exit_code == 1
    assert "no runtime of yours is running" in result.stderr
    assert not left[0].exists()


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (
            b'{"version": 2, "error": "this runtime speaks version 2"}\n',
            "answers: this runtime speaks version 2",
        ),
        (b'{"version": 1, "status": {}}\n', "use the showcaller that it runs with"),
        (b"nonsense\n", "use the showcaller that it runs with"),
        (b"", "it closed the connection"),
    ],
)
def test_an_answer_of_another_version_is_no_traceback(
    answer: bytes, reason: str, look: Look, sockets: Path
) -> None:
    """It says which process and what to do."""
    folder = sockets / "showcaller"
    folder.mkdir(0o700)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(folder / "77-ab.sock"))
        server.listen()
        server.settimeout(PATIENCE)

        def respond() -> None:
            with server.accept()[0] as connection:
                connection.recv(4096)
                connection.sendall(answer)

        responder = threading.Thread(target=respond, daemon=True)
        responder.start()
        result = look()
        responder.join(PATIENCE)
    assert result.exit_code == 1
    assert "process 77 (runtime ab)" in result.stderr
    assert reason in result.stderr


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


def test_a_watch_adds_lines_where_nothing_can_be_drawn_over(
    command: Command, other: subprocess.Popen[str], sockets: Path
) -> None:
    """One a second for each runtime, until Ctrl-C."""
    variables = {"XDG_RUNTIME_DIR": str(sockets), "TMPDIR": str(sockets)}
    watching = command.start("status", "--watch", **variables)
    try:
        assert watching.stdout is not None
        for _ in range(2):
            assert select.select([watching.stdout], [], [], PATIENCE)[0]
            line = watching.stdout.readline()
            assert line.startswith(f"{other.pid} ")
            assert "0 open, 0 answered, 0 failed; theirs 0 in flight, breaker closed" in line
        watching.send_signal(signal.SIGINT)
        _, errors = watching.communicate(timeout=PATIENCE)
    finally:
        watching.kill()
        watching.wait()
    assert watching.returncode == 130
    assert "Traceback" not in errors


def test_a_watch_ends_with_the_last_runtime(
    command: Command, other: subprocess.Popen[str], sockets: Path
) -> None:
    """There is nothing more to see, and that is no failure."""
    variables = {"XDG_RUNTIME_DIR": str(sockets), "TMPDIR": str(sockets)}
    watching = command.start("status", "--watch", "--json", **variables)
    try:
        assert watching.stdout is not None
        assert json.loads(watching.stdout.readline())["runtimes"][0]["pid"] == other.pid
        assert other.stdin is not None
        other.stdin.close()
        other.stdin = None
        out, errors = watching.communicate(timeout=PATIENCE)
    finally:
        watching.kill()
        watching.wait()
    assert (watching.returncode, errors) == (0, "")
    for line in out.splitlines():
        json.loads(line)


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
