"""Timeouts of the HTTP transport: no wait is longer than it may be."""

from __future__ import annotations

import re
import socket
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from showcaller.actors.backend_config import Timeouts
from showcaller.actors.errors import BackendTimeoutError, BillingError
from showcaller.actors.transport import Attempt
from showcaller.runtime.transports import http
from showcaller.runtime.transports.http_waits import BEGIN, CONNECT, IDLE, Waits
from tests.runtime.transports.contract import done_of, error_of, read_until_chunk
from tests.runtime.transports.fault_server import (
    GOOD_EVENTS,
    SSE_HEAD,
    FaultServer,
    Peer,
    Script,
    chunked,
    good,
    head,
    stall_after,
    then,
    write,
)
from tests.runtime.transports.unfinished import FIRST_WORD, HEAD, NOTHING, PART, PINGS

PATIENT = {"connect": 20.0, "first_token": 20.0, "idle": 20.0, "total": 20.0}


def timeouts(**short: float) -> Timeouts:
    """Patient but for what is given."""
    return Timeouts(**{**PATIENT, **short})


class Watch:
    """The clocks of one attempt that has 20 seconds, and time that stands still until it is moved."""

    def __init__(self) -> None:
        self.time = 100.0
        timeout = Timeouts(connect=5.0, first_token=8.0, idle=3.0, total=20.0)
        attempt = Attempt(
            request_id="r",
            number=1,
            backend="a",
            payload=b"",
            stream=True,
            deadline=120.0,
            timeout=timeout,
        )
        self.waits = Waits(attempt, lambda: self.time)

    def error(self, what: str) -> BackendTimeoutError:
        """What is raised when nothing is left for it."""
        with pytest.raises(BackendTimeoutError) as raised:
            self.waits.left(what)
        return raised.value


def test_a_connection_has_one_time_for_the_pool_and_for_the_handshake() -> None:
    """Counted from the attempt's begin; nothing was sent when it is over."""
    watch = Watch()
    assert watch.waits.left(CONNECT) == 5.0
    watch.time = 103.0
    assert watch.waits.left(CONNECT) == 2.0
    watch.time = 105.0
    error = watch.error(CONNECT)
    assert "connect timeout after 5 s" in error.message
    assert not error.maybe_executed


def test_the_first_token_has_one_time_from_the_sending_and_each_silence_its_own() -> None:
    """Over all of them is the deadline; what was sent may have been executed."""
    watch = Watch()
    watch.time = 104.0
    watch.waits.first_token_from_now()
    watch.time = 110.0
    assert watch.waits.left(BEGIN) == 2.0
    assert watch.waits.left(IDLE) == 3.0
    watch.time = 112.0
    error = watch.error(BEGIN)
    assert "first_token timeout after 8 s" in error.message
    assert error.maybe_executed
    watch.time = 118.5
    assert watch.waits.left(IDLE) == 1.5
    watch.time = 120.0
    error = watch.error(IDLE)
    assert "total timeout after 20 s" in error.message
    assert error.maybe_executed


@pytest.mark.parametrize(
    ("stream", "script", "which"),
    [
        (False, NOTHING, "first_token"),
        (True, NOTHING, "first_token"),
        (True, write(SSE_HEAD), "first_token"),
        (True, PINGS, "first_token"),
        (False, write(head(102)), "first_token"),
        (True, write(head(103)), "first_token"),
        (False, HEAD, "idle"),
        (False, PART, "idle"),
        (True, FIRST_WORD, "idle"),
    ],
)
def test_a_stall_is_timed_out_by_what_was_waited_for(
    fault_server: FaultServer, make_http: Any, make_attempt: Any, stream: bool, script: Script, which: str
) -> None:
    """Headers and pings are no first token; the server sees the client hang up."""
    fault_server.play(stall_after(script, fault_server))
    attempt = make_attempt(stream=stream, timeout=timeouts(**{which: 0.15}))
    error = error_of(list(make_http(fault_server.url).attempt(attempt)))
    assert isinstance(error, BackendTimeoutError)
    assert f"{which} timeout after 0.15 s" in str(error)
    assert error.maybe_executed
    assert fault_server.hung_up.wait(10)


