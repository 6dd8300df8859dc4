"""The statuses of HTTP answers, plain and streamed: each is its error, with the pause that was asked for."""

from __future__ import annotations

from typing import Any

import pytest

from showcaller.actors.errors import (
    AuthenticationError,
    BackendError,
    BackendRetiredError,
    BillingError,
    ContentPolicyViolationError,
    ContextWindowExceededError,
    InvalidRequestError,
    MalformedResponseError,
    ModelNotFoundError,
    RateLimitError,
    RedirectedError,
    RequestTooLargeError,
    ServerError,
)
from showcaller.actors.transport import Sent
from tests.runtime.transports.contract import error_of
from tests.runtime.transports.fault_server import FaultServer, Peer, Script, head, reply, then, write


def error_body(**fields: Any) -> dict[str, Any]:
    return {"error": fields}


STATUSES: list[tuple[str, Script, type[BackendError], float | None]] = [
    ("429", reply(429), RateLimitError, None),
    ("429 int", reply(429, b"", "Retry-After: 7"), RateLimitError, 7.0),
    ("429 float", reply(429, b"", "Retry-After: 1.5"), RateLimitError, 1.5),
    ("429 ms", reply(429, b"", "retry-after-ms: 250"), RateLimitError, 0.25),
    ("429 date", reply(429, b"", "Retry-After: Wed, 18 Nov 2026 11:07:40 GMT"), RateLimitError, 60.0),
    ("429 reset", reply(429, b"", "X-RateLimit-Reset-Tokens: 6m0s"), RateLimitError, 360.0),
    ("429 epoch", reply(429, b"", "X-RateLimit-Reset: 1795000030"), RateLimitError, 30.0),
    (
        "429 RFC 3339",
        reply(429, b"", "anthropic-ratelimit-reset: 2026-11-18T11:07:40Z"),
        RateLimitError,
        60.0,
    ),
    ("429 garbage", reply(429, b"", "Retry-After: soon"), RateLimitError, None),
    ("429 prose", reply(429, error_body(message="Please wait 5631 seconds")), RateLimitError, 5631.0),
    ("429 quota", reply(429, error_body(code="insufficient_quota")), BillingError, None),
    ("500", reply(500, b"oops"), ServerError, None),
    ("502", reply(502, b"<html>Bad Gateway</html>"), ServerError, None),
    ("503", reply(503, b"", "Retry-After: 2"), ServerError, 2.0),
    ("529", reply(529), ServerError, None),
    ("408", reply(408), ServerError, None),
    ("409", reply(409), ServerError, None),
    ("425", reply(425), ServerError, None),
    ("401", reply(401), AuthenticationError, None),
    ("403", reply(403), AuthenticationError, None),
    ("402", reply(402), BillingError, None),
    ("404", reply(404), ModelNotFoundError, None),
    ("410", reply(410), BackendRetiredError, None),
    ("sunset", reply(403, b"", "Sunset: Thu, 30 Jul 2026 00:00:00 GMT"), BackendRetiredError, None),
    ("415", reply(415), InvalidRequestError, None),
    ("413", reply(413, b"too large"), RequestTooLargeError, None),
    ("413 tokens", reply(413, error_body(code="tokens_limit_reached")), ContextWindowExceededError, None),
    ("400", reply(400, error_body(message="bad")), InvalidRequestError, None),
    ("400 filter", reply(400, error_body(code="content_filter")), ContentPolicyViolationError, None),
    ("400 context", reply(400, error_body(code="context_length_exceeded")), ContextWindowExceededError, None),
    ("redirect", reply(307, b"", "Location: http://127.0.0.1:1/elsewhere"), RedirectedError, None),
    ("cut error body", then(write(head(500, "Content-Length: 99"), b"oo"), Peer.close), ServerError, None),
]


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
@pytest.mark.parametrize(
    ("script", "kind", "pause"), [row[1:] for row in STATUSES], ids=[r[0] for r in STATUSES]
)
def test_a_status_is_its_error(
    fault_server: FaultServer,
    make_http: Any,
    make_attempt: Any,
    script: Script,
    kind: type[BackendError],
    pause: float | None,
    stream: bool,
) -> None:
    """Once, without a retry or a redirect, and with the pause that was asked for."""
    fault_server.play(script)
    events = list(
        make_http(fault_server.url, wall=lambda: 1_795_000_000.0).attempt(make_attempt(stream=stream))
    )
    error = error_of(events)
    assert type(error) is kind
    assert error.retry_after == pause
    assert error.backend == "under-test"
    assert [type(one) for one in events[:-1]] == [Sent]
    assert len(fault_server.requests) == 1


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
def test_an_answer_given_before_the_request_was_read_counts(
    fault_server: FaultServer, make_http: Any, make_attempt: Any, stream: bool
) -> None:
    """A server that refuses a large body answers and hangs up while it is still being sent."""
    fault_server.refuse_before_reading(reply(413, error_body(code="tokens_limit_reached")))
    events = list(make_http(fault_server.url).attempt(make_attempt("x" * 8_000_000, stream=stream)))
    error = error_of(events)
    assert isinstance(error, ContextWindowExceededError | MalformedResponseError)
