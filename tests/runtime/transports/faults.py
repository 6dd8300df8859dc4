"""The faults of the table in docs/faults.md, by the names that they have there: what a server does to a call."""

from __future__ import annotations

import gzip
import json
import threading
import time
from collections.abc import Callable
from email.utils import formatdate
from typing import Any

from attrs import field, frozen

from showcaller.actors.backend_config import Timeouts
from tests.runtime.transports.fault_server import (
    ANSWER,
    GOOD_EVENTS,
    JSON_KIND,
    PATIENCE,
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
    stall_after,
    then,
    write,
)

PATIENT = Timeouts(connect=PATIENCE, first_token=PATIENCE, idle=PATIENCE, total=PATIENCE)
"""For what ends by itself, however busy the machine is."""
TURN = 0.02
"""Seconds between two bytes that drip."""

Make = Callable[[FaultServer], Script]


@frozen
class Fault:
    """What a server does to a plain request, and to a streamed one; None where there is no such fault.

    Attributes:
        timeout: the backend's, which is what ends a fault that only stalls.
        pause: `retry_after` of the error, in seconds, and how long the second call waits at least.
        at: what is called in place of a server: "refused" or "full".
    """

    plain: Make | None
    stream: Make | None
    timeout: Timeouts = field(default=PATIENT, kw_only=True)
    pause: float | None = field(default=None, kw_only=True)
    at: str | None = field(default=None, kw_only=True)


def timeouts(**short: float) -> Timeouts:
    """Patient but for what is given."""
    return Timeouts(
        **{"connect": PATIENCE, "first_token": PATIENCE, "idle": PATIENCE, "total": PATIENCE, **short}
    )


def make(script: Script | None) -> Make | None:
    """The same script on every server."""
    return None if script is None else lambda server: script


def both(script: Script, **more: Any) -> Fault:
    """The same to a plain request and to a streamed one."""
    return Fault(make(script), make(script), **more)


def each(plain: Script | None, stream: Script | None, **more: Any) -> Fault:
    """The same fault in the two shapes that an answer has."""
    return Fault(make(plain), make(stream), **more)


def silence(plain: Script | None, stream: Script, **short: float) -> Fault:
    """Silence after what is sent, until the client hangs up."""
    return Fault(
        plain and (lambda server: stall_after(plain, server)),
        lambda server: stall_after(stream, server),
        timeout=timeouts(**short),
    )


def after_the_first_word(plain: Script, end: Callable[[Peer], Any]) -> Fault:
    """A stream whose first word its reader has, and then its end; to a plain request, what shows the same."""

    def stream(server: FaultServer) -> Script:
        return then(sse(WORD, end=False), lambda peer: server.heard.wait(PATIENCE), end)

    return Fault(make(plain), stream)


def error(status: int, *headers: str, pause: float | None = None, **fields: Any) -> Fault:
    """An error in the form that is OpenAI's."""
    return both(reply(status, {"error": {"message": "no", **fields}}, *headers), pause=pause)


def until_a_date(peer: Peer) -> None:
    """A pause until the next whole second."""
    date = formatdate(int(time.time()) + 1, usegmt=True)
    reply(429, b"", f"Retry-After: {date}")(peer)


def redirect(server: FaultServer) -> Script:
    """To another host, which is the same server: who follows makes one call more."""
    return reply(307, b"", f"Location: http://localhost:{server.port}/v1/chat/completions")


def again(data: bytes, pause: float = 0.0) -> Callable[[Peer], None]:
    """The same bytes again and again, until the client hangs up."""

    def script(peer: Peer) -> None:
        ticks = threading.Event()
        while not peer.closed:
            peer.send(data)
            if pause:
                ticks.wait(pause)

    return script


def tool_call(peer: Peer) -> None:
    """An answer that is a call of a tool and no text."""
    call = {"id": "c1", "type": "function", "function": {"name": "look", "arguments": "{}"}}
    if b'"stream":true' in peer.request:
        delta = {"content": None, "tool_calls": [{"index": 0, **call}]}
        choice = {"index": 0, "delta": delta, "finish_reason": None}
        sse(event({"choices": [choice]}), *END)(peer)
    else:
        reply(200, completion(None, tool_calls=[call]))(peer)


def ended(content: str, finish_reason: str) -> dict[str, Any]:
    """A completion that ended for that reason."""
    document = completion(content)
    document["choices"][0]["finish_reason"] = finish_reason
    return document


def zipped(data: bytes, kind: str, keep: int | None = None) -> Script:
    """A body that is compressed although nobody asked, whole or cut."""
    body = gzip.compress(data)[:keep]
    return reply(200, body, f"Content-Type: {kind}", "Content-Encoding: gzip")


