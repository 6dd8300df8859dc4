"""Validators: what each has against an answer, and what may be given as one."""

from __future__ import annotations

import builtins
import re
import socket
from typing import Any

import pytest

from showcaller.actors.errors import ConfigurationError
from showcaller.actors.models import BackendResponse, ChatRequest
from showcaller.actors.response_validators import finish_reason, is_json, json_schema, matches, non_empty

PRICE = {
    "type": "object",
    "properties": {"price": {"type": "number", "minimum": 0}},
    "required": ["price"],
}


def said(content: str = "hi", *, calls: bool = False, reason: str | None = "stop") -> BackendResponse:
    message: dict[str, Any] = {"role": "assistant", "content": content}
    if calls:
        message["tool_calls"] = [
            {"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
        ]
    return BackendResponse(
        content=content, message=message, finish_reason=reason, backend="a", model="m", request_id="r"
    )


@pytest.mark.parametrize(
    ("validator", "good", "bad", "reason"),
    [
        (non_empty, "x", " \n", "it is empty"),
        (is_json, '{"a": [1]}', '{"a": [1}', "it is no JSON: Expecting"),
        (is_json, " true ", "NaN", "it is no JSON: NaN"),
        (matches("^Yes"), "Yes, so", "No. Yes", r"it does not match '\^Yes'"),
        (matches(re.compile("yes", re.IGNORECASE)), "oh YES", "no", "it does not match 'yes'"),
        (matches(r"\A\d+\Z"), "12", "12 ", "it does not match"),
        (
            json_schema(PRICE),
            '{"price": 1.5}',
            '{"price": "1"}',
            r'^\$.price is against the schema.s {"type": "number"}$',
        ),
        (json_schema(PRICE), '{"price": 0}', "{}", r'^\$ is against the schema.s {"required": \["price"\]}$'),
        (json_schema(PRICE), '{"price": 0}', "no", "it is no JSON"),
    ],
)
def test_a_validator_says_why(validator: Any, good: str, bad: str, reason: str) -> None:
    """None for what will do; and an answer of tool calls alone has no text to judge."""
    assert validator(said(good)) is None
    assert re.search(reason, validator(said(bad)))
    assert validator(said("", calls=True)) is None
    assert validator(said("")) is not None


def test_an_answer_has_to_end_for_the_right_reason() -> None:
    """What was cut off by max_tokens is no whole answer."""
    validator = finish_reason("stop", "tool_calls")
    assert validator(said(reason="tool_calls")) is None
    assert validator(said(reason="length")) == "its finish_reason is 'length', not one of stop, tool_calls"
    assert validator(said(reason=None)) is not None


def test_a_refusal_by_schema_quotes_the_schema_and_not_the_answer() -> None:
    """Reasons go into logs."""
    reason = json_schema(PRICE)(said('{"price": "sesame"}'))
    assert reason is not None
    assert "sesame" not in reason


def test_equal_validators_are_equal() -> None:
    """So that identical requests can share a call."""
    assert matches("a") == matches(re.compile("a")) != matches(re.compile("a", re.IGNORECASE))
    assert json_schema({"type": "object", "title": "x"}) == json_schema({"title": "x", "type": "object"})
    assert json_schema({"type": "object"}) != json_schema({"type": "array"})
    assert finish_reason("stop") == finish_reason("stop") != finish_reason("length")
    assert len({matches("a"), matches("a"), json_schema(PRICE), json_schema(PRICE)}) == 2


def test_a_schema_keeps_what_it_was_built_from() -> None:
    """Changing the mapping later changes nothing."""
    schema: dict[str, Any] = {"type": "object"}
    validator = json_schema(schema)
    schema["type"] = "array"
    assert validator(said("{}")) is None


def test_the_draft_is_the_one_that_the_schema_names() -> None:
    """In draft 4 `exclusiveMinimum` is a flag; in the newest, a number."""
    old = {"$schema": "http://json-schema.org/draft-04/schema#", "minimum": 1, "exclusiveMinimum": True}
    assert json_schema(old)(said("1")) is not None
    with pytest.raises(ConfigurationError, match="exclusiveMinimum"):
        json_schema({"minimum": 1, "exclusiveMinimum": True})


def test_no_document_is_fetched() -> None:
    """A `$ref` to elsewhere is the caller's mistake, and not a call into the network."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.0)
        validator = json_schema({"$ref": f"http://127.0.0.1:{server.getsockname()[1]}/schema.json"})
        with pytest.raises(Exception, match="Unresolvable"):
            validator(said("{}"))
        with pytest.raises(BlockingIOError):
            server.accept()


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: matches("("), "matches.pattern"),
        (lambda: matches(7), "matches.pattern"),  # type: ignore[arg-type]
        (lambda: matches(re.compile(b"x")), "not bytes"),  # type: ignore[arg-type]
        (lambda: finish_reason(), "at least one"),
        (lambda: finish_reason(None), "at least one"),  # type: ignore[arg-type]
        (lambda: json_schema({"type": "objekt"}), r"json_schema.schema.*\$\.type"),
        (lambda: json_schema("{}"), "as a mapping"),  # type: ignore[arg-type]
        (lambda: json_schema({"const": object()}), "as a mapping"),
    ],
)
def test_a_validator_that_cannot_work_is_refused_when_it_is_made(make: Any, words: str) -> None:
    """With the fix."""
    with pytest.raises(ConfigurationError, match=words):
        make()


def test_without_the_package_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """When the validator is made, not when an answer has come."""
    real = builtins.__import__

    def none(name: str, *args: Any, **options: Any) -> Any:
        if name.startswith("jsonschema"):
            raise ImportError(name)
        return real(name, *args, **options)

    monkeypatch.setattr(builtins, "__import__", none)
    with pytest.raises(ConfigurationError, match=r"pip install 'showcaller\[jsonschema\]'"):
        json_schema({})


async def later(response: BackendResponse) -> bool:
    return bool(response)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (non_empty, "use a list"),
        (["non_empty"], r"validators\[0\] = 'non_empty'"),
        ([non_empty, matches], r"validators\[1\].*such as matches\("),
        ([bool], r"validators\[0\]"),
        ([later], "not awaited"),
    ],
)
def test_what_is_no_validator_is_refused_when_the_request_is_built(given: Any, words: str) -> None:
    """With its place and the fix."""
    with pytest.raises(ConfigurationError, match=words):
        ChatRequest("x", validators=given)


def test_a_request_keeps_its_validators() -> None:
    """As they were given; none is none."""
    assert ChatRequest("x", validators=[non_empty, is_json]).validators == (non_empty, is_json)
    assert ChatRequest("x", validators=None).validators == ()  # type: ignore[arg-type]
