"""The control socket: it says the status to its own user, and is never in the way."""

from __future__ import annotations

import contextlib
import json
import os
import socket
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
from showcaller.runtime.control_client import NoAnswer, ask_all, find_runtimes
from tests.runtime.live import PATIENCE, Gate, Peer, ready, running
from tests.runtime.sockets import ASK, exchange, only_socket, reports

KEY = "sk-control-canary-0123456789abcdef"


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
