"""The SSE decoder: the same events however the bytes were split, and nothing past its bounds."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from showcaller.actors.errors import MalformedResponseError
from showcaller.runtime.wire.sse import SseDecoder, SseEvent


def decode(*pieces: bytes, bound: int = 1000) -> tuple[list[SseEvent], SseEvent | str | None]:
    """The events of the pieces, and what `close` says, or "too large"."""
    decoder = SseDecoder(backend="b", max_event_bytes=bound)
    events: list[SseEvent] = []
    try:
        for piece in pieces:
            for event in decoder.feed(piece):
                events.append(event)  # noqa: PERF402 - what came before an error counts
    except MalformedResponseError:
        return events, "too large"
    return events, decoder.close()


@pytest.mark.parametrize(
    ("stream", "events"),
    [
        (b"data: a\n\n", [SseEvent("a")]),
        (b"data:a\n\n", [SseEvent("a")]),
        (b"data:  a \n\n", [SseEvent(" a ")]),
        (b"data: a\r\n\r\ndata: b\r\n\r\n", [SseEvent("a"), SseEvent("b")]),
        (b"data: a\r\rdata: b\r\r", [SseEvent("a"), SseEvent("b")]),
        (b"data: a\ndata: b\n\n", [SseEvent("a\nb")]),
        (b"data: a\ndata\ndata: b\n\n", [SseEvent("a\n\nb")]),
        (b": ping\n\n:\ndata: a\n: in between\n\n", [SseEvent("a")]),
        (b"event: error\ndata: a\n\ndata: b\n\n", [SseEvent("a", "error"), SseEvent("b")]),
        (b"event: lost\n\ndata: b\n\n", [SseEvent("b")]),
        (b'error: {"message": "x"}\n\n', [SseEvent('{"message": "x"}', "error")]),
        (b"id: 1\nretry: 5\nunknown: x\ndata: a\n\n", [SseEvent("a")]),
        (b"\xef\xbb\xbfdata: a\n\n", [SseEvent("a")]),
        (b"\n\n\n\ndata: a\n\n\n\n", [SseEvent("a")]),
        ("data: Grüße 🎭\n\n".encode(), [SseEvent("Grüße 🎭")]),
        (b"data: \xff\n\n", [SseEvent("\ufffd")]),
        (b"", []),
    ],
)
def test_a_whole_stream_gives_its_events(stream: bytes, events: list[SseEvent]) -> None:
    """The WHATWG grammar, with all three line ends, comments and multi-line data."""
    assert decode(stream) == (events, None)


@pytest.mark.parametrize(
    ("stream", "rest"),
    [
        (b"data: a", SseEvent("a")),
        (b"data: a\n", SseEvent("a")),
        (b"data: a\r", SseEvent("a")),
        (b"data: x\n\ndata: a\ndata: b", SseEvent("a\nb")),
        (b'error: {"message": "x"}', SseEvent('{"message": "x"}', "error")),
        (b"data: x\n\n", None),
        (b"data: x\n\n: comm", None),
    ],
)
def test_an_event_without_its_blank_line_is_not_an_event(stream: bytes, rest: SseEvent | None) -> None:
    """What the stream broke off in comes from `close` alone, so that a truncation can be seen."""
    events, left = decode(stream)
    assert left == rest
    assert events == ([SseEvent("x")] if stream.startswith(b"data: x") else [])


@pytest.mark.parametrize("stream", [b"data: " + b"x" * 101, b":" + b"x" * 100, b"data: 0123456789\n" * 11])
def test_a_line_or_event_beyond_the_bound_is_malformed(stream: bytes) -> None:
    """Memory is bounded for one endless line and for endless lines of one event."""
    assert decode(b"data: ok\n\n", stream, bound=100) == ([SseEvent("ok")], "too large")


def test_closing_raises_nothing() -> None:
    """The bound is kept while bytes come in, also by a line that never ends."""
    assert decode(b"data: 0123456789\n" * 8, b"data: 0123456789", bound=100)[1] == "too large"


def test_comments_without_end_are_no_reason_to_fail() -> None:
    """Keep-alive comments do not add up to an event."""
    assert decode(*[b": ping\n"] * 100, b"data: a\n\n", bound=50) == ([SseEvent("a")], None)


LINES = [b"data: a", b"data", b"data:x" * 5, b"event: e", b"error: {}", b": c", b"", b"", b"\xef\xbb\xbf"]
lines = st.sampled_from([*LINES, "data: ü🎭".encode(), b"data: \xf0\x9f", b"x" * 40])
streams = st.lists(st.tuples(lines, st.sampled_from([b"\n", b"\r", b"\r\n"])), max_size=12).map(
    lambda parts: b"".join(line + end for line, end in parts).removesuffix(b"\n")
)


def test_a_line_end_that_is_split_is_one_line_end() -> None:
    """CR in one piece and LF in the next: no blank line between them."""
    assert decode(b"data: a\r", b"\ndata: b\r", b"", b"\n\r", b"\n") == ([SseEvent("a\nb")], None)
    assert decode(b"data: a\r", b"\rdata: b\r", b"\r") == ([SseEvent("a"), SseEvent("b")], None)


@given(streams, st.data())
def test_the_split_does_not_change_the_events(stream: bytes, data: st.DataObject) -> None:
    """Split anywhere, inside a character or between CR and LF included, the events are the same."""
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=8)))
    bounds = [0, *cuts, len(stream)]
    pieces = [stream[a:b] for a, b in itertools.pairwise(bounds)]
    assert decode(*pieces, bound=100) == decode(stream, bound=100)


@given(streams)
def test_byte_by_byte_is_the_same_too(stream: bytes) -> None:
    """The finest split of all."""
    assert decode(*[bytes([byte]) for byte in stream], bound=100) == decode(stream, bound=100)


@given(st.lists(st.binary(max_size=40), max_size=10))
def test_arbitrary_bytes_raise_nothing_else(pieces: list[bytes]) -> None:
    """Events, or MalformedResponseError."""
    decode(*pieces, bound=30)
