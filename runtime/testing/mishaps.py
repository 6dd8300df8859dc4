"""What calls at a simulated backend do instead of answering; each fails as it would in the HTTP transport.

The errors come from the same code as the real ones, so that type, text and `maybe_executed` agree.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from attrs import frozen

from showcaller.actors.errors import ShowcallerError
from showcaller.actors.transport import Failed, Pause, TransportEvent
from showcaller.runtime.testing.call import FOR_EVER, Call
from showcaller.runtime.testing.errors import InjectedCrashError
from showcaller.runtime.transports.http_waits import BEGIN, CONNECT, IDLE
from showcaller.runtime.wire.chat import decode_completion
from showcaller.runtime.wire.chat_stream import StreamAccumulator
from showcaller.runtime.wire.failures import failure
from showcaller.runtime.wire.sse import SseEvent

Mishap = Callable[[Call], Iterator[TransportEvent]]
"""What a call does; a generator of the events of a transport."""

EMPTY_ANSWER = (
    b'{"choices": [{"message": {"content": ""}, "finish_reason": "stop"}], "usage": {"prompt_tokens": 1}}'
)
EMPTY_CHUNK = '{"choices": [{"delta": {"content": ""}, "finish_reason": "stop"}]}'
NO_JSON = "<html><body>It works!</body></html>"
ERROR_INSIDE = '{"error": {"message": "the engine has crashed", "type": "server_error"}}'


def usual(call: Call) -> Iterator[TransportEvent]:
    """What a call does when nothing is wrong."""
    yield from call.connect()
    window = call.behaviour.context_window
    if window is not None and call.input_tokens > window:
        yield from STATUSES["context_overflow"].turn_away(call)
        return
    yield from call.think()
    yield from call.answer()
    yield call.done()


# --- before the answer ---


@frozen
class Status:
    """An HTTP status of 300 or more.

    Attributes:
        code: the status.
        error: the `error` member of the body, or None for a body that is no JSON.
        at_once: is the call turned away, or has it been worked on for as long as an answer takes to begin?
        waits: can it carry a Retry-After?
    """

    code: int
    error: Mapping[str, Any] | None = None
    at_once: bool = True
    waits: bool = False

    def mishap(self, retry_after: int | None = None) -> Mishap:
        """Calls that get it.

        Args:
            retry_after: what the header of that name says, in seconds.
        """
        headers = {} if retry_after is None else {"retry-after": str(retry_after)}

        def fail(call: Call) -> Iterator[TransportEvent]:
            yield from call.connect()
            yield from self.turn_away(call, headers)

        return fail

    def turn_away(self, call: Call, headers: Mapping[str, str] = {}) -> Iterator[TransportEvent]:
        """What follows once the request was sent."""
        if self.at_once:
            yield from call.wait(call.behaviour.connect.draw(call.rng), BEGIN)
        else:
            yield from call.think()
        body = b"<h1>Error</h1>" if self.error is None else json.dumps({"error": dict(self.error)}).encode()
        yield Failed(failure(self.code, headers, body, backend=call.attempt.backend, now=call.clock.wall()))


STATUSES = {
    "rate_limit": Status(429, {"message": "too many requests", "code": "rate_limit_exceeded"}, waits=True),
    "insufficient_quota": Status(429, {"message": "you have no credit", "code": "insufficient_quota"}),
    "billing": Status(402, {"message": "payment required"}),
    "unauthorized": Status(401, {"message": "wrong key", "code": "invalid_api_key"}),
    "forbidden": Status(403, {"message": "not for you"}),
    "not_found": Status(404, {"message": "no such model", "code": "model_not_found"}),
    "retired": Status(410, {"message": "this endpoint is gone"}),
    "bad_request": Status(400, {"message": "temperature must be a number"}),
    "content_filter": Status(400, {"message": "the prompt was filtered", "code": "content_filter"}),
    "context_overflow": Status(400, {"message": "too long", "code": "context_length_exceeded"}),
    "server_error": Status(500, {"message": "internal error"}, at_once=False, waits=True),
    "bad_gateway": Status(502, at_once=False, waits=True),
    "unavailable": Status(503, {"message": "try later"}, waits=True),
    "overloaded": Status(529, {"message": "overloaded", "type": "overloaded_error"}, waits=True),
}
"""HTTP statuses by the names that `faults.errors` gives them."""


def unreachable(call: Call) -> Iterator[TransportEvent]:
    """The connection is refused; nothing is sent."""
    yield from call.wait(call.behaviour.connect.draw(call.rng), CONNECT)
    raise call.unreachable("Connection refused")


def no_connect(call: Call) -> Iterator[TransportEvent]:
    """Nobody accepts or refuses the connection."""
    yield from call.wait(FOR_EVER, CONNECT)


def disconnected(call: Call) -> ShowcallerError:
    """What a call fails of whose server goes away under it."""
    return call.broken("Connection reset by peer") if call.sent else call.unreachable("Connection refused")


def stalled(call: Call) -> Iterator[TransportEvent]:
    """The request is taken, and then there is silence."""
    yield from call.connect()
    yield from call.wait(FOR_EVER, BEGIN)


def hangs(call: Call) -> Iterator[TransportEvent]:
    """A bug of the transport: it keeps no deadline, and does not hear a cancel."""
    yield from call.connect()
    while True:
        yield Pause(FOR_EVER)


def raises(call: Call) -> Iterator[TransportEvent]:
    """A bug of the transport: it raises."""
    yield from call.connect()
    raise InjectedCrashError("a fault of the simulation")


def no_outcome(call: Call) -> Iterator[TransportEvent]:
    """A bug of the transport: it ends without Done or Failed."""
    yield from call.connect()
    yield from call.think()


# --- instead of an answer, or in the middle of it ---


def empty(call: Call) -> Iterator[TransportEvent]:
    """A well-formed answer that says nothing."""
    yield from call.connect()
    yield from call.think()
    if not call.attempt.stream:
        decode_completion(EMPTY_ANSWER, call.reading)
    answer = StreamAccumulator(call.reading)
    answer.feed(SseEvent(EMPTY_CHUNK))
    answer.finish()


def malformed(call: Call) -> Iterator[TransportEvent]:
    """An answer that is not of the protocol's form."""
    yield from call.connect()
    yield from call.think()
    if not call.attempt.stream:
        decode_completion(NO_JSON.encode(), call.reading)
    StreamAccumulator(call.reading).feed(SseEvent(NO_JSON))


