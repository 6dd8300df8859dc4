"""From what a backend answered to the one error it means, as a table.

The first row that matches wins: what the body says beats what the status says. An error names the backend,
the status and the fix, and quotes the provider in one bounded line without secrets.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

from attrs import frozen

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
from showcaller.runtime.wire.excerpt import excerpt
from showcaller.runtime.wire.retry_after import parse_date, retry_after, retry_after_in_text

_ANY = range(300, 1000)
# A request that is right, and may be so for the same server later.
_LATER = (408, 409, 424, 425, 499)
_REFUSED = (400, 403, 413, 422)
_CONTEXT_TEXT = re.compile(
    r"context[ _](?:length|window|size)|maximum context"
    r"|(?:prompt|input) is too long|reduce the length of the",
    re.IGNORECASE,
)
# Each character is looked at once, whatever is not closed: a search holds up every thread.
_TAGS = re.compile(r"<(?:script|style)\b.*?(?:</(?:script|style)>|\Z)|<[^<>]*>", re.IGNORECASE | re.DOTALL)
# So much of a message is read; an error inside an answer may be as long as an answer.
_LONGEST_MESSAGE = 64 * 1024


@frozen(kw_only=True)
class _Answer:
    """What the rows look at: the status, lower-case codes and types of the body, its message, the headers."""

    status: int
    codes: frozenset[str]
    message: str
    headers: Mapping[str, str]
    now: float


def _sunset_passed(answer: _Answer) -> bool:
    at = parse_date(answer.headers.get("sunset", "").strip())
    return at is not None and at <= answer.now


def _too_long(answer: _Answer) -> bool:
    return _CONTEXT_TEXT.search(answer.message) is not None


@frozen(kw_only=True)
class _Row:
    """Matches when the status is listed and, where given, one of the codes is there or `when` holds."""

    error: type[BackendError]
    says: str
    fix: str
    status: Collection[int] = _ANY
    codes: frozenset[str] = frozenset()
    when: Callable[[_Answer], bool] | None = None

    def matches(self, answer: _Answer) -> bool:
        if answer.status not in self.status:
            return False
        if not self.codes and self.when is None:
            return True
        return bool(self.codes & answer.codes) or (self.when is not None and self.when(answer))


_ROWS = (
    _Row(
        error=BackendRetiredError,
        says="has been retired",
        fix="remove it from the configuration",
        codes=frozenset({"github_models_retirement_brownout"}),
        when=lambda answer: answer.status == 410 or _sunset_passed(answer),
    ),
    _Row(
        error=BillingError,
        says="has no money or quota left",
        fix="add credit or raise the limit of the account behind its api_key",
        codes=frozenset(
            {
                "insufficient_quota",
                "billing_hard_limit_reached",
                "billing_not_active",
                "insufficient_balance",
                "credit_balance_exhausted",
            }
        ),
        # Anthropic says it with 400.
        when=lambda answer: answer.status == 402 or "credit balance is too low" in answer.message.lower(),
    ),
    _Row(
        error=ContentPolicyViolationError,
        says="refused the content",
        fix="change the prompt, or choose a backend with another content policy",
        codes=frozenset(
            {
                "content_filter",
                "content_policy_violation",
                "responsibleaipolicyviolation",
                "moderation_blocked",
                "data_inspection_failed",
            }
        ),
        status=(*_REFUSED, 451, 500),
    ),
    _Row(
        error=AuthenticationError,
        says="refused the credential",
        fix="check its api_key",
        codes=frozenset({"invalid_api_key", "api_key_invalid"}),
        when=lambda answer: answer.status in (401, 403),
    ),
    _Row(
        error=ContextWindowExceededError,
        says="cannot take a prompt this long",
        fix="shorten the prompt, or choose a model with a bigger context (context_window_fallbacks)",
        codes=frozenset({"context_length_exceeded", "exceed_context_size_error", "tokens_limit_reached"}),
        when=_too_long,
        status=(*_REFUSED, 500),
    ),
    _Row(
        error=ModelNotFoundError,
        says="does not know the model",
        fix="check its model and base_url",
        codes=frozenset({"model_not_found", "unknown_model", "deploymentnotfound", "model_decommissioned"}),
        when=lambda answer: answer.status == 404,
        status=(400, 404, 422),
    ),
    _Row(
        error=ModelNotFoundError,
        says="has no chat completions at this address",
        fix="check its base_url",
        status=(405, 421),
    ),
    _Row(
        error=RateLimitError,
        says="asks for a pause: a rate limit was reached",
        fix="lower its limits in the configuration, or add a backend",
        codes=frozenset({"rate_limit_exceeded", "rate_limit_error", "too_many_requests"}),
        when=lambda answer: answer.status == 429,
        # 500 stands for a 200 with an error inside that says no number.
        status=(429, 500),
    ),
    _Row(
        error=ServerError,
        says="failed",
        fix="try again, or look at the provider's status page",
        # RFC 9110: a status beyond 599 is invalid, and stands for a server's error.
        status=(*_LATER, *range(500, 1000)),
    ),
    _Row(
        error=RedirectedError,
        says="answered with a redirect, which is not followed",
        fix="set its base_url to the final address",
        status=range(300, 400),
    ),
    _Row(
        error=RequestTooLargeError,
        says="does not take a request this large",
        fix="send less, or add a backend that takes more",
        status=(413,),
    ),
    _Row(
        error=InvalidRequestError,
        says="refused the request",
        fix="correct the request; the backend's own words say what is wrong",
    ),
)

# A 4xx for what failed while it was computed (text-generation-inference) or was cancelled there (Google).
_BROKEN_OFF = frozenset({424, 499})
# The call was turned away before anything was computed.
_TURNED_AWAY = frozenset({503, 529})


def failure(
    status: int,
    headers: Mapping[str, str],
    body: bytes,
    *,
    backend: str,
    now: float,
    secrets: Iterable[str] = (),
) -> BackendError:
    """The error that an HTTP answer of status 300 or more means.

    Args:
        status: the HTTP status.
        headers: with lower-case names.
        body: as received; any bytes.
        backend: the backend's name.
        now: wall-clock seconds since the epoch.
        secrets: what the error's text must not repeat, if the body does.
    """
    text = body.decode("utf-8-sig", "replace")
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        document = _TAGS.sub(" ", text)
    return _classify(status, headers, document, backend=backend, now=now, secrets=secrets, inside_200=False)


def failure_inside_200(
    document: Any, *, backend: str, now: float, secrets: Iterable[str] = ()
) -> BackendError:
    """The error that a JSON document reports although the HTTP status was 200.

    Its own numeric code counts as the status; without one it is a server error.
    """
    error = document.get("error") if isinstance(document, dict) else document
    layer = error if isinstance(error, dict) else document
    code = layer.get("code") if isinstance(layer, dict) else None
    if isinstance(code, str) and code.isascii() and code.isdecimal() and len(code) == 3:
        code = int(code)
    status = code if isinstance(code, int) and code in _ANY else 500
    return _classify(status, {}, document, backend=backend, now=now, secrets=secrets, inside_200=True)


def _classify(
    status: int,
    headers: Mapping[str, str],
    document: Any,
    *,
    backend: str,
    now: float,
    secrets: Iterable[str],
    inside_200: bool,
) -> BackendError:
    codes, message = _read(document)
    message = message[:_LONGEST_MESSAGE]
    answer = _Answer(status=status, codes=codes, message=message, headers=headers, now=now)
    row = next((row for row in _ROWS if row.matches(answer)), _ROWS[-1])
    delay = None
    if status in (*_LATER, 429) or status >= 500:
        delay = retry_after(headers, now)
        if delay is None:
            delay = retry_after_in_text(message)
    where = "in an answer of HTTP 200" if inside_200 else f"HTTP {status}"
    text = f"backend {backend!r} {row.says} ({where})"
    if delay is not None and row.error.retry_here:
        text += f"; it can be tried again in {delay:g} s"
    quoted = excerpt(message, secrets)
    if quoted:
        text += f'; it said: "{quoted}"'
    return row.error(
        f"{text}. Fix: {row.fix}.",
        backend=backend,
        status=200 if inside_200 else status,
        retry_after=delay,
        maybe_executed=inside_200 or status in _BROKEN_OFF or (status >= 500 and status not in _TURNED_AWAY),
    )


def _read(document: Any) -> tuple[frozenset[str], str]:
    """The codes of an error body, in lower case, and its message; for any JSON value or text."""
    if isinstance(document, list) and document:
        document = document[0]
    if not isinstance(document, dict):
        return frozenset(), document if isinstance(document, str) else ""
    error = document.get("error")
    inside = error if isinstance(error, dict) else {}
    details = inside.get("details")
    layers = (inside, document, inside.get("innererror"), *(details if isinstance(details, list) else ()))
    codes = frozenset(
        value.lower()
        for layer in layers
        if isinstance(layer, dict)
        for key in ("code", "type", "status", "reason")
        if isinstance(value := layer.get(key), str)
    )
    texts = (error if isinstance(error, str) else None, *(_first_text(layer) for layer in (inside, document)))
    return codes, next((text for text in texts if text), "")


def _first_text(layer: Mapping[str, Any]) -> str:
    value = layer.get("message") or layer.get("detail") or layer.get("error_description") or ""
    return value if isinstance(value, str) else json.dumps(value)
