"""What a chat request may be made of: each part is checked, then kept as a frozen snapshot."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from showcaller.actors.canonical import FrozenDict, freeze
from showcaller.actors.validators import refuse

_RESERVED = FrozenDict(
    messages="pass it as the prompt, not in extra_body",
    model="pass model= instead",
    stream="call stream() or ask(); leave it out of extra_body",
    tools="pass tools= instead",
    response_format="pass response_format= instead",
    temperature="pass temperature= instead",
    max_tokens="pass max_tokens= instead",
    seed="pass seed= instead",
)


def _snapshot(name: str, value: object, fix: str) -> Any:
    """The frozen value; what cannot be frozen is refused under the name of its field."""
    try:
        return freeze(value)
    except (TypeError, ValueError) as error:
        raise refuse("ChatRequest", name, value, f"{fix} ({error})") from None


def as_messages(value: str | Sequence[Mapping[str, Any]]) -> tuple[FrozenDict, ...]:
    """A prompt as one user message, or the messages as given; frozen."""
    if isinstance(value, str):
        if not value.strip():
            raise refuse("ChatRequest", "messages", value, "the prompt is empty; say what to ask")
        return (FrozenDict(role="user", content=value),)
    fix = 'use a str, or a list such as [{"role": "user", "content": "Hello"}]'
    if not isinstance(value, (list, tuple)) or not value:
        raise refuse("ChatRequest", "messages", value, fix)
    for index, message in enumerate(value):
        if not isinstance(message, Mapping):
            raise refuse("ChatRequest", f"messages[{index}]", message, fix)
        role = message.get("role")
        if not isinstance(role, str) or not role:
            raise refuse(
                "ChatRequest", f"messages[{index}].role", role, "use system, user, assistant or tool"
            )
    frozen_messages: tuple[FrozenDict, ...] = _snapshot("messages", value, fix)
    return frozen_messages


def as_tools(value: Sequence[Mapping[str, Any]] | None) -> tuple[FrozenDict, ...]:
    """OpenAI-style tool descriptions; frozen."""
    if not value and (value is None or isinstance(value, (list, tuple))):
        return ()
    fix = (
        'use a list of OpenAI tools such as [{"type": "function", "function": {"name": …, "parameters": …}}]'
    )
    if not isinstance(value, (list, tuple)):
        raise refuse("ChatRequest", "tools", value, fix)
    for index, tool in enumerate(value):
        if callable(tool):
            why = "a Python function is not accepted yet; describe it as a dict and call it yourself: "
            raise refuse("ChatRequest", f"tools[{index}]", tool, why + fix)
        if not isinstance(tool, Mapping) or not isinstance(tool.get("type"), str):
            raise refuse("ChatRequest", f"tools[{index}]", tool, fix)
    frozen_tools: tuple[FrozenDict, ...] = _snapshot("tools", value, fix)
    return frozen_tools


def as_response_format(value: Mapping[str, Any] | None) -> FrozenDict | None:
    """An OpenAI-style response format; frozen."""
    if value is None:
        return None
    fix = 'use a mapping such as {"type": "json_object"}'
    given: object = value
    if not isinstance(given, Mapping) or not isinstance(given.get("type"), str):
        raise refuse("ChatRequest", "response_format", value, fix)
    return FrozenDict(_snapshot("response_format", value, fix))


def as_extra_body(value: Mapping[str, Any] | None) -> FrozenDict:
    """Further options, none of which has a keyword of its own; frozen."""
    if value is None:
        return FrozenDict()
    fix = "use a mapping of the backend's own options to JSON values"
    if not isinstance(value, Mapping):
        raise refuse("ChatRequest", "extra_body", value, fix)
    for name in value:
        if name in _RESERVED:
            raise refuse("ChatRequest", f"extra_body.{name}", value[name], _RESERVED[name])
    return FrozenDict(_snapshot("extra_body", value, fix))
