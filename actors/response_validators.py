"""Validators of answers: each says of a whole answer whether it will do, and why not.

A validator is any callable of a BackendResponse. It refuses by returning False or the reason as a str, or by raising
ValueError or AssertionError; it accepts by returning True or None. Those here have nothing against an answer that
consists of tool calls alone: it has no text to judge.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

from attrs import field, frozen

from showcaller.actors.canonical import canonical_json
from showcaller.actors.errors import ConfigurationError
from showcaller.actors.json_text import parse_json
from showcaller.actors.transforms import refuse_coroutine
from showcaller.actors.validators import refuse

if TYPE_CHECKING:
    from showcaller.actors.models import BackendResponse

Validator: TypeAlias = "Callable[[BackendResponse], bool | str | None]"
"""What may be given as a validator."""


def as_validators(value: Sequence[Validator] | None) -> tuple[Validator, ...]:
    """The validators of a request.

    Raises:
        ConfigurationError: one of them is none.
    """
    if value is None:
        return ()
    if not isinstance(value, (list, tuple)):
        raise refuse("ChatRequest", "validators", value, "use a list such as [non_empty, my_function]")
    for place, one in enumerate(value):
        name = f"validators[{place}]"
        made_by = any(one is factory for factory in (finish_reason, matches, json_schema))
        if not callable(one) or isinstance(one, type) or made_by:
            fix = 'use a function of a BackendResponse, or one of showcaller.validators, such as matches("^Yes")'
            raise refuse("ChatRequest", name, one, fix)
        refuse_coroutine("ChatRequest", name, one)
    return tuple(value)


def _is_only_calls(response: BackendResponse) -> bool:
    return not response.content and bool(response.tool_calls)


def non_empty(response: BackendResponse) -> str | None:
    """Refuses an answer whose text is empty or nothing but white space."""
    return None if response.content.strip() or _is_only_calls(response) else "it is empty"


def is_json(response: BackendResponse) -> str | None:
    """Refuses an answer whose text is not JSON and nothing else; put EXTRACT_JSON before it if prose may be there."""
    if _is_only_calls(response):
        return None
    try:
        parse_json(response.content)
    except ValueError as error:
        return f"it is no JSON: {error}"
    return None


@frozen(repr=False)
class FinishReason:
    """See `finish_reason`; its repr, like that of the others, is the call that makes it again."""

    reasons: tuple[str, ...]

    def __repr__(self) -> str:
        return f"finish_reason({', '.join(map(repr, self.reasons))})"

    def __call__(self, response: BackendResponse) -> str | None:
        """Why it is refused, or None."""
        if response.finish_reason in self.reasons:
            return None
        return f"its finish_reason is {response.finish_reason!r}, not one of {', '.join(self.reasons)}"


def finish_reason(*reasons: str) -> FinishReason:
    """Accepts only answers that ended for one of these reasons, as the backend names them: "stop", "tool_calls", ...

    Raises:
        ConfigurationError: none is given, or one is no str.
    """
    if not reasons or not all(isinstance(reason, str) for reason in reasons):
        raise refuse("finish_reason", "reasons", reasons, 'give at least one, such as finish_reason("stop")')
    return FinishReason(reasons)


@frozen(repr=False)
class Matches:
    """See `matches`."""

    pattern: str
    flags: int
    _compiled: re.Pattern[str] = field(eq=False)

    def __repr__(self) -> str:
        # Not the repr of what was compiled, which is cut after 200 characters.
        plain = self.flags == re.UNICODE
        return (
            f"matches({self.pattern!r})" if plain else f"matches(re.compile({self.pattern!r}, {self.flags}))"
        )

    def __call__(self, response: BackendResponse) -> str | None:
        """Why it is refused, or None."""
        if _is_only_calls(response) or self._compiled.search(response.content):
            return None
        return f"it does not match {self.pattern!r}"


def matches(pattern: str | re.Pattern[str]) -> Matches:
    r"""Accepts only answers in whose text the regular expression is found; \A and \Z around it mean all of it.

    Raises:
        ConfigurationError: it is no regular expression.
    """
    try:
        compiled = re.compile(pattern)
    except (re.error, TypeError) as error:
        raise refuse("matches", "pattern", pattern, f"use a regular expression ({error})") from None
    if not isinstance(compiled.pattern, str):
        raise refuse("matches", "pattern", pattern, "use a str, not bytes")
    return Matches(compiled.pattern, compiled.flags, compiled)


@frozen(repr=False)
class JsonSchema:
    """See `json_schema`."""

    schema: bytes
    _checker: Any = field(eq=False)

    def __repr__(self) -> str:
        return f"json_schema({json.loads(self.schema)!r})"

    def __call__(self, response: BackendResponse) -> str | None:
        """Why it is refused, or None."""
        from jsonschema.exceptions import best_match

        if _is_only_calls(response):
            return None
        try:
            value = parse_json(response.content)
        except ValueError as error:
            return f"it is no JSON: {error}"
        found = best_match(self._checker.iter_errors(value))
        if found is None:
            return None
        # What the schema asks for, and not what the answer says: this goes into logs.
        rule = json.dumps({found.validator: found.validator_value}, ensure_ascii=False, default=str)
        return f"{found.json_path} is against the schema's {rule}"


def json_schema(schema: Mapping[str, Any]) -> JsonSchema:
    """Accepts only answers whose text is JSON that is valid by a JSON Schema, of the draft that its `$schema` names.

    A `$ref` to another document is never fetched.

    Raises:
        ConfigurationError: it is no schema, or jsonschema is not installed.
    """
    try:
        from jsonschema.exceptions import SchemaError
        from jsonschema.validators import Draft202012Validator, validator_for
        from jsonschema_specifications import REGISTRY
    except ImportError:
        raise ConfigurationError(
            "json_schema needs the package jsonschema; install it with: pip install 'showcaller[jsonschema]'"
        ) from None
    try:
        if not isinstance(schema, Mapping):
            raise TypeError("it is no mapping")
        canonical = canonical_json(schema)
        plain = json.loads(canonical)
        checker = validator_for(plain, default=Draft202012Validator)
        checker.check_schema(plain)
    except SchemaError as error:
        raise refuse("json_schema", "schema", schema, f"{error.json_path}: {error.message}") from None
    except (TypeError, ValueError, RecursionError) as error:
        raise refuse("json_schema", "schema", schema, f"use a JSON Schema as a mapping ({error})") from None
    return JsonSchema(canonical, checker(plain, registry=REGISTRY))
