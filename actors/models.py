"""What callers send and get back: frozen values, checked and snapshotted when they are built.

A request is fixed once it exists: changing the lists and dicts it was built from changes nothing.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, ClassVar, TypeAlias

from attrs import Factory, field, frozen

from showcaller.actors.canonical import FrozenDict, canonical_json, find_unjsonable, freeze, frozen_mapping
from showcaller.actors.enums import RequestPriority, Source
from showcaller.actors.errors import ShowcallerError
from showcaller.actors.prompts import as_extra_body, as_messages, as_response_format, as_tools
from showcaller.actors.response_validators import Validator, as_validators
from showcaller.actors.transforms import ResponseTransformerBase, as_transforms
from showcaller.actors.validators import (
    boolean,
    json_mapping,
    kind,
    member,
    number,
    refuse,
    text,
    token,
    whole,
)

BYTES_PER_TOKEN = 4
"""The rule of thumb behind every estimate made before a backend has counted."""


def new_request_id() -> str:
    """A fresh id: 32 hexadecimal digits."""
    return os.urandom(16).hex()


def _as_priority(value: RequestPriority | str) -> RequestPriority:
    if type(value) is RequestPriority:
        return value
    return member(RequestPriority, value, "ChatRequest", "priority")


def _as_context_priority(value: RequestPriority | str) -> RequestPriority:
    return member(RequestPriority, value, "RequestContext", "priority")


@frozen(kw_only=True)
class RequestContext:
    """Who asks, and how the request is found again.

    Attributes:
        request_id: unique; visible ASCII, at most 200 characters.
        correlation_id: ties the requests of one task together.
        priority: used when the request itself names none.
        created_at: wall time in seconds since the epoch.
        metadata: JSON values that travel with the request into records.
        tenant: requests of different tenants never share an answer.
    """

    request_id: str = field(
        factory=new_request_id, validator=token("use 1 to 200 visible ASCII characters, or leave it out")
    )
    correlation_id: str | None = field(
        default=None, validator=token("use 1 to 200 visible ASCII characters, or None", none=True)
    )
    priority: RequestPriority = field(default=RequestPriority.NORMAL, converter=_as_context_priority)
    created_at: float = field(
        factory=time.time, validator=number("use seconds since the epoch, 0 or more", least=0)
    )
    metadata: Mapping[str, Any] = field(
        factory=FrozenDict,
        converter=frozen_mapping,
        validator=json_mapping("use a mapping of str to JSON values"),
    )
    tenant: str | None = field(
        default=None, validator=token("use 1 to 200 visible ASCII characters", none=True)
    )


_IN_PAYLOAD = ("messages", "tools", "response_format", "temperature", "max_tokens", "seed", "extra_body")


def _context_priority(request: ChatRequest) -> RequestPriority:
    context = request.context
    return context.priority if isinstance(context, RequestContext) else RequestPriority.NORMAL


_SECONDS = "use seconds greater than 0, or leave it out for the configured timeout"


@frozen
class ChatRequest:
    """One chat completion to be asked for.

    Attributes:
        messages: a prompt as a str, or OpenAI-style messages; kept as a frozen snapshot.
        model: a route, a backend or a model; None takes the configured one.
        timeout: the whole deadline in seconds; None takes the configured one.
        tools: OpenAI-style tool descriptions.
        response_format: as the OpenAI API has it.
        temperature: 0 or more.
        max_tokens: the most tokens the answer may have.
        seed: asks the backend for a repeatable answer.
        extra_body: further options of the backend, merged into the request's body.
        context: who asks.
        priority: a RequestPriority or its name; the context's when left out.
        coalesce: may it share one upstream call with identical requests? None: only if `deterministic`.
        idempotent: may it be sent again when it may have been executed? None: as the backend says.
        transforms: what is done to the text of a whole answer, in this order: members of ResponseTransform or their
            values, transformers, and functions of a str. A stream's chunks come as they are.
        validators: what must accept the transformed answer; one that does not makes it a failed attempt. See
            showcaller.validators.
        payload: the canonical JSON of messages and options, without model and stream.

    Raises:
        ConfigurationError: a field is wrong; the text names it, the value and the fix.
    """

    messages: tuple[Mapping[str, Any], ...] = field(converter=as_messages, repr=False)
    model: str | None = field(
        default=None, kw_only=True, validator=text("name a route, a backend or a model", none=True)
    )
    timeout: float | None = field(default=None, kw_only=True, validator=number(_SECONDS, above=0, none=True))
    tools: tuple[Mapping[str, Any], ...] = field(default=(), kw_only=True, converter=as_tools, repr=False)
    response_format: Mapping[str, Any] | None = field(
        default=None, kw_only=True, converter=as_response_format, repr=False
    )
    temperature: float | None = field(
        default=None, kw_only=True, validator=number("use a number, 0 or more", least=0, none=True)
    )
    max_tokens: int | None = field(
        default=None,
        kw_only=True,
        validator=whole("use a whole number of tokens, 1 or more", least=1, none=True),
    )
    seed: int | None = field(default=None, kw_only=True, validator=whole("use a whole number", none=True))
    extra_body: Mapping[str, Any] = field(
        factory=FrozenDict, kw_only=True, converter=as_extra_body, repr=False
    )
    context: RequestContext | None = field(
        default=None, kw_only=True, validator=kind(RequestContext, "use a RequestContext", none=True)
    )
    priority: RequestPriority = field(
        default=Factory(_context_priority, takes_self=True), kw_only=True, converter=_as_priority
    )
    coalesce: bool | None = field(default=None, kw_only=True, validator=boolean(none=True))
    idempotent: bool | None = field(default=None, kw_only=True, validator=boolean(none=True))
    transforms: tuple[ResponseTransformerBase, ...] = field(
        default=(), kw_only=True, converter=as_transforms, repr=False
    )
    validators: tuple[Validator, ...] = field(default=(), kw_only=True, converter=as_validators, repr=False)
    payload: bytes = field(init=False, repr=False, eq=False)

    def __attrs_post_init__(self) -> None:
        body: dict[str, Any] = {"messages": self.messages}
        if self.extra_body:
            body.update(self.extra_body)
        if self.tools:
            body["tools"] = self.tools
        if self.response_format is not None:
            body["response_format"] = self.response_format
        if self.temperature is not None:
            body["temperature"] = self.temperature
        if self.max_tokens is not None:
            body["max_tokens"] = self.max_tokens
        if self.seed is not None:
            body["seed"] = self.seed
        try:
            payload = canonical_json(body)
        except (TypeError, ValueError, RecursionError):
            parts = {name: getattr(self, name) for name in _IN_PAYLOAD}
            path, offender = find_unjsonable(parts) or ("messages", self.messages)
            raise refuse(
                "ChatRequest", path, offender, "use only what JSON can say, in valid Unicode"
            ) from None
        object.__setattr__(self, "payload", payload)

    @property
    def deterministic(self) -> bool:
        """Is the answer meant to be the same each time (temperature 0, or a seed)?"""
        return self.temperature == 0 or self.seed is not None

    @property
    def input_tokens_estimate(self) -> int:
        """Tokens of the prompt by the rule of four bytes a token; at least 1."""
        return max(1, -(-len(self.payload) // BYTES_PER_TOKEN))


@frozen(kw_only=True)
class Usage:
    """Tokens of one answer; `estimated` when the backend did not count them."""

    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    reasoning_tokens: int = 0
    estimated: bool = False

    @property
    def total_tokens(self) -> int:
        """Input and output tokens together."""
        return self.input_tokens + self.output_tokens


def _as_answer(value: Mapping[str, Any]) -> Mapping[str, Any]:
    # What a backend sent is never a reason to fail here: past the depth limit it is kept as it came.
    try:
        frozen_message: Mapping[str, Any] = freeze(value)
    except (TypeError, ValueError):
        return value
    return frozen_message


@frozen(kw_only=True)
class BackendResponse:
    """An answer.

    Attributes:
        content: the text as the request's transforms left it; empty when the answer is only tool calls.
        message: the assistant message as the backend sent it, ready to append to a conversation.
        parsed: the JSON value of the content, when the request's `response_format` or EXTRACT_JSON asked for JSON and
            it is some; else None. Each response has its own.
        finish_reason: as the backend named it: stop, length, tool_calls, ...
        usage: tokens, counted or estimated.
        cost_usd: US dollars, or None when no price is known.
        backend: the backend that answered.
        model: the model that answered, as the backend names it.
        route: the name the request was routed by.
        source: live, cache, coalesced or replay.
        attempts: how many attempts it took.
        latency: seconds from acceptance to this answer.
        request_id: the request's id.
        raw: the decoded body, or None; shared by all who got this answer, so read it only.
    """

    content: str = field(validator=text("use a str; an answer without text has an empty one", empty=True))
    message: Mapping[str, Any] = field(converter=_as_answer, repr=False)
    parsed: Any = field(default=None, repr=False, eq=False)
    finish_reason: str | None = None
    usage: Usage = field(factory=Usage)
    cost_usd: Decimal | None = None
    backend: str
    model: str
    route: str | None = None
    source: Source = Source.LIVE
    attempts: int = 1
    latency: float = 0.0
    request_id: str
    raw: Mapping[str, Any] | None = field(default=None, repr=False, eq=False)

    def __str__(self) -> str:
        return self.content

    @property
    def tool_calls(self) -> tuple[Mapping[str, Any], ...]:
        """The tool calls of the message, in order."""
        return tuple(self.message.get("tool_calls") or ())

    @property
    def latency_ms(self) -> float:
        """The latency in milliseconds."""
        return self.latency * 1000.0

    @property
    def cached(self) -> bool:
        """Did it come from the cache?"""
        return self.source is Source.CACHE

    @property
    def tokens_used(self) -> int:
        """Input and output tokens together."""
        return self.usage.total_tokens


@frozen
class StreamChunk:
    """A piece of a streamed answer: its text, and the delta as the backend sent it."""

    text: str
    delta: Mapping[str, Any] | None = field(default=None, repr=False)


@frozen
class Answered:
    """The outcome of a request that was answered."""

    request_id: str
    response: BackendResponse
    ok: ClassVar[bool] = True

    def unwrap(self) -> BackendResponse:
        """The response."""
        return self.response


@frozen
class Errored:
    """The outcome of a request that failed."""

    request_id: str
    error: ShowcallerError
    ok: ClassVar[bool] = False

    def unwrap(self) -> BackendResponse:
        """Raise a copy of the error, so that several waiters do not share one traceback."""
        raise self.error.copy()


Outcome: TypeAlias = Answered | Errored
