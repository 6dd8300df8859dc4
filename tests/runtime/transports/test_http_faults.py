"""The HTTP transport under faults that no real peer shows on demand, plain and streamed."""

from __future__ import annotations

import gzip
import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from showcaller.actors.errors import (
    BackendError,
    BackendUnreachableError,
    MalformedResponseError,
    RateLimitError,
    ServerError,
)
from showcaller.actors.transport import Chunk, Done
from tests.runtime.transports.contract import done_of, error_of, last_of
from tests.runtime.transports.fault_server import (
    ANSWER,
    GOOD_EVENTS,
    JSON_KIND,
    SSE_HEAD,
    SSE_KIND,
    FaultServer,
    Peer,
    Script,
    chunked,
    completion,
    event,
    good,
    head,
    piece,
    reply,
    sse,
    then,
    write,
)

GZIPPED = gzip.compress(ANSWER)
STREAM = b"".join(GOOD_EVENTS)

BROKEN: list[tuple[str, Script]] = [
    ("reset at once", Peer.reset),
    ("closed at once", Peer.close),
    ("reset in the head", then(write(b"HTTP/1.1 200 OK\r\nContent-Ty"), Peer.reset)),
    ("closed in the head", then(write(b"HTTP/1.1 200 OK\r\nContent-Ty"), Peer.close)),
    ("not HTTP", then(write(b"SSH-2.0-OpenSSH_9.2\r\n\r\n"), Peer.close)),
    ("endless head", then(write(b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 500 + b"\r\n"), Peer.close)),
    ("endless line", then(write(b"HTTP/1.1 200 OK\r\nX: " + b"y" * 100_000 + b"\r\n\r\n"), Peer.close)),
    ("HTTP/9", then(write(b"HTTP/9.0 200 OK\r\n\r\n"), Peer.close)),
    ("bad status", then(write(b"HTTP/1.1 2x0 OK\r\n\r\n"), Peer.close)),
    ("reset in the body", then(write(head(200, JSON_KIND, "Content-Length: 500") + ANSWER[:50]), Peer.reset)),
    (
        "closed in the body",
        then(write(head(200, JSON_KIND, "Content-Length: 500") + ANSWER[:50]), Peer.close),
    ),
    (
        "length too great",
        then(write(head(200, JSON_KIND, f"Content-Length: {len(ANSWER) + 9}") + ANSWER), Peer.close),
    ),
    ("length too small", reply(200, ANSWER[:-9], JSON_KIND)),
    ("no length, cut", then(write(head(200, JSON_KIND) + ANSWER[:50]), Peer.close)),
    ("half-closed", then(write(head(200, JSON_KIND) + ANSWER[:50]), Peer.half_close, Peer.stall)),
    ("cut chunk", then(write(SSE_HEAD, b"ff\r\ndata: "), Peer.close)),
    ("bad chunk size", then(write(SSE_HEAD, b"zz\r\ndata: x\r\n"), Peer.close)),
    ("negative chunk size", then(write(SSE_HEAD, b"-5\r\ndata: x\n\n\r\n"), Peer.close)),
    ("no chunk end", then(write(SSE_HEAD, chunked(piece("Hel"), end=False)), Peer.close)),
    ("garbage JSON", reply(200, b"{nope", JSON_KIND)),
    ("a web page", reply(200, b"<html>Log in to the hotel's network</html>", "Content-Type: text/html")),
    ("empty body", reply(200, b"", JSON_KIND)),
    ("no content", write(head(204))),
    ("an array", reply(200, b"[]", JSON_KIND)),
    ("empty answer", reply(200, completion(""))),
    ("null answer", reply(200, completion(None))),
    ("no gzip at all", reply(200, ANSWER, JSON_KIND, "Content-Encoding: gzip")),
    ("cut gzip", reply(200, GZIPPED[:-20], JSON_KIND, "Content-Encoding: gzip")),
    ("gzip without its end", reply(200, GZIPPED[:-4], JSON_KIND, "Content-Encoding: gzip")),
    ("unknown coding", reply(200, GZIPPED, JSON_KIND, "Content-Encoding: br")),
]


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
@pytest.mark.parametrize("script", [row[1] for row in BROKEN], ids=[row[0] for row in BROKEN])
def test_a_broken_answer_is_malformed_and_may_have_been_executed(
    fault_server: FaultServer, make_http: Any, make_attempt: Any, script: Script, stream: bool
) -> None:
    """Never a success, never a silent retry, and the broken connection is not used again."""
    fault_server.play(script, good)
    transport = make_http(fault_server.url)
    error = error_of(list(transport.attempt(make_attempt(stream=stream))))
    assert type(error) is MalformedResponseError
    assert error.maybe_executed
    assert "under-test" in str(error)
    assert len(fault_server.requests) == 1
    done_of(list(transport.attempt(make_attempt(stream=stream))))
    assert fault_server.connections == 2


