"""Mishaps: a simulated backend fails in virtual time as the HTTP transport fails on real sockets."""

from __future__ import annotations

import re
import socket
import time

import pytest

from showcaller.actors.errors import MalformedResponseError
from showcaller.actors.transport import Chunk, Failed, Sent
from showcaller.runtime.testing.backend import Condition
from showcaller.runtime.testing.mishaps import (
    EMPTY_ANSWER,
    EMPTY_CHUNK,
    ERROR_INSIDE,
    KINDS,
    NO_JSON,
    STATUSES,
    disconnected,
)
from showcaller.runtime.transports.http import HttpTransport
from tests.runtime.testing.played import BUGS, Played, attempt_at, played
from tests.runtime.transports.fault_server import (
    SSE_HEAD,
    FaultServer,
    Peer,
    chunked,
    event,
    head,
    piece,
    reply,
    sse,
    stall_after,
    then,
    write,
)


def body_of(status):
    return b"<h1>Error</h1>" if status.error is None else {"error": dict(status.error)}


def script_for(kind, stream, server):
    """What a server does that has the mishap."""
    if kind in STATUSES:
        return reply(STATUSES[kind].code, body_of(STATUSES[kind]))
    half = write(SSE_HEAD, chunked(piece("Hel"), end=False))
    if not stream:
        half = write(head(200, "Content-Length: 100") + b'{"choices":')
    return {
        "empty": sse(event(EMPTY_CHUNK)) if stream else reply(200, EMPTY_ANSWER),
        "malformed": sse(event(NO_JSON)) if stream else reply(200, NO_JSON.encode()),
        "truncated": sse(piece("Hel")) if stream else then(half, Peer.close),
        "stream_error": sse(piece("Hel"), event(ERROR_INSIDE))
        if stream
        else reply(200, ERROR_INSIDE.encode()),
        "stalled": stall_after(write(), server),
        "stalled_midway": stall_after(half, server),
    }[kind]


def really(url, **options):
    """The error of the real HTTP transport, and how many chunks came before it."""
    transport = HttpTransport(base_url=url, model="m", now=time.monotonic, wall=time.time)
    try:
        events = list(transport.attempt(attempt_at(time.monotonic(), **options)))
    finally:
        transport.close()
    assert isinstance(events[-1], Failed)
    return events[-1].error, sum(isinstance(one, Chunk) for one in events), Sent() in events


def said(error):
    """Everything that an error says, without hosts and numbers of its own."""
    text = re.sub(r" at 127\.0\.0\.1:\d+", "", error.message)
    text = re.sub(r"\d+(\.\d+)?", "#", text) if isinstance(error, MalformedResponseError) else text
    return type(error), error.status, error.retry_after, error.maybe_executed, error.backend, text


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in (*BUGS, "unreachable", "no_connect")])
def test_a_mishap_fails_as_on_a_real_socket(kind, stream):
    """The same type, status, text and the same answer to whether it may have been executed."""
    with FaultServer() as server:
        server.play(script_for(kind, stream, server))
        error, chunks, sent = really(server.url, stream=stream)
    simulated = played(kind, stream=stream)
    assert said(simulated.error) == said(error)
    assert simulated.chunks == chunks
    assert (Sent() in simulated.events) == sent


@pytest.mark.parametrize("retry_after", [0, 3, 5631])
def test_a_retry_after_is_read_as_on_a_real_socket(retry_after):
    """The header goes through the same code."""
    with FaultServer() as server:
        status = STATUSES["rate_limit"]
        server.play(reply(429, body_of(status), f"Retry-After: {retry_after}"))
        error, _, _ = really(server.url)
    assert said(played("rate_limit", retry_after=retry_after).error) == said(error)
    assert error.retry_after == retry_after


def test_what_cannot_be_reached_fails_as_on_a_real_socket():
    """Refused, nothing is sent."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        error, _, sent = really(f"http://127.0.0.1:{taken.getsockname()[1]}/v1")
    simulated = played("unreachable")
    assert said(simulated.error) == said(error)
    assert Sent() not in simulated.events
    assert not sent


def test_a_connection_that_is_reset_fails_as_on_a_real_socket():
    """Before the answer has begun."""
    with FaultServer() as server:
        server.play(Peer.reset)
        error, _, _ = really(server.url)
    cut = Condition(cuts=disconnected)
    simulated = Played(act=lambda backend, attempt, now: now >= 0.02 and backend.begin(cut))
    assert said(simulated.error) == said(error)
