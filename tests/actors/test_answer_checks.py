"""Checks of an answer: transforms in order, then validators, and whose fault it is when one raises."""

from __future__ import annotations

from typing import Any

import pytest

from showcaller.actors.answer_checks import (
    LONGEST_REASON,
    check,
    fingerprint,
    is_checked,
    parsed_of,
    validate_response_content,
)
from showcaller.actors.errors import (
    BackendUnreachableError,
    ConfigurationError,
    ResponseValidationError,
)
from showcaller.actors.models import BackendResponse, ChatRequest
from showcaller.actors.response_validators import finish_reason, is_json, json_schema, matches, non_empty
from showcaller.actors.transforms import ResponseTransformerBase, StripWhitespaceTransformer

CALLS = [{"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}]


def said(content: str, **message: Any) -> BackendResponse:
    return BackendResponse(
        content=content,
        message={"role": "assistant", "content": content, **message},
        backend="a",
        model="m",
        request_id="r",
    )


def checked(content: str, **options: Any) -> BackendResponse:
    return check(ChatRequest("x", **options), said(content))


def raising(error: BaseException) -> Any:
    def raises(_: object) -> Any:
        raise error

    return raises


# --- transforms ---


def test_transforms_are_applied_in_order_and_the_message_stays() -> None:
    """`content` is what is left; `message` is what was said."""
    response = checked(
        "  Hi **you**\n", transforms=["strip_whitespace", "markdown_to_text", lambda t: f"<{t}>"]
    )
    assert response.content == "<Hi you>"
    assert response.message["content"] == "  Hi **you**\n"
    assert str(response) == "<Hi you>"


def test_validators_see_what_the_transforms_left() -> None:
    """Its content and the parsed value."""
    seen = []
    checked('So: {"a": 1}', transforms=["extract_json"], validators=[is_json, seen.append])
    assert [(one.content, one.parsed) for one in seen] == [('{"a": 1}', {"a": 1})]


def test_an_answer_of_tool_calls_alone_is_not_transformed() -> None:
    """There is no text that would have to hold JSON; validators may look at the calls."""
    request = ChatRequest("x", transforms=["extract_json"], validators=[is_json, non_empty])
    assert check(request, said("", tool_calls=CALLS)).content == ""
    with pytest.raises(ResponseValidationError):
        check(request, said("Wait.", tool_calls=CALLS))


@pytest.mark.parametrize(
    ("options", "content", "parsed"),
    [
        ({}, '{"a": 1}', None),
        ({"response_format": {"type": "json_object"}}, '{"a": [1]}', {"a": [1]}),
        ({"response_format": {"type": "json_schema", "json_schema": {}}}, "7", 7),
        ({"response_format": {"type": "text"}}, "7", None),
        ({"response_format": {"type": "json_object"}}, "no", None),
        ({"transforms": ["extract_json"]}, 'It is {"a": 1}', {"a": 1}),
        ({"transforms": ["extract_json", str.upper]}, '{"a": true}', None),
        ({"transforms": ["extract_json", lambda t: t.replace("1", "2")]}, '{"a": 1}', {"a": 2}),
    ],
)
def test_parsed_is_the_value_of_the_content_where_json_was_asked_for(
    options: dict[str, Any], content: str, parsed: object
) -> None:
    """None where it was not, and where it is none."""
    assert checked(content, **options).parsed == parsed


# --- refusals ---


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"validators": [lambda r: False]}, r"a: its answer was refused by .*<lambda>; `.content`"),
        ({"validators": [lambda r: "too rude"]}, "refused by .*: too rude; "),
        ({"validators": [raising(ValueError("no"))]}, "refused by .*: no; "),
        ({"validators": [raising(AssertionError())]}, "refused by .*raises; "),
        (
            {"validators": [lambda r: None, lambda r: True, matches("z")]},
            "refused by Matches: it does not match",
        ),
        ({"transforms": ["extract_json"]}, "refused by ExtractJsonTransformer: there is no whole"),
        ({"transforms": [raising(ValueError("no"))]}, "refused by .*raises: no; "),
        ({"transforms": [raising(AssertionError("no"))]}, "refused by .*raises: no; "),
    ],
)
def test_a_refused_answer_is_a_failed_attempt(options: dict[str, Any], words: str) -> None:
    """It may be tried here and elsewhere, it was executed, and the backend is not blamed."""
    with pytest.raises(ResponseValidationError, match=words) as caught:
        checked("hi", **options)
    error = caught.value
    assert (error.retry_here, error.retry_elsewhere, error.maybe_executed) == (True, True, True)
    assert (error.blames_backend, error.backend, error.content) == (False, "a", "hi")
    assert error.copy().content == "hi"


