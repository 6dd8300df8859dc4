"""Transforms of an answer's text: those that have a name, and the caller's own.

Each is a function of the text alone. One that finds the text to be no answer raises ValueError, and the attempt
has failed.
"""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeAlias

from attrs import frozen

from showcaller.actors.enums import ResponseTransform
from showcaller.actors.json_text import find_json, parse_json
from showcaller.actors.markdown_text import find_code, to_text
from showcaller.actors.validators import member, refuse


class ResponseTransformerBase(ABC):
    """Changes the text of an answer. A subclass is called on the threads of several answers at once."""

    @abstractmethod
    def transform(self, text: str) -> str:
        """The text as it is wanted.

        Raises:
            ValueError: the text is no answer; the attempt has failed, and another may be made.
        """

    def get_name(self) -> str:
        """What it is called in errors."""
        return type(self).__name__


@frozen
class StripWhitespaceTransformer(ResponseTransformerBase):
    """Takes away the white space around the text."""

    def transform(self, text: str) -> str:
        """The text without white space around it."""
        return text.strip()


@frozen
class ExtractCodeTransformer(ResponseTransformerBase):
    """Takes the first fenced code block out of Markdown; a text that has none is kept as it is."""

    def transform(self, text: str) -> str:
        """The code, without the fence and the line break at its end."""
        blocks = find_code(text)
        return blocks[0].code if blocks else text


@frozen
class ExtractJsonTransformer(ResponseTransformerBase):
    """Takes the JSON out of what a model has put around it.

    That is the whole text when it is JSON; else the first fenced block, of those marked `json` or with nothing,
    that is an object or array; else the first object or array in the text. Nothing is repaired.
    """

    def transform(self, text: str) -> str:
        """The JSON, as it is written there.

        Raises:
            ValueError: there is none.
        """
        if _is_json(text):
            return text.strip()
        blocks = [block for block in find_code(text) if block.language in ("json", "")]
        for block in sorted(blocks, key=lambda one: one.language != "json"):
            code = block.code.strip()
            if code.startswith(("{", "[")) and _is_json(code):
                return code
        found = find_json(text)
        if found is None:
            raise ValueError("there is no whole JSON object or array in it")
        return found


def _is_json(text: str) -> bool:
    try:
        parse_json(text)
    except ValueError:
        return False
    return True


@frozen
class MarkdownToTextTransformer(ResponseTransformerBase):
    """Takes the marks of Markdown away; links keep their text, lists their dashes, code stays as it is."""

    def transform(self, text: str) -> str:
        """The plain text."""
        return to_text(text)


@frozen
class FunctionTransformer(ResponseTransformerBase):
    """A function of the caller's own; equal when it is the same function."""

    function: Callable[[str], str]

    def transform(self, text: str) -> str:
        """What the function returns."""
        return self.function(text)

    def get_name(self) -> str:
        """The function's name."""
        return name_of(self.function)


NAMED: Final[Mapping[ResponseTransform, ResponseTransformerBase]] = {
    ResponseTransform.STRIP_WHITESPACE: StripWhitespaceTransformer(),
    ResponseTransform.EXTRACT_CODE: ExtractCodeTransformer(),
    ResponseTransform.EXTRACT_JSON: ExtractJsonTransformer(),
    ResponseTransform.MARKDOWN_TO_TEXT: MarkdownToTextTransformer(),
}

Transform: TypeAlias = ResponseTransform | str | ResponseTransformerBase | Callable[[str], str]
"""What may be given as a transform: a member of ResponseTransform or its value, a transformer, or a function."""


def name_of(function: Callable[..., object]) -> str:
    """What a function is called in an error: its name, or that of its class."""
    name = getattr(function, "__qualname__", None)
    return name if isinstance(name, str) else type(function).__name__


def refuse_coroutine(owner: str, name: str, function: object) -> None:
    """Refuse what would return a coroutine, which nobody would await.

    Raises:
        ConfigurationError: it is an `async def`.
    """
    if inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(
        getattr(function, "__call__", None)  # noqa: B004 - not whether it is callable, but what it is then
    ):
        raise refuse(owner, name, function, "use a plain function; an `async def` is not awaited")


def as_transforms(value: Sequence[Transform] | None) -> tuple[ResponseTransformerBase, ...]:
    """The transformers that a request's `transforms` stand for; NONE stands for nothing.

    Raises:
        ConfigurationError: one of them is none.
    """
    if value is None:
        return ()
    fix = 'use a list such as ["strip_whitespace", my_function]'
    if not isinstance(value, (list, tuple)):
        raise refuse("ChatRequest", "transforms", value, fix)
    made = [_as_transformer(one, f"transforms[{place}]") for place, one in enumerate(value)]
    return tuple(one for one in made if one is not None)


def _as_transformer(value: Any, name: str) -> ResponseTransformerBase | None:
    if isinstance(value, ResponseTransformerBase):
        return value
    if isinstance(value, (ResponseTransform, str)):
        return NAMED.get(member(ResponseTransform, value, "ChatRequest", name))
    if not callable(value) or isinstance(value, type):
        raise refuse(
            "ChatRequest",
            name,
            value,
            "use a ResponseTransform, a transformer (not its class), or a function",
        )
    refuse_coroutine("ChatRequest", name, value)
    return FunctionTransformer(value)