@pytest.mark.parametrize(
    ("events", "kind"),
    [
        ([event({"error": {"message": "boom"}})], ServerError),
        ([event({"error": {"code": 429, "message": "slow down"}})], RateLimitError),
        ([b'error: {"message": "boom"}\n\n'], ServerError),
        ([b'error: {"message": "boom"}'], ServerError),
        ([b"event: error\n", event({"message": "boom"})], ServerError),
        ([event("{nope")], MalformedResponseError),
    ],
)
@pytest.mark.parametrize(
    "before", [[], [piece("")], [piece("Hel")]], ids=["first", "after role", "after text"]
)
def test_an_error_inside_the_stream_is_an_error(
    fault_server: FaultServer,
    make_http: Any,
    make_attempt: Any,
    before: list[bytes],
    events: list[bytes],
    kind: type[BackendError],
) -> None:
    """Although the status said 200; what came before it was handed out."""
    fault_server.play(sse(*before, *events))
    found = list(make_http(fault_server.url).attempt(make_attempt(stream=True)))
    texts = [one.text for one in found if isinstance(one, Chunk)]
    assert type(error_of(found)) is kind
    assert error_of(found).maybe_executed
    assert texts == (["Hel"] if before == [piece("Hel")] else [])


@pytest.mark.parametrize("events", [(), (piece(""),), (piece(None, "stop"),)], ids=["none", "role", "reason"])
def test_an_empty_stream_is_a_failure(
    fault_server: FaultServer, make_http: Any, make_attempt: Any, events: tuple[bytes, ...]
) -> None:
    """Ended by the book, and no answer in it."""
    fault_server.play(sse(*events, event("[DONE]")))
    error = error_of(list(make_http(fault_server.url).attempt(make_attempt(stream=True))))
    assert type(error) is MalformedResponseError
    assert "empty" in str(error)


@pytest.mark.parametrize("ending", ["chunk end", "close", "half-close"])
@pytest.mark.parametrize("kept", range(len(GOOD_EVENTS) + 1))
def test_a_stream_cut_at_any_event_is_truncated_until_its_finish_reason(
    fault_server: FaultServer, make_http: Any, make_attempt: Any, kept: int, ending: str
) -> None:
    """In order or not, with or without the end of the chunked coding."""
    whole = write(SSE_HEAD, chunked(*GOOD_EVENTS[:kept], end=ending == "chunk end"))
    end = {"chunk end": lambda peer: None, "close": Peer.close, "half-close": Peer.half_close}[ending]
    fault_server.play(then(whole, end))
    last = last_of(list(make_http(fault_server.url).attempt(make_attempt(stream=True))))
    if kept >= 4:
        assert isinstance(last, Done), last
        assert last.message["content"] == "Hello"
    else:
        assert type(error_of([last])) is MalformedResponseError


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, len(STREAM)))
def test_a_stream_cut_at_any_byte_is_never_half_an_answer(
    fault_server: FaultServer, make_http: Any, make_attempt: Any, kept: int
) -> None:
    """Where nothing but the end of the connection ends the body."""
    fault_server.play(then(write(head(200, SSE_KIND), STREAM[:kept]), Peer.close))
    last = last_of(list(make_http(fault_server.url).attempt(make_attempt(stream=True))))
    if kept >= len(b"".join(GOOD_EVENTS[:4])):
        assert isinstance(last, Done)
        assert last.message["content"] == "Hello"
    else:
        assert type(error_of([last])) is MalformedResponseError


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.one_of(
        st.binary(max_size=60),
        st.binary(max_size=60).map(lambda tail: b"HTTP/1.1 200 OK\r\n" + tail),
        st.binary(max_size=60).map(lambda tail: SSE_HEAD + tail),
        st.binary(max_size=60).map(lambda tail: head(200, JSON_KIND, "Content-Encoding: gzip") + tail),
    ),
    st.booleans(),
)
def test_arbitrary_bytes_are_a_backend_error(
    fault_server: FaultServer, make_http: Any, make_attempt: Any, data: bytes, stream: bool
) -> None:
    """Whatever answers on that port."""
    fault_server.play(then(write(data), Peer.close))
    assert isinstance(
        error_of(list(make_http(fault_server.url).attempt(make_attempt(stream=stream)))), BackendError
    )