def test_a_reason_is_cut_and_shows_no_secret() -> None:
    """It goes into logs."""
    reason = "Authorization: Bearer sk-abcdefghijklmnopqrstuvwxyz0123456789 " + "x" * 1000
    with pytest.raises(ResponseValidationError) as caught:
        checked("hi", validators=[lambda r: reason])
    assert "abcdefghijklmnop" not in str(caught.value)
    assert len(str(caught.value)) < LONGEST_REASON + 200


# --- mistakes ---


class Nameless(ResponseTransformerBase):
    def transform(self, text: str) -> str:
        return text[99]

    def get_name(self) -> str:
        raise RuntimeError("no name")


@pytest.mark.parametrize("what", ["transforms", "validators"])
@pytest.mark.parametrize(
    "error",
    [ZeroDivisionError("secret"), BackendUnreachableError("secret"), SystemExit(3), KeyboardInterrupt()],
)
def test_what_raises_by_mistake_is_the_callers_failure(what: str, error: BaseException) -> None:
    """Also when it raises one of our own errors; the text has the kind alone, the cause is for the log."""
    with pytest.raises(
        ConfigurationError, match=f"the {what[:-1]} .*raises raised {type(error).__name__}"
    ) as caught:
        checked("hi", **{what: [raising(error)]})
    assert caught.value.__cause__ is error
    assert "secret" not in str(caught.value)
    assert (caught.value.retry_here, caught.value.retry_elsewhere, caught.value.maybe_executed) == (
        False,
        False,
        True,
    )


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"transforms": [lambda t: None]}, "transform .* type NoneType; let it return a str"),
        ({"transforms": [str.encode]}, "transform str.encode returned a value of type bytes"),
        ({"validators": [lambda r: 1]}, "validator .* type int; let it return True, False, None"),
        ({"validators": [lambda r: {}]}, "type dict"),
        ({"transforms": [Nameless()]}, "the transform Nameless raised IndexError"),
    ],
)
def test_what_returns_nonsense_is_the_callers_failure(options: dict[str, Any], words: str) -> None:
    """Above all what is truthy by accident."""
    with pytest.raises(ConfigurationError, match=words):
        checked("hi", **options)


# --- sharing ---


def test_requests_are_alike_only_with_the_same_checks() -> None:
    """Values by what they say, functions and one's own objects by identity."""

    def mine(text: str) -> str:
        return text

    same = [
        {"transforms": ["strip_whitespace"]},
        {"transforms": [StripWhitespaceTransformer()]},
    ]
    pattern = "a" * 300
    others = [
        {},
        {"transforms": ["strip_whitespace", "extract_code"]},
        {"transforms": ["extract_code", "strip_whitespace"]},
        {"transforms": [mine]},
        {"transforms": [lambda t: t]},
        {"transforms": [Nameless()]},
        {"transforms": [(kept := Nameless())]},
        {"validators": [mine]},
        {"validators": [non_empty]},
        {"validators": [matches(pattern + "b")]},
        {"validators": [matches(pattern + "c")]},
        {"validators": [json_schema({"type": "object"})]},
        {"validators": [finish_reason("stop")]},
    ]
    # Kept, because an identity is only one's own as long as one lives.
    requests = [ChatRequest("x", **options) for options in same + others]
    marks = [fingerprint(request) for request in requests]
    assert marks[0] == marks[1]
    assert len(set(marks)) == len(marks) - 1
    for options in ({"transforms": [mine]}, {"transforms": [kept]}, {"validators": [matches(pattern + "b")]}):
        assert fingerprint(ChatRequest("x", **options)) in marks


def test_a_request_without_checks_has_none() -> None:
    """And its answers go by untouched."""
    assert not is_checked(ChatRequest("x"))
    assert not is_checked(ChatRequest("x", transforms=["none"]))
    assert is_checked(ChatRequest("x", response_format={"type": "json_object"}))
    assert parsed_of(ChatRequest("x"), "{}") is None


# --- by hand ---


def test_a_text_can_be_judged_without_a_call() -> None:
    """By the same validators; without any it must not be empty."""
    assert validate_response_content("hi")
    assert not validate_response_content(" ")
    assert validate_response_content("{}", is_json, non_empty)
    assert not validate_response_content("{", non_empty, is_json)
    with pytest.raises(ConfigurationError, match="raised ZeroDivisionError; to refuse"):
        validate_response_content("x", raising(ZeroDivisionError()))