@pytest.mark.parametrize(
    ("stream", "script"), [(False, NOTHING), (False, PART), (True, FIRST_WORD), (True, NOTHING)]
)
def test_the_deadline_bounds_every_wait(
    fault_server: FaultServer, make_http: Any, make_attempt: Any, stream: bool, script: Script
) -> None:
    """Where it comes before the timeout of its own."""
    fault_server.play(stall_after(script, fault_server))
    error = error_of(list(make_http(fault_server.url).attempt(make_attempt(stream=stream, deadline=0.15))))
    assert isinstance(error, BackendTimeoutError)
    assert re.search(r"total timeout after 0\.[1-9]\d* s", str(error))


def drip(data: bytes) -> Callable[[Peer], None]:
    """Send the same byte again and again, until the client hangs up."""

    def script(peer: Peer) -> None:
        ticks = threading.Event()
        while not peer.closed:
            peer.send(data)
            ticks.wait(0.02)

    return script


@pytest.mark.parametrize(
    "script",
    [
        drip(b"X"),
        drip(head(102)),
        then(write(b"HTTP/1.1 200 OK\r\n"), drip(b"a")),
        then(write(SSE_HEAD), drip(b"0")),
        then(FIRST_WORD, drip(b"8\r\n: ping\n\n\r\n")),
    ],
    ids=["status line", "interim answers", "header", "chunk size", "pings"],
)
def test_a_drip_does_not_outlive_the_deadline(
    fault_server: FaultServer, make_http: Any, make_attempt: Any, script: Script
) -> None:
    """A byte now and then resets no clock but the idle one."""
    fault_server.play(script)
    attempt = make_attempt(stream=True, deadline=0.3)
    error = error_of(list(make_http(fault_server.url).attempt(attempt)))
    assert isinstance(error, BackendTimeoutError)
    assert "total timeout" in str(error)


def test_a_connection_that_is_not_accepted_is_timed_out(
    full_backlog: int, make_http: Any, make_attempt: Any
) -> None:
    """Nothing was sent."""
    transport = make_http(f"http://127.0.0.1:{full_backlog}/v1")
    events = list(transport.attempt(make_attempt(timeout=timeouts(connect=0.2))))
    assert len(events) == 1
    error = error_of(events)
    assert isinstance(error, BackendTimeoutError)
    assert "connect timeout after 0.2 s" in str(error)
    assert not error.maybe_executed


def addresses(monkeypatch: pytest.MonkeyPatch, *ports: int) -> None:
    """Every host has these addresses."""
    found = [(socket.AF_INET, socket.SOCK_STREAM, 0, "", ("127.0.0.1", port)) for port in ports]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_: found)