GOOD: list[tuple[str, Script]] = [
    ("by the book", good),
    ("100 continue first", then(write(b"HTTP/1.1 100 Continue\r\n\r\n"), good)),
    ("no length", then(write(head(200, JSON_KIND) + ANSWER), Peer.close)),
    ("half-closed", then(write(head(200, JSON_KIND) + ANSWER), Peer.half_close, Peer.stall)),
    (
        "chunked JSON",
        write(head(200, JSON_KIND, "Transfer-Encoding: chunked"), chunked(ANSWER[:9], ANSWER[9:])),
    ),
    (
        "after interim ones",
        then(write(head(102), head(103, "Link: </x.css>"), head(100)), reply(200, completion())),
    ),
    ("gzip", reply(200, GZIPPED, JSON_KIND, "Content-Encoding: gzip")),
    (
        "byte by byte",
        write(head(200, JSON_KIND, f"Content-Length: {len(ANSWER)}"), *[bytes([b]) for b in ANSWER]),
    ),
    (
        "HTTP/1.0",
        then(write(b"HTTP/1.0 200 OK\r\nContent-Type: application/json\r\n\r\n" + ANSWER), Peer.close),
    ),
]


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
@pytest.mark.parametrize("script", [row[1] for row in GOOD], ids=[row[0] for row in GOOD])
def test_an_answer_in_any_framing_is_an_answer(
    fault_server: FaultServer, make_http: Any, make_attempt: Any, script: Script, stream: bool
) -> None:
    """Also a plain completion where a stream was asked for: its text is then one chunk."""
    fault_server.play(script)
    events = list(make_http(fault_server.url).attempt(make_attempt(stream=stream)))
    done = done_of(events)
    assert done.message["content"] == "Hello"
    if stream:
        assert "".join(one.text for one in events if isinstance(one, Chunk)) == "Hello"
        assert done.raw is None
    else:
        assert done.raw == completion()


def test_a_gzipped_stream_is_decoded_as_it_comes(
    fault_server: FaultServer, make_http: Any, make_attempt: Any
) -> None:
    """A proxy that compresses although nobody asked."""
    compressed = gzip.compress(STREAM)
    pieces = [compressed[at : at + 7] for at in range(0, len(compressed), 7)]
    fault_server.play(
        write(
            head(200, SSE_KIND, "Transfer-Encoding: chunked", "Content-Encoding: gzip"),
            chunked(*pieces),
        )
    )
    assert (
        done_of(list(make_http(fault_server.url).attempt(make_attempt(stream=True)))).message["content"]
        == "Hello"
    )


@pytest.mark.parametrize("coding", ["identity", "gzip"])
def test_an_answer_without_end_is_cut_off(
    fault_server: FaultServer,
    make_http: Any,
    make_attempt: Any,
    monkeypatch: pytest.MonkeyPatch,
    coding: str,
) -> None:
    """Also one that only grows when it is unpacked."""
    monkeypatch.setattr("showcaller.runtime.transports.http_exchange.MAX_ANSWER_BYTES", 100_000)
    body = b" " * 1_000_000
    data = gzip.compress(body) if coding == "gzip" else body
    fault_server.play(then(reply(200, data, JSON_KIND, f"Content-Encoding: {coding}"), Peer.close))
    error = error_of(list(make_http(fault_server.url).attempt(make_attempt())))
    assert type(error) is MalformedResponseError
    assert "more than 100000 bytes" in str(error)


def test_a_refused_connection_was_never_sent(make_http: Any, make_attempt: Any, closed_port: int) -> None:
    """No Sent, and nothing can have been executed."""
    events = list(make_http(f"http://127.0.0.1:{closed_port}/v1").attempt(make_attempt()))
    assert len(events) == 1
    error = error_of(events)
    assert type(error) is BackendUnreachableError
    assert not error.maybe_executed
    assert f"127.0.0.1:{closed_port}" in str(error)


def test_an_unknown_host_was_never_sent(make_http: Any, make_attempt: Any) -> None:
    """The resolver's words are in the text."""
    error = error_of(list(make_http("http://nowhere.invalid/v1").attempt(make_attempt())))
    assert type(error) is BackendUnreachableError
    assert "nowhere.invalid" in str(error)


def test_what_is_sent_is_one_request_by_the_book(
    fault_server: FaultServer, make_http: Any, make_attempt: Any
) -> None:
    """Line for line."""
    fault_server.play(good)
    transport = make_http(
        f"{fault_server.url}/?api-version=1",
        model="ünï",
        api_key=lambda: "the-key",
        auth_header="api-key",
        auth_scheme="",
        headers={"X-Org": "acme", "user-agent": "mine"},
    )
    attempt = make_attempt(stream=True)
    done_of(list(transport.attempt(attempt)))
    request_head, _, body = fault_server.requests[0].partition(b"\r\n\r\n")
    assert request_head.decode().split("\r\n") == [
        "POST /v1/chat/completions?api-version=1 HTTP/1.1",
        f"Host: 127.0.0.1:{fault_server.port}",
        "Accept: application/json, text/event-stream",
        "Accept-Encoding: identity",
        "user-agent: mine",
        "Content-Type: application/json",
        "X-Org: acme",
        "api-key: the-key",
        f"Content-Length: {len(body)}",
    ]
    assert json.loads(body) == {
        "model": "ünï",
        "stream": True,
        "stream_options": {"include_usage": True},
        **json.loads(attempt.payload),
    }