def truncated(chunks: int) -> Mishap:
    """A stream ends after so many chunks without a last word, a plain answer in its middle."""

    def fail(call: Call) -> Iterator[TransportEvent]:
        yield from _begin(call, chunks)
        if not call.attempt.stream:
            missing = call.done().message["content"][call.received :]
            raise call.broken(f"{len(missing)} bytes are missing")
        StreamAccumulator(call.reading).finish()

    return fail


def stream_error(chunks: int) -> Mishap:
    """An error is reported inside of HTTP 200: in a stream after so many chunks."""

    def fail(call: Call) -> Iterator[TransportEvent]:
        yield from _begin(call, chunks)
        if not call.attempt.stream:
            decode_completion(ERROR_INSIDE.encode(), call.reading)
        StreamAccumulator(call.reading).feed(SseEvent(ERROR_INSIDE))

    return fail


def stalled_midway(chunks: int) -> Mishap:
    """Silence after so many chunks of a stream, or in the middle of a plain answer."""

    def fail(call: Call) -> Iterator[TransportEvent]:
        yield from _begin(call, chunks)
        yield from call.wait(FOR_EVER, IDLE)

    return fail


def _begin(call: Call, chunks: int) -> Iterator[TransportEvent]:
    yield from call.connect()
    yield from call.think()
    yield from call.answer(chunks)


AS_THEY_ARE: Mapping[str, Mishap] = {
    "unreachable": unreachable,
    "no_connect": no_connect,
    "stalled": stalled,
    "empty": empty,
    "malformed": malformed,
    "hangs": hangs,
    "raises": raises,
    "no_outcome": no_outcome,
}
"""Mishaps that take no further argument, by name."""
MIDWAY: Mapping[str, Callable[[int], Mishap]] = {
    "truncated": truncated,
    "stream_error": stream_error,
    "stalled_midway": stalled_midway,
}
"""Mishaps after so many chunks, by name."""
KINDS = (*STATUSES, *AS_THEY_ARE, *MIDWAY)
"""Every kind of error that `faults.errors` knows."""
