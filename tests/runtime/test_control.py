"""The control socket: there while the runtime runs, for its own user alone, and never in the way."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import signal
import socket
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from showcaller.actors.errors import DeadlineExceededError
from showcaller.actors.messages import Promoted
from showcaller.actors.transport import Attempt, TransportEvent
from showcaller.runtime import control
from showcaller.runtime.control import Control
from showcaller.runtime.control_client import NoAnswer, Report, ask_all, find_runtimes
from showcaller.runtime.testing.simulation import Simulation
from tests.runtime.live import PATIENCE, Gate, Peer, config_of, our_threads, ready, running

ROOT = Path(__file__).parents[2]
KEY = "sk-control-canary-0123456789abcdef"
ASK = b'{"version": 1, "ask": "status"}\n'

BEGINNING = f"""
import os, signal, sys, threading
sys.path.insert(0, {str(ROOT)!r})
from tests.runtime.live import Peer, config_of, ready
from showcaller.runtime.runtime import Runtime

runtime = Runtime.start(config_of(["a"]), transports=dict(a=Peer(ready)))
"""


def sockets_in(folder: Path) -> list[Path]:
    """Every socket below a folder, those without their name yet included."""
    return [path for path in folder.rglob("*") if path.is_socket()]


def only_socket(folder: Path) -> Path:
    """The one that is there."""
    (path,) = sockets_in(folder)
    return path


def exchange(path: Path, request: bytes) -> bytes:
    """What comes back, up to the end of the connection."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(PATIENCE)
        connection.connect(os.fspath(path))
        with contextlib.suppress(BrokenPipeError):
            connection.sendall(request)
        pieces = []
        with contextlib.suppress(ConnectionResetError):
            while piece := connection.recv(2**16):
                pieces.append(piece)
    return b"".join(pieces)


def reports() -> list[Report]:
    """What those say that are found; each must answer."""
    answers = ask_all(find_runtimes(os.environ), PATIENCE)
    assert not [answer for answer in answers if isinstance(answer, NoAnswer)]
    return [answer for answer in answers if isinstance(answer, Report)]