WORD = piece("Hel")
END = (piece(None, "stop"), event("[DONE]"))
OPEN = head(200, JSON_KIND, "Content-Length: 1000000")
HALF = write(OPEN + ANSWER[:50])
NO_USAGE = {key: value for key, value in completion().items() if key != "usage"}
BAD_UTF8 = json.dumps(completion("Hello?")).encode().replace(b"?", b"\xff")
BOOM = {"error": {"message": "boom"}}
PAGE = b"<html><title>Bad Gateway</title>nginx</html>"

FAULTS: dict[str, Fault] = {
    # the connection
    "the port refuses": both(good, at="refused"),
    "the port neither accepts nor refuses": both(good, at="full", timeout=timeouts(connect=0.15)),
    "closed before the headers": both(Peer.close),
    "reset before the headers": both(Peer.reset),
    "reset in the headers": both(then(write(b"HTTP/1.1 200 OK\r\nContent-Ty"), Peer.reset)),
    "reset after the headers": each(then(write(OPEN), Peer.reset), then(write(SSE_HEAD), Peer.reset)),
    "reset in the answer": after_the_first_word(then(HALF, Peer.reset), Peer.reset),
    "closed in the answer": after_the_first_word(then(HALF, Peer.close), Peer.close),
    # silence
    "silent before the headers": silence(write(), write(), first_token=0.15),
    "silent after the headers": silence(write(OPEN), write(SSE_HEAD), first_token=0.15, idle=0.15),
    "silent but for comments": each(
        None,
        then(write(SSE_HEAD), again(chunked(b": ping\n\n", end=False), TURN)),
        timeout=timeouts(first_token=0.15),
    ),
    "silent in the answer": silence(HALF, sse(WORD, end=False), idle=0.15),
    "drips for ever": each(
        then(HALF, again(b" ", TURN)),
        then(sse(WORD, end=False), again(chunked(b": ping\n\n", end=False), TURN)),
        timeout=timeouts(total=0.8),
    ),
    # statuses
    "400": error(400),
    "400 `context_length_exceeded`": error(400, code="context_length_exceeded"),
    "400 `content_filter`": error(400, code="content_filter"),
    "401": error(401),
    "402": error(402),
    "403": error(403),
    "403, `Sunset` in the past": error(403, "Sunset: Thu, 30 Jul 2026 00:00:00 GMT"),
    "404": error(404),
    "405": error(405),
    "408": error(408),
    "409": error(409),
    "410": error(410),
    "413": error(413),
    "413 `tokens_limit_reached`": error(413, code="tokens_limit_reached"),
    "415": error(415),
    "422": error(422),
    "424": error(424),
    "425": error(425),
    "429": error(429),
    "429, `Retry-After: 0`": error(429, "Retry-After: 0", pause=0.0),
    "429, `Retry-After: 1`": error(429, "Retry-After: 1", pause=1.0),
    "429, `Retry-After: 0.2`": error(429, "Retry-After: 0.2", pause=0.2),
    "429, `Retry-After` a date": both(until_a_date),
    "429, `retry-after-ms: 200`": error(429, "retry-after-ms: 200", pause=0.2),
    "429, `x-ratelimit-reset-requests: 12ms`": error(429, "x-ratelimit-reset-requests: 12ms", pause=0.012),
    "429, `Retry-After: 86400`": error(429, "Retry-After: 86400", pause=86400.0),
    '429, "Please wait 5631 seconds"': error(429, message="Please wait 5631 seconds", pause=5631.0),
    "429 `insufficient_quota`": error(429, code="insufficient_quota"),
    "499": error(499),
    "500": error(500),
    "500, a body without end": both(then(write(head(500)), again(b"oops" * 4096))),
    "502, a web page": both(reply(502, PAGE, "Content-Type: text/html")),
    "503": error(503),
    "503, `Retry-After: 0.2`": error(503, "Retry-After: 0.2", pause=0.2),
    "503, `Retry-After: 86400`": error(503, "Retry-After: 86400", pause=86400.0),
    "529": error(529),
    "999": error(999),
    "103, and then the answer": both(then(write(head(103, "Link: </style.css>")), good)),
    "307 to another host": Fault(redirect, redirect),
    # errors inside a 200
    "200, an error as JSON": both(reply(200, BOOM)),
    "200, an error with code 429": each(
        reply(200, {"error": {"code": 429, "message": "slow down"}}),
        sse(event({"error": {"code": 429, "message": "slow down"}})),
    ),
    '200, `data: {"error"}` first': each(None, sse(event(BOOM))),
    '200, `data: {"error"}` after the role': each(None, sse(piece(""), event(BOOM))),
    '200, `data: {"error"}` after a word': each(None, sse(WORD, event(BOOM))),
    '200, `data: {"object": "error"}` after a word': each(
        None, sse(WORD, event({"object": "error", "message": "boom", "code": 500}), event("[DONE]"))
    ),
    "200, a bare `error:` line first": each(None, sse(b'error: {"message": "boom"}\n\n')),
    "200, a bare `error:` line after a word": each(None, sse(WORD, b'error: {"message": "boom"}\n\n')),
    "200, a web page": both(reply(200, PAGE, "Content-Type: text/html")),
    "200, `finish_reason: error`": each(reply(200, ended("", "error")), sse(piece(None, "error"))),
    "200, `finish_reason: error` after a word": each(
        reply(200, ended("Hel", "error")), sse(WORD, piece(None, "error"))
    ),
    "200, `finish_reason: abort` after a word": each(
        reply(200, ended("Hel", "abort")), sse(WORD, piece(None, "abort"), event("[DONE]"))
    ),
    "200, `finish_reason: content_filter`, no word": each(
        reply(200, ended("", "content_filter")), sse(piece(None, "content_filter"))
    ),
    "200, `finish_reason: content_filter` after a word": each(
        reply(200, ended("Hel", "content_filter")), sse(WORD, piece(None, "content_filter"))
    ),
    # what is missing, or too much
    "neither `finish_reason` nor `[DONE]`, no word": each(None, sse(piece(""))),
    "neither `finish_reason` nor `[DONE]`, after a word": each(None, sse(WORD)),
    "no `[DONE]`": each(None, sse(*GOOD_EVENTS[:-1])),
    "no `finish_reason`": each(None, sse(WORD, event("[DONE]"))),
    "an empty answer": each(reply(200, completion("")), sse(piece(""), *END)),
    "an empty body": each(reply(200, b"", JSON_KIND), reply(200, b"", SSE_KIND)),
    "`content: null` with `tool_calls`": both(tool_call),
    "comment lines": each(None, sse(b": ping\n\n", WORD, b": ping\n\n", piece("lo"), *END)),
    "`choices: []` first": each(
        reply(200, {**completion(), "choices": []}), sse(event({"choices": []}), WORD, *END)
    ),
    "a chunk without `delta`": each(None, sse(event({"choices": [{"index": 0}]}), WORD, *END)),
    "no `usage`": each(reply(200, NO_USAGE), sse(*GOOD_EVENTS)),
    # what is garbled
    "invalid JSON": each(reply(200, b'{"choices": [', JSON_KIND), sse(event("{nope"))),
    "invalid JSON after a word": each(None, sse(WORD, event("{nope"))),
    "invalid UTF-8": each(reply(200, BAD_UTF8, JSON_KIND), sse(piece("Hello?").replace(b"?", b"\xff"), *END)),
    "the wrong `Content-Type`": each(
        reply(200, ANSWER, "Content-Type: text/html"),
        write(head(200, "Content-Type: text/plain", "Transfer-Encoding: chunked"), chunked(*GOOD_EVENTS)),
    ),
    "a whole answer in place of a stream": each(None, reply(200, completion())),
    "a stream in place of a whole answer": each(sse(*GOOD_EVENTS), None),
    "not HTTP": both(then(write(b"SSH-2.0-OpenSSH_9.2\r\n\r\n"), Peer.close)),
    "a gzip body": each(
        zipped(ANSWER, "application/json"), zipped(b"".join(GOOD_EVENTS), "text/event-stream")
    ),
    "a gzip body that is cut": each(
        zipped(ANSWER, "application/json", -20), zipped(b"".join(GOOD_EVENTS[:1]), "text/event-stream", -20)
    ),
    "a broken chunk size": each(
        write(head(200, JSON_KIND, "Transfer-Encoding: chunked"), b"zz\r\n" + ANSWER),
        write(SSE_HEAD, b"zz\r\ndata: x\r\n"),
    ),
    "a `Content-Length` too great": each(
        then(write(head(200, JSON_KIND, f"Content-Length: {len(ANSWER) + 9}") + ANSWER), Peer.close),
        then(write(head(200, SSE_KIND, "Content-Length: 9999") + b"".join(GOOD_EVENTS)), Peer.close),
    ),
    "a `Content-Length` too small": each(
        write(head(200, JSON_KIND, f"Content-Length: {len(ANSWER) - 9}") + ANSWER),
        write(head(200, SSE_KIND, f"Content-Length: {len(piece(''))}") + b"".join(GOOD_EVENTS)),
    ),
    "a huge header": both(write(b"HTTP/1.1 200 OK\r\nX: " + b"y" * 100_000 + b"\r\n\r\n")),
    "headers without end": both(then(write(b"HTTP/1.1 200 OK\r\n"), again(b"X: y\r\n" * 100))),
    "a body without end": each(
        then(write(head(200, JSON_KIND)), again(b" " * 2**18)),
        then(write(head(200, SSE_KIND)), again(b"data: " + b"x" * 2**18)),
    ),
}
