"""Cancels and closes of the HTTP transport: they wake who waits, end what goes on, and touch nothing that is over."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from showcaller.actors.cancel import CancelScope
from showcaller.actors.errors import BackendUnreachableError, RequestCancelledError
from showcaller.actors.transport import Chunk, Sent, TransportEvent
from tests.runtime.transports.contract import done_of, error_of, read_until_chunk
from tests.runtime.transports.fault_server import (
    GOOD_EVENTS,
    SSE_HEAD,
    FaultServer,
    Peer,
    Script,
    chunked,
    good,
    stall_after,
    then,
    write,
)
from tests.runtime.transports.unfinished import FIRST_WORD, HEAD, NOTHING, OPEN_END, OPEN_STREAM


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    "script",
    [NOTHING, HEAD, FIRST_WORD, OPEN_END, OPEN_STREAM],
    ids=["head", "body", "stream", "body without length", "stream without length"],
)
@pytest.mark.parametrize("how", ["cancel", "close"])
def test_a_blocked_read_is_woken(
    fault_server: FaultServer, make_http: Any, make_attempt: Any, script: Script, stream: bool, how: str
) -> None:
    """By a cancel as by the transport's close, from another thread; the server sees it at once."""
    fault_server.play(stall_after(script, fault_server))
    transport = make_http(fault_server.url)
    cancel = CancelScope()
    wake = cancel.cancel if how == "cancel" else transport.close
    asked = threading.Thread(target=lambda: (fault_server.stalled.wait(10), wake()))
    asked.start()
    error = error_of(list(transport.attempt(make_attempt(stream=stream, cancel=cancel))))
    asked.join(10)
    assert type(error) is (RequestCancelledError if how == "cancel" else BackendUnreachableError)
    assert error.maybe_executed
    assert fault_server.hung_up.wait(10)


def test_a_cancel_wakes_a_blocked_write(fault_server: FaultServer, make_http: Any, make_attempt: Any) -> None:
    """As it does a read."""
    accepted = threading.Event()

    def script(peer: Peer) -> None:
        accepted.set()
        fault_server.stopping.wait(20)

    fault_server.refuse_before_reading(script)
    cancel = CancelScope()
    canceller = threading.Thread(target=lambda: (accepted.wait(10), cancel.cancel()))
    canceller.start()
    attempt = make_attempt("x" * 20_000_000, cancel=cancel)
    error = error_of(list(make_http(fault_server.url).attempt(attempt)))
    canceller.join(10)
    assert isinstance(error, RequestCancelledError)


def test_a_cancel_of_a_connection_that_was_reset_is_a_cancel(
    fault_server: FaultServer, make_http: Any, make_attempt: Any
) -> None:
    """Whoever was quicker, the caller hears what it asked for."""
    fault_server.play(then(FIRST_WORD, Peer.reset))
    cancel = CancelScope()
    events = make_http(fault_server.url).attempt(make_attempt(stream=True, cancel=cancel))
    read_until_chunk(events)
    fault_server.settle()
    cancel.cancel()
    assert isinstance(error_of(list(events)), RequestCancelledError)


class LateScope(CancelScope):
    """One that calls a waker although it was just taken back, as a race may."""

    def forget(self, waker: Callable[[], None]) -> None:
        """Too late."""


@pytest.mark.parametrize("scope", [CancelScope, LateScope], ids=["after", "racing"])
def test_a_cancel_after_the_end_does_not_touch_the_connection(
    fault_server: FaultServer, make_http: Any, make_attempt: Any, scope: type[CancelScope]
) -> None:
    """It may carry another attempt by then, and the waker itself knows that its own is over."""
    fault_server.play(good)
    transport = make_http(fault_server.url)
    cancel = scope()
    done_of(list(transport.attempt(make_attempt(cancel=cancel))))
    cancel.cancel()
    done_of(list(transport.attempt(make_attempt())))
    assert fault_server.connections == 1


def test_a_cancel_is_seen_before_chunks_that_are_already_there(
    fault_server: FaultServer, make_http: Any, make_attempt: Any
) -> None:
    """The whole stream came in one piece; the one who cancelled gets no more of it."""
    fault_server.play(write(SSE_HEAD + chunked(b"".join(GOOD_EVENTS))))
    cancel = CancelScope()
    events = make_http(fault_server.url).attempt(make_attempt(stream=True, cancel=cancel))
    read_until_chunk(events)
    cancel.cancel()
    rest = list(events)
    assert len(rest) == 1
    assert isinstance(error_of(rest), RequestCancelledError)


def test_a_cancel_between_connecting_and_sending_sends_nothing(
    fault_server: FaultServer, make_http: Any, make_attempt: Any
) -> None:
    """Who was refused at `Sent` has not been executed."""
    fault_server.play(good)
    cancel = CancelScope()
    transport = make_http(fault_server.url)
    events = transport.attempt(make_attempt(cancel=cancel))
    assert isinstance(next(events), Sent)
    cancel.cancel()
    error = error_of(list(events))
    assert isinstance(error, RequestCancelledError)
    assert fault_server.requests == []


def test_closing_the_iterator_at_sent_sends_nothing_and_keeps_the_connection(
    fault_server: FaultServer, make_http: Any, make_attempt: Any
) -> None:
    """A claim that was refused costs no connection."""
    fault_server.play(good)
    transport = make_http(fault_server.url)
    events = transport.attempt(make_attempt())
    assert isinstance(next(events), Sent)
    events.close()
    assert fault_server.requests == []
    done_of(list(transport.attempt(make_attempt())))
    assert fault_server.connections == 1


def test_closing_the_iterator_in_the_middle_hangs_up(
    fault_server: FaultServer, make_http: Any, make_attempt: Any
) -> None:
    """So that the server stops working."""
    fault_server.play(stall_after(FIRST_WORD, fault_server))
    events = make_http(fault_server.url).attempt(make_attempt(stream=True))
    seen: list[TransportEvent] = read_until_chunk(events)
    events.close()
    assert isinstance(seen[-1], Chunk)
    assert fault_server.hung_up.wait(10)