@contextlib.contextmanager
def process(text: str) -> Iterator[subprocess.Popen[str]]:
    """A process with a runtime that runs this; killed in the end."""
    started = subprocess.Popen(
        [sys.executable, "-c", BEGINNING + textwrap.dedent(text)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield started
    finally:
        started.kill()
        started.communicate(timeout=PATIENCE)


def ended(started: subprocess.Popen[str]) -> str:
    """What it printed, once it has ended well."""
    out, errors = started.communicate(timeout=PATIENCE)
    assert (started.returncode, errors) == (0, "")
    return out


def test_only_its_user_reaches_the_socket_and_a_stop_removes_it(sockets: Path) -> None:
    """Folder 0700, socket 0600, both from the first moment on which the name is there."""
    with running({"a": Peer(ready)}) as runtime:
        path = only_socket(sockets)
        assert path == sockets / "showcaller" / f"{os.getpid()}-{runtime._engine.machine.name}.sock"
        assert path.stat().st_mode & 0o777 == 0o600
        assert path.parent.stat().st_mode & 0o777 == 0o700
        assert "showcaller-control" in {thread.name for thread in our_threads()}
    assert sockets_in(sockets) == []
    runtime.stop()


def test_what_it_says_is_the_status(sockets: Path) -> None:
    """With the process, the name and the age."""
    gate = Gate()
    peer = Peer(gate.waiting)
    with running({"a": peer, "b": Peer(ready)}, rate_limit_rpm=10) as runtime:
        runtime.ask("q", model="b", timeout=PATIENCE)
        pending = runtime.submit("q", model="a")
        assert peer.arrived.acquire(timeout=PATIENCE)
        (report,) = reports()
        assert report.status == runtime.status()
        assert report.status.backends[0].in_flight == 1
        assert (report.pid, report.name) == (os.getpid(), runtime._engine.machine.name)
        assert 0 <= report.uptime < PATIENCE * 2
        pending.cancel()


def test_each_runtime_has_its_own(sockets: Path) -> None:
    """Two in one process, and the end of one leaves the other's alone."""
    with running({"b": Peer(ready)}):
        with running({"a": Peer(ready)}):
            assert {report.status.backends[0].name for report in reports()} == {"a", "b"}
        assert [report.status.backends[0].name for report in reports()] == ["b"]


def test_it_answers_while_the_core_is_stuck(sockets: Path) -> None:
    """And says who holds it up."""
    release, inside = threading.Event(), threading.Event()

    def block(_message: Any) -> None:
        inside.set()
        assert release.wait(PATIENCE)

    with running({"a": Peer(ready)}) as runtime:
        runtime._engine.machine._watchdog.limit = 0.0
        ref = runtime._tree.address("supervisor").ref
        assert ref is not None
        actor = ref._actor_weakref()
        assert actor is not None
        actor.on_promoted = block  # type: ignore[attr-defined]
        ref.tell(Promoted())
        try:
            assert inside.wait(PATIENCE)
            said = None
            # The watchdog looks once a second; each deadline here is one tick of the same clock.
            for _ in range(60):
                said = reports()[0].status.stuck
                if said is not None:
                    break
                with pytest.raises(DeadlineExceededError):
                    runtime.ask("q", timeout=0.1)
            assert said is not None
            assert "supervisor" in said
        finally:
            release.set()


def test_no_secret_is_in_what_it_says(sockets: Path) -> None:
    """Neither the configuration's, nor one in a crash's text, nor a prompt."""

    def leak(_attempt: Attempt) -> Iterator[TransportEvent]:
        raise RuntimeError(KEY)
        yield

    options = {"api_key": KEY, "headers": {"X-Api-Key": KEY}, "options": {"password": KEY}}
    with running({"a": Peer(leak)}, **options) as runtime:
        with contextlib.suppress(Exception):
            runtime.ask(f"a prompt with {KEY}", timeout=PATIENCE)
        runtime.backends.crash("a", KEY)
        said = exchange(only_socket(sockets), ASK)
        assert json.loads(said)["status"]["backends"][0]["name"] == "a"
        assert KEY.encode() not in said
        assert b"a prompt" not in said


@pytest.mark.parametrize(
    ("request_", "error"),
    [
        (b"status\n", "no JSON object"),
        (b"[" * 4000 + b"\n", "no JSON object"),
        (b"\xff\n", "no JSON object"),
        (b'["status"]\n', "speaks version 1"),
        (b'{"ask": "status"}\n', "speaks version 1"),
        (b'{"version": 2, "ask": "status"}\n', "speaks version 1"),
        (b'{"version": 1, "ask": "stop"}\n', "nothing but status"),
        (b'{"version": 1}\n', "nothing but status"),
    ],
)
def test_whatever_else_it_is_asked_is_an_error(request_: bytes, error: str, sockets: Path) -> None:
    """And the next one is answered."""
    with running({"a": Peer(ready)}):
        path = only_socket(sockets)
        answer = json.loads(exchange(path, request_))
        assert error in answer["error"]
        assert (answer["version"], "status" in answer) == (1, False)
        assert len(reports()) == 1


def test_a_request_without_an_end_is_not_kept(sockets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some kilobytes are enough for a question, however much time there is."""
    monkeypatch.setattr(control, "EXCHANGE_SECONDS", 1e6)
    with running({"a": Peer(ready)}):
        assert exchange(only_socket(sockets), b"x" * 2**20) == b""
        assert len(reports()) == 1


def test_a_peer_that_says_nothing_has_its_time(sockets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Then the next one is served."""
    monkeypatch.setattr(control, "EXCHANGE_SECONDS", 0.05)
    with running({"a": Peer(ready)}), socket.socket(socket.AF_UNIX) as silent:
        silent.connect(os.fspath(only_socket(sockets)))
        assert len(reports()) == 1


def test_a_stop_does_not_wait_for_a_peer(
    sockets: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Not even for one that has all the time in the world; `running` sees a thread that is left."""
    monkeypatch.setattr(control, "EXCHANGE_SECONDS", 1e6)
    with running({"a": Peer(ready)}), socket.socket(socket.AF_UNIX) as silent:
        silent.connect(os.fspath(only_socket(sockets)))
        silent.sendall(b"{")
    assert "had not ended" not in caplog.text


def test_a_status_that_cannot_be_taken_is_said(sockets: Path) -> None:
    """And the thread lives."""

    def fail() -> Any:
        raise KeyError(KEY)

    one = Control("x1", fail)
    one.open()
    try:
        for _ in range(2):
            (answer,) = ask_all(find_runtimes(os.environ), PATIENCE)
            assert isinstance(answer, NoAnswer)
            assert "could not be taken (KeyError)" in answer.reason
    finally:
        one.close()


def spoil(folder: Path, how: str) -> None:
    """Make a folder one that must not be used."""
    if how == "open to others":
        folder.mkdir(0o750)
    elif how == "a link":
        target = folder.with_name("target")
        target.mkdir(0o700)
        folder.symlink_to(target)
    else:
        folder.touch()


@pytest.mark.parametrize("how", ["open to others", "a link", "a file"])
def test_a_folder_that_is_not_private_is_not_used(
    how: str, sockets: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The next one is; without any, one warning says why of each, and the runtime runs."""
    spoil(sockets / "showcaller", how)
    with running({"a": Peer(ready)}):
        assert only_socket(sockets).parent == sockets / f"showcaller-{os.geteuid()}"
        assert len(reports()) == 1
    assert caplog.text == ""
    (sockets / f"showcaller-{os.geteuid()}").rmdir()
    if how == "a link":
        (sockets / "target").rmdir()
    spoil(sockets / f"showcaller-{os.geteuid()}", how)
    with running({"a": Peer(ready)}) as runtime:
        assert runtime.ask("q", timeout=PATIENCE).content == "hi"
        assert sockets_in(sockets) == []
    (record,) = [one for one in caplog.records if one.levelno >= logging.WARNING]
    assert record.getMessage().count(str(sockets)) == 2


def test_a_folder_of_another_user_is_not_used(
    sockets: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Whoever made it before us in a place that all may write to."""
    monkeypatch.delenv("XDG_RUNTIME_DIR")
    other = os.geteuid() + 1
    monkeypatch.setattr(os, "geteuid", lambda: other)
    (sockets / f"showcaller-{other}").mkdir(0o700)
    (sockets / f"showcaller-{other}" / "7-ab.sock").touch()
    with running({"a": Peer(ready)}):
        assert sockets_in(sockets) == []
        assert find_runtimes(os.environ) == []
    assert "belongs to another user" in caplog.text


def test_a_folder_with_a_name_that_is_too_long_is_not_used(
    sockets: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A socket's path has about a hundred characters."""
    far = sockets / ("x" * 100)
    far.mkdir()
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(far))
    with running({"a": Peer(ready)}):
        assert only_socket(sockets).parent == sockets / f"showcaller-{os.geteuid()}"


def test_without_a_thread_there_is_no_socket_and_a_warning(
    sockets: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A socket at which nobody answers would be worse than none."""
    start = threading.Thread.start

    def refuse(self: threading.Thread) -> None:
        if self.name == "showcaller-control":
            raise RuntimeError("can't start new thread")
        start(self)

    monkeypatch.setattr(threading.Thread, "start", refuse)
    with running({"a": Peer(ready)}) as runtime:
        assert runtime.ask("q", timeout=PATIENCE).content == "hi"
        assert sockets_in(sockets) == []
    assert "can't start new thread" in caplog.text
    assert not control._open_sockets


def test_a_system_without_unix_sockets_has_none(
    sockets: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Without a word: there is nothing to mend."""
    monkeypatch.delattr(socket, "AF_UNIX")
    with running({"a": Peer(ready)}):
        assert list(sockets.iterdir()) == []
        assert find_runtimes(os.environ) == []
    assert caplog.text == ""


def test_it_can_be_switched_off(sockets: Path) -> None:
    """`control = false`."""
    with running({"a": Peer(ready)}, settings={"control": False}):
        assert list(sockets.iterdir()) == []


def test_a_simulation_has_none(sockets: Path) -> None:
    """It has no threads, and its time is not ours."""
    with Simulation(config_of(["a"])):
        assert list(sockets.iterdir()) == []


def test_nothing_is_left_of_many_runtimes(sockets: Path) -> None:
    """No socket, no thread, no file descriptor."""
    for _ in range(20):
        one = Control("x1", lambda: pytest.fail("nobody asks"))
        one.open()
        assert only_socket(sockets) == one.path
        one.close()
        one.close()
    assert sockets_in(sockets) == []
    assert not control._open_sockets
    assert not [thread for thread in our_threads() if thread.name == "showcaller-control"]


def test_an_interpreter_that_ends_without_a_stop_removes_it(sockets: Path) -> None:
    """As it stops what its user forgot."""
    with process("print(*os.listdir(os.environ['XDG_RUNTIME_DIR'] + '/showcaller'))") as started:
        assert ended(started).startswith(f"{started.pid}-")
    assert sockets_in(sockets) == []


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_the_end_of_a_forked_child_leaves_the_socket_alone(sockets: Path) -> None:
    """It is the parent's, whether the child stops or ends in order."""
    with process(
        """
        child = os.fork()
        if child == 0:
            runtime.stop()
            sys.exit(0)
        assert os.waitpid(child, 0)[1] == 0
        print("ready", flush=True)
        sys.stdin.readline()
        """
    ) as started:
        assert started.stdout is not None
        assert started.stdout.readline() == "ready\n"
        (report,) = reports()
        assert report.pid == started.pid


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_the_socket_of_a_dead_process_is_removed_though_its_child_lives(sockets: Path) -> None:
    """The child has closed its copy of it, or the parent would seem to be only slow."""
    with process(
        """
        child = os.fork()
        if child == 0:
            sys.stdin.readline()
            os._exit(0)
        print("ready", flush=True)
        os.waitpid(child, 0)
        """
    ) as started:
        assert started.stdout is not None
        assert started.stdout.readline() == "ready\n"
        assert len(reports()) == 1
        started.kill()
        started.wait(PATIENCE)
        only_socket(sockets)
        with running({"own": Peer(ready)}):
            assert [report.pid for report in reports()] == [os.getpid()]
            assert only_socket(sockets).name.startswith(f"{os.getpid()}-")


def test_a_peer_that_is_gone_does_not_end_the_process(sockets: Path) -> None:
    """Though the host has SIGPIPE do what it does in other programs."""
    with process(
        """
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
        print("ready", flush=True)
        sys.stdin.readline()
        """
    ) as started:
        assert started.stdout is not None
        assert started.stdout.readline() == "ready\n"
        with socket.socket(socket.AF_UNIX) as deaf:
            deaf.connect(os.fspath(only_socket(sockets)))
            deaf.shutdown(socket.SHUT_RD)
            deaf.sendall(ASK)
        assert len(reports()) == 1
        assert started.poll() is None


def test_a_process_that_stands_still_does_not_hold_up_the_others(sockets: Path) -> None:
    """All are asked before any is heard."""
    with process('print("ready", flush=True); sys.stdin.readline()') as started:
        assert started.stdout is not None
        assert started.stdout.readline() == "ready\n"
        started.send_signal(signal.SIGSTOP)
        os.waitpid(started.pid, os.WUNTRACED)
        with running({"own": Peer(ready)}):
            answers = {one.pid: one for one in ask_all(find_runtimes(os.environ), 0.3)}
        assert isinstance(answers[os.getpid()], Report)
        silent = answers[started.pid]
        assert isinstance(silent, NoAnswer)
        assert "does not answer within 0.3 s" in silent.reason
        assert len(sockets_in(sockets)) == 1


def test_an_answer_that_never_ends_has_no_more_time_than_others(sockets: Path) -> None:
    """However often another byte of it comes."""
    folder = sockets / "showcaller"
    folder.mkdir(0o700)
    over = threading.Event()
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(folder / "77-ab.sock"))
        server.listen()
        server.settimeout(PATIENCE)

        def trickle() -> None:
            with server.accept()[0] as connection, contextlib.suppress(OSError):
                for _ in range(500):
                    if over.wait(0.02):
                        return
                    connection.send(b" ")
                connection.send(b"\n")

        trickler = threading.Thread(target=trickle, daemon=True)
        trickler.start()
        (answer,) = ask_all(find_runtimes(os.environ), 0.3)
        over.set()
        trickler.join(PATIENCE)
    assert isinstance(answer, NoAnswer)
    assert "does not answer within 0.3 s" in answer.reason
