"""What callers may pass as a prompt, their options, and the request that these become."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias, TypedDict

from attrs import evolve

from showcaller.actors.enums import RequestPriority
from showcaller.actors.models import ChatRequest, RequestContext
from showcaller.actors.response_validators import Validator
from showcaller.actors.transforms import Transform

Prompt: TypeAlias = str | Sequence[Mapping[str, Any]] | ChatRequest
"""A text, OpenAI-style messages, or a whole request."""


class Options(TypedDict, total=False):
    """What may be given beside a prompt; each is a field of ChatRequest."""

    model: str | None
    timeout: float | None
    tools: Sequence[Mapping[str, Any]] | None
    response_format: Mapping[str, Any] | None
    temperature: float | None
    max_tokens: int | None
    seed: int | None
    extra_body: Mapping[str, Any] | None
    context: RequestContext | None
    priority: RequestPriority | str
    coalesce: bool | None
    idempotent: bool | None
    transforms: Sequence[Transform] | None
    validators: Sequence[Validator] | None


def as_request(prompt: Prompt, options: Options) -> ChatRequest:
    """The request; options given beside a ChatRequest replace its own.

    Raises:
        ConfigurationError: something is wrong; the text names the field, the value and the fix.
        TypeError: there is no such option.
    """
    given: dict[str, Any] = dict(options)
    if isinstance(prompt, ChatRequest):
        return evolve(prompt, **given) if given else prompt
    return ChatRequest(prompt, **given)
