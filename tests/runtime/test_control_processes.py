"""The control sockets of several processes, of which some have ended, forked or stand still."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from showcaller.runtime.control_client import NoAnswer, Report, ask_all, find_runtimes
from tests.runtime.live import PATIENCE, Peer, ready, running
from tests.runtime.sockets import ASK, only_socket, reports, sockets_in

ROOT = Path(__file__).parents[2]

BEGINNING = f"""
import os, signal, sys, threading
sys.path.insert(0, {str(ROOT)!r})
from tests.runtime.live import Peer, config_of, ready
from showcaller.runtime.runtime import Runtime

runtime = Runtime.start(config_of(["a"]), transports=dict(a=Peer(ready)))
"""


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
