"""From an HTTP answer to the one error it means."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from showcaller.actors.errors import (
    AuthenticationError,
    BackendError,
    BackendRetiredError,
    BillingError,
    ContentPolicyViolationError,
    ContextWindowExceededError,
    InvalidRequestError,
    ModelNotFoundError,
    RateLimitError,
    RedirectedError,
    RequestTooLargeError,
    ServerError,
)
from showcaller.runtime.wire.failures import failure, failure_inside_200

NOW = 1_795_000_000.0  # 2026-11-18 11:06:40 UTC


def judge(status: int, body: Any = b"", **headers: str) -> BackendError:
    """The failure of an answer; header names have `_` for `-`."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return failure(status, named, raw, backend="b", now=NOW)


def error(**fields: Any) -> dict[str, Any]:
    """An OpenAI-style error body."""
    return {"error": fields}


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (400, error(message="bad", type="invalid_request_error"), InvalidRequestError),
        (400, error(code="context_length_exceeded", message="x"), ContextWindowExceededError),
        (
            400,
            error(code=400, type="exceed_context_size_error", message="request (3031 tokens) exceeds"),
            ContextWindowExceededError,
        ),
        (400, error(message="This model's maximum context length is 8192"), ContextWindowExceededError),
        (400, {"message": "prompt is too long: 210000 tokens"}, ContextWindowExceededError),
        (
            413,
            error(code="tokens_limit_reached", message="Max size: 8000 tokens"),
            ContextWindowExceededError,
        ),
        (413, b"<html>Request Entity Too Large</html>", RequestTooLargeError),
        (
            413,
            error(
                code="rate_limit_exceeded",
                type="tokens",
                message="Request too large for model `m` on tokens per minute (TPM): Limit 6000, Requested 7042",
            ),
            RequestTooLargeError,
        ),
        (500, error(message="the request exceeds the available context size"), ContextWindowExceededError),
        (400, error(code="content_filter", message="filtered"), ContentPolicyViolationError),
        (
            400,
            error(code="x", innererror={"code": "ResponsibleAIPolicyViolation"}),
            ContentPolicyViolationError,
        ),
        (400, error(code="invalid_api_key"), AuthenticationError),
        (400, [error(status="INVALID", details=[{"reason": "API_KEY_INVALID"}])], AuthenticationError),
        (400, error(code="model_not_found"), ModelNotFoundError),
        (401, error(message="Invalid API Key", code=401), AuthenticationError),
        (403, b"", AuthenticationError),
        (402, b"", BillingError),
        (404, error(message="no model"), ModelNotFoundError),
        (405, b"", ModelNotFoundError),
        (421, b"", ModelNotFoundError),
        (400, error(message="Your credit balance is too low to access the API"), BillingError),
        (500, error(code="rate_limit_exceeded"), RateLimitError),
        (408, b"", ServerError),
        (409, b"", ServerError),
        (410, b"", BackendRetiredError),
        (410, error(code="github_models_retirement_brownout", message="temporarily"), BackendRetiredError),
        (403, error(code="github_models_retirement_brownout"), BackendRetiredError),
        (415, b"", InvalidRequestError),
        (422, {"detail": [{"loc": ["body"], "msg": "field required"}]}, InvalidRequestError),
        (424, error(message="Request failed during generation", type="generation"), ServerError),
        (425, b"", ServerError),
        (429, b"", RateLimitError),
        (429, error(code="RateLimitReached", message="Please wait 5631 seconds"), RateLimitError),
        (429, error(code="insufficient_quota", message="You exceeded your quota"), BillingError),
        (429, error(type="insufficient_quota"), BillingError),
        (500, b"", ServerError),
        (499, error(status="CANCELLED"), ServerError),
        (501, b"", ServerError),
        (502, b"<html><h1>Bad Gateway</h1></html>", ServerError),
        (503, error(message="Loading model", type="unavailable_error"), ServerError),
        (529, error(type="overloaded_error"), ServerError),
        (600, b"", ServerError),
        (999, b"", ServerError),
        (302, b"", RedirectedError),
        (101, b"", InvalidRequestError),
    ],
)
def test_status_and_body_give_the_error(status: int, body: Any, kind: type[BackendError]) -> None:
    """What the body says beats what the status says."""
    found = judge(status, body)
    assert type(found) is kind
    assert found.backend == "b"
    assert found.status == status
    assert "'b'" in str(found)
    assert f"HTTP {status}" in str(found)
    assert "Fix: " in str(found)


@pytest.mark.parametrize(
    ("sunset", "kind"),
    [
        ("Wed, 18 Nov 2026 11:06:40 GMT", BackendRetiredError),
        ("Thu, 30 Jul 2026 00:00:00 GMT", BackendRetiredError),
        ("Wed, 18 Nov 2026 11:06:41 GMT", AuthenticationError),
        ("soon", AuthenticationError),
    ],
)
def test_a_sunset_in_the_past_means_retired(sunset: str, kind: type[BackendError]) -> None:
    """GitHub Models answered 403 with `deprecation` and `sunset` before it answered 410."""
    assert type(judge(403, sunset=sunset)) is kind