def test_all_addresses_of_a_host_have_one_time_to_connect(
    full_backlog: int, make_http: Any, make_attempt: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And not each of them that time."""
    addresses(monkeypatch, *[full_backlog] * 20)
    transport = make_http("http://many.invalid/v1")
    started = time.monotonic()
    error = error_of(list(transport.attempt(make_attempt(timeout=timeouts(connect=0.5)))))
    assert time.monotonic() - started < 5.0
    assert isinstance(error, BackendTimeoutError)
    assert "connect timeout after 0.5 s" in str(error)


def test_an_address_that_does_not_answer_leaves_time_for_the_next(
    full_backlog: int,
    closed_port: int,
    fault_server: FaultServer,
    make_http: Any,
    make_attempt: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As where a network has no way for one of the two protocols."""
    fault_server.play(good)
    addresses(monkeypatch, closed_port, full_backlog, fault_server.port)
    transport = make_http("http://many.invalid/v1")
    done_of(list(transport.attempt(make_attempt(timeout=timeouts(connect=2.0)))))


def test_a_pool_without_a_free_connection_is_waited_for_as_long_as_a_connect(
    fault_server: FaultServer, make_http: Any, make_attempt: Any
) -> None:
    """And then works again."""
    fault_server.play(stall_after(FIRST_WORD, fault_server), good)
    transport = make_http(fault_server.url, pool_size=1)
    first = transport.attempt(make_attempt(stream=True))
    read_until_chunk(first)
    events = list(transport.attempt(make_attempt(timeout=timeouts(connect=0.1))))
    error = error_of(events)
    assert isinstance(error, BackendTimeoutError)
    assert "no free connection" in str(error)
    assert not error.maybe_executed
    first.close()
    done_of(list(transport.attempt(make_attempt())))


def test_a_reader_that_dawdles_is_not_timed_out(
    fault_server: FaultServer, make_http: Any, make_attempt: Any
) -> None:
    """The idle clock runs only while the socket is read."""
    now = [100.0]
    fault_server.play(good)
    transport = make_http(fault_server.url, now=lambda: now[0])
    attempt = make_attempt(stream=True, timeout=timeouts(idle=1.0), deadline=1e9)
    events = []
    for event in transport.attempt(attempt):
        events.append(event)
        now[0] += 50.0
    done_of(events)


def test_a_request_that_nobody_reads_is_timed_out(
    fault_server: FaultServer, make_http: Any, make_attempt: Any
) -> None:
    """The first token's clock runs from the first byte sent."""
    fault_server.refuse_before_reading(lambda peer: fault_server.stopping.wait(20))
    attempt = make_attempt("x" * 20_000_000, timeout=timeouts(first_token=0.2))
    error = error_of(list(make_http(fault_server.url).attempt(attempt)))
    assert isinstance(error, BackendTimeoutError)
    assert "first_token timeout after 0.2 s" in str(error)
    assert error.maybe_executed


def test_the_first_token_is_not_waited_for_in_an_error(
    fault_server: FaultServer, make_http: Any, make_attempt: Any
) -> None:
    """Its body may come as late as the idle timeout allows."""
    body = b'{"error": {"code": "insufficient_quota"}}'

    def script(peer: Peer) -> None:
        peer.send(head(500, f"Content-Length: {len(body)}"))
        threading.Event().wait(0.3)
        peer.send(body)

    fault_server.play(script)
    attempt = make_attempt(stream=True, timeout=timeouts(first_token=0.15))
    assert isinstance(error_of(list(make_http(fault_server.url).attempt(attempt))), BillingError)


@pytest.mark.parametrize(
    "goes_on", [Peer.stall, drip(chunked(b": ping\n\n", end=False))], ids=["silent", "pings"]
)
def test_an_answer_that_is_whole_is_not_held_back_until_its_deadline(
    fault_server: FaultServer,
    make_http: Any,
    make_attempt: Any,
    goes_on: Script,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """After its finish_reason only its usage may come, and that comes at once."""
    monkeypatch.setattr(http, "USAGE_SECONDS", 0.15)
    fault_server.play(then(write(SSE_HEAD, chunked(*GOOD_EVENTS[:4], end=False)), goes_on))
    started = time.monotonic()
    done = done_of(list(make_http(fault_server.url).attempt(make_attempt(stream=True, deadline=20.0))))
    assert done.message["content"] == "Hello"
    assert time.monotonic() - started < 10.0


@pytest.mark.parametrize(
    "events", [GOOD_EVENTS, GOOD_EVENTS[:4]], ids=["after [DONE]", "after finish_reason"]
)
def test_an_answer_that_is_whole_is_not_lost_to_a_server_that_does_not_end(
    fault_server: FaultServer, make_http: Any, make_attempt: Any, events: tuple[bytes, ...]
) -> None:
    """The connection is given up instead."""
    script = write(SSE_HEAD, chunked(*events, end=False))
    fault_server.play(stall_after(script, fault_server))
    attempt = make_attempt(stream=True, timeout=timeouts(idle=0.15))
    done = done_of(list(make_http(fault_server.url).attempt(attempt)))
    assert done.message["content"] == "Hello"
    assert fault_server.hung_up.wait(10)
