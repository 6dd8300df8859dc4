"""`showcaller status`: every running runtime of this user, by its socket."""

from __future__ import annotations

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

from tests.runtime.cli.conftest import PATIENCE, Command, line_of
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