@pytest.mark.parametrize(
    ("status", "body", "headers", "seconds"),
    [
        (429, b"", {"retry_after": "7"}, 7.0),
        (429, error(code="UserConcurrentRequests"), {"retry_after": "0"}, 0.0),
        (429, error(code="RateLimitReached", message="Please wait 5631 seconds"), {}, 5631.0),
        (429, error(message="try again in 6m0s"), {"retry_after": "3"}, 3.0),
        (503, b"", {"retry_after": "Wed, 18 Nov 2026 11:07:40 GMT"}, 60.0),
        (529, b"", {"retry_after_ms": "1500"}, 1.5),
        (400, error(message="wait 5 seconds"), {"retry_after": "7"}, None),
        (429, b"", {}, None),
    ],
)
def test_the_pause_is_taken_where_a_retry_makes_sense(
    status: int, body: Any, headers: dict[str, str], seconds: float | None
) -> None:
    """From the headers, else from the message."""
    assert judge(status, body, **headers).retry_after == seconds


@pytest.mark.parametrize(
    ("status", "maybe"),
    [
        (400, False),
        (401, False),
        (424, True),
        (429, False),
        (499, True),
        (503, False),
        (529, False),
        (500, True),
        (502, True),
        (504, True),
    ],
)
def test_only_a_failure_inside_the_backend_may_have_been_executed(status: int, maybe: bool) -> None:
    """What was turned away was not computed."""
    assert judge(status).maybe_executed is maybe


@pytest.mark.parametrize(
    "body",
    [
        error(message="KEYWORD"),
        {"error": "KEYWORD"},
        {"message": "KEYWORD"},
        {"detail": "KEYWORD"},
        {"detail": [{"msg": "KEYWORD"}]},
        [error(message="KEYWORD")],
        b"KEYWORD",
        b"<html><head><style>body {}</style></head><h1>KEYWORD</h1></html>",
    ],
)
def test_the_providers_words_are_quoted(body: Any) -> None:
    """In whichever form the body has them."""
    assert "KEYWORD" in str(judge(400, body))
    assert "<h1>" not in str(judge(400, body))


def test_the_quote_is_bounded_and_has_no_secret() -> None:
    """A provider that echoes the key, after a megabyte of text."""
    body = b"key=hunter2-hunter2 " + b"x" * 1_000_000
    found = failure(401, {}, body, backend="b", now=NOW, secrets=("hunter2-hunter2",))
    assert "hunter2" not in str(found)
    assert len(str(found)) < 600


@pytest.mark.parametrize(
    ("document", "kind"),
    [
        (error(message="boom"), ServerError),
        (error(code=429, message="slow down"), RateLimitError),
        (error(code="429", message="slow down"), RateLimitError),
        (error(code="rate_limit_exceeded", message="slow down"), RateLimitError),
        (error(type="rate_limit_error"), RateLimitError),
        (error(code=402), BillingError),
        (error(code="context_length_exceeded"), ContextWindowExceededError),
        (error(code="insufficient_quota"), BillingError),
        (error(code=200), ServerError),
        ({"error": "boom"}, ServerError),
        ({"error": ["boom"]}, ServerError),
        ({"object": "error", "message": "slow down", "code": 429}, RateLimitError),
    ],
)
def test_an_error_inside_a_200_may_have_been_executed(document: Any, kind: type[BackendError]) -> None:
    """Its own code stands for the status."""
    found = failure_inside_200(document, backend="b", now=NOW)
    assert type(found) is kind
    assert found.status == 200
    assert found.maybe_executed


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["error", "message", "code", "type", "detail", "details", "innererror"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(
    st.integers(100, 999),
    st.dictionaries(st.sampled_from(["retry-after", "sunset", "x-ratelimit-reset"]), st.text()),
    st.binary() | json_values.map(lambda value: json.dumps(value).encode()),
)
def test_any_answer_is_some_backend_error(status: int, headers: dict[str, str], body: bytes) -> None:
    """Never an exception of another kind, whatever the bytes."""
    assert isinstance(failure(status, headers, body, backend="b", now=NOW), BackendError)


@given(json_values)
def test_any_document_is_some_backend_error(document: Any) -> None:
    """The same for an error inside a stream."""
    assert isinstance(failure_inside_200(document, backend="b", now=NOW), BackendError)


@pytest.mark.parametrize("piece", [b"<", b"<script", b"<style ", b"<a b"])
def test_a_page_of_tags_that_do_not_end_is_read_once(piece: bytes) -> None:
    """A search from each of them to the end of the page would hold up every thread for seconds."""
    page = piece * (64 * 1024 // len(piece))
    started = time.thread_time()
    assert type(judge(500, page)) is ServerError
    assert time.thread_time() - started < 0.5


def test_a_page_without_its_tags_is_quoted() -> None:
    """Also what stands beside a sign that begins no tag."""
    page = b"<style>p {}</style><SCRIPT>x</SCRIPT><p class=a>1 < 2</p><script>never closed"
    assert 'it said: "1 < 2"' in str(judge(500, page))


def test_a_broken_character_does_not_hide_the_code() -> None:
    """What the body says still beats what the status says."""
    body = json.dumps(error(code="insufficient_quota", message="no?")).encode().replace(b"?", b"\xff")
    assert type(judge(429, body)) is BillingError


def test_a_deeply_nested_body_is_no_trap() -> None:
    """The JSON parser's recursion limit is not the caller's problem."""
    assert type(judge(500, b"[" * 100_000)) is ServerError
