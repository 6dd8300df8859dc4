"""Requests are checked and fixed when they are built; answers and outcomes are plain frozen values."""

from __future__ import annotations

import copy
import json
import pickle
from collections.abc import Callable
from enum import StrEnum
from types import MappingProxyType
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from showcaller.actors.enums import RequestPriority, Source
from showcaller.actors.errors import ConfigurationError, ServerError, ShowcallerError
from showcaller.actors.models import (
    Answered,
    BackendResponse,
    ChatRequest,
    Errored,
    RequestContext,
    Usage,
)

HELLO = [{"role": "user", "content": "Hello"}]
TOOL = {"type": "function", "function": {"name": "search", "parameters": {"type": "object"}}}

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
anything = json_values | st.floats() | st.binary() | st.sets(st.integers()) | st.just(object())


class Colour(StrEnum):
    """A str that is not exactly a str."""

    RED = "red"


def _response(**fields: Any) -> BackendResponse:
    message = {"role": "assistant", "content": "Hi"}
    return BackendResponse(
        **{"content": "Hi", "message": message, "backend": "a", "model": "m", "request_id": "1"} | fields
    )


def test_a_str_is_one_user_message() -> None:
    """The short form and the long form are the same request."""
    assert ChatRequest("Hello") == ChatRequest(HELLO)
    assert ChatRequest("Hello").payload == b'{"messages":[{"content":"Hello","role":"user"}]}'


def test_the_payload_has_the_options_that_are_set_and_no_model() -> None:
    """Model and stream are the transport's to add."""
    request = ChatRequest(
        "Hé",
        model="fast",
        temperature=0,
        max_tokens=5,
        seed=7,
        tools=[TOOL],
        response_format={"type": "json_object"},
        extra_body={"top_p": 0.5},
    )
    assert json.loads(request.payload) == {
        "messages": [{"role": "user", "content": "Hé"}],
        "temperature": 0,
        "max_tokens": 5,
        "seed": 7,
        "tools": [TOOL],
        "response_format": {"type": "json_object"},
        "top_p": 0.5,
    }
    assert "Hé".encode() in request.payload


def test_changing_what_it_was_built_from_changes_nothing() -> None:
    """The request is a snapshot, deep down."""
    messages: list[dict[str, Any]] = [{"role": "user", "content": [{"type": "text", "text": "one"}]}]
    extra = {"stop": ["a"]}
    request = ChatRequest(messages, extra_body=extra)
    before = request.payload
    messages[0]["content"][0]["text"] = "two"
    messages.append({"role": "user", "content": "three"})
    extra["stop"].append("b")
    assert request.payload == before
    assert attrs.evolve(request, seed=1).messages == request.messages
    assert json.loads(attrs.evolve(request).payload)["messages"][0]["content"][0]["text"] == "one"


@pytest.mark.parametrize(
    "change",
    [
        lambda message: message.update(role="x"),
        lambda message: message.pop("role"),
        lambda message: message.clear(),
        lambda message: message.setdefault("x", 1),
        lambda message: message.popitem(),
        lambda message: message.__setitem__("role", "x"),
        lambda message: message.__delitem__("role"),
        lambda message: message.__ior__({"role": "x"}),
    ],
)
def test_a_message_of_a_request_refuses_every_change(change: Callable[[Any], object]) -> None:
    """The snapshot cannot be changed from the other side either."""
    request = ChatRequest("Hello")
    with pytest.raises(TypeError, match="frozen"):
        change(request.messages[0])
    assert request == ChatRequest("Hello")


def test_a_request_can_be_copied_pickled_hashed_and_its_messages_reused() -> None:
    """Frozen values behave like values."""
    request = ChatRequest(HELLO, extra_body={"stop": ["a"]})
    assert pickle.loads(pickle.dumps(request)) == request
    assert copy.deepcopy(request) == request
    assert len({request, copy.copy(request)}) == 1
    assert ChatRequest(list(request.messages)).messages == request.messages
    assert ChatRequest([MappingProxyType(HELLO[0])]).payload == ChatRequest("Hello").payload
    assert json.loads(json.dumps(request.messages)) == HELLO


@given(st.dictionaries(st.text(min_size=1), json_values, max_size=5), st.randoms())
def test_the_order_of_keys_never_changes_the_payload(extra: dict[str, Any], random: Any) -> None:
    """Equal requests have equal bytes, so that they can be found to be equal."""
    extra = {f"x_{name}": value for name, value in extra.items()}
    names = list(extra)
    random.shuffle(names)
    shuffled = {name: extra[name] for name in names}
    try:
        first = ChatRequest("a", extra_body=extra)
    except ConfigurationError:
        with pytest.raises(ConfigurationError):
            ChatRequest("a", extra_body=shuffled)
        return
    assert first.payload == ChatRequest("a", extra_body=shuffled).payload
    assert json.loads(first.payload) == {"messages": [{"role": "user", "content": "a"}], **extra}


options_of_any_kind = st.dictionaries(
    st.sampled_from([one.name for one in attrs.fields(ChatRequest) if one.init and one.name != "messages"]),
    anything,
)
messages_of_any_kind = st.lists(st.dictionaries(st.sampled_from(["role", "content"]), anything))


@given(options_of_any_kind, anything | messages_of_any_kind)
def test_nothing_but_a_configuration_error_comes_of_nonsense(options: dict[str, Any], messages: Any) -> None:
    """A caller's mistake is always told as one, and what is accepted can be sent."""
    try:
        request = ChatRequest(messages, **options)
    except ConfigurationError:
        return
    assert json.loads(request.payload)["messages"]


@pytest.mark.parametrize(
    ("options", "field", "fix"),
    [
        ({"timeout": 0}, "timeout = 0", "seconds greater than 0"),
        ({"timeout": -1}, "timeout = -1", "seconds greater than 0"),
        ({"timeout": True}, "timeout = True", "seconds greater than 0"),
        ({"timeout": float("nan")}, "timeout = nan", "seconds greater than 0"),
        ({"timeout": float("inf")}, "timeout = inf", "seconds greater than 0"),
        ({"timeout": 10**400}, "timeout = 1000", "seconds greater than 0"),
        ({"temperature": -0.1}, "temperature = -0.1", "0 or more"),
        ({"max_tokens": 0}, "max_tokens = 0", "1 or more"),
        ({"max_tokens": 1.5}, "max_tokens = 1.5", "whole number"),
        ({"seed": "1"}, "seed = '1'", "whole number"),
        ({"model": ""}, "model = ''", "name a route"),
        ({"priority": "urgent"}, "priority = 'urgent'", "low, normal, high, critical"),
        ({"coalesce": 1}, "coalesce = 1", "True or False"),
        ({"context": {}}, "context = {}", "RequestContext"),
        ({"tools": [print]}, "tools[0] = <built-in", "describe it as a dict"),
        ({"tools": TOOL}, "tools = {", "list of OpenAI tools"),
        ({"tools": [{"name": "x"}]}, "tools[0] = {", "list of OpenAI tools"),
        ({"response_format": "json"}, "response_format = 'json'", "json_object"),
        ({"extra_body": {"model": "x"}}, "extra_body.model = 'x'", "pass model="),
        ({"extra_body": {"stream": True}}, "extra_body.stream = True", "stream()"),
        ({"extra_body": {"seed": 1}}, "extra_body.seed = 1", "pass seed="),
        ({"extra_body": {"a": [{"b": {1}}]}}, "extra_body.a[0].b = {1}", "JSON"),
        ({"extra_body": {"a": {1: 2}}}, "extra_body = {", "the key 1 is not a str"),
        ({"extra_body": {"a": float("inf")}}, "extra_body.a = inf", "JSON"),
        ({"extra_body": {"a": "\ud800"}}, "extra_body.a = ", "Unicode"),
        ({"extra_body": {"\ud800": 1}}, "extra_body", "Unicode"),
    ],
)
def test_a_wrong_option_is_refused_by_field_value_and_fix(
    options: dict[str, Any], field: str, fix: str
) -> None:
    """The text is enough to repair the call."""
    with pytest.raises(ConfigurationError) as caught:
        ChatRequest("a", **options)
    assert str(caught.value).startswith(f"ChatRequest.{field}")
    assert fix in str(caught.value)


@pytest.mark.parametrize(
    "messages",
    ["", " \n", [], (), None, 7, {"role": "user"}, ["hi"], [{"content": "a"}], [{"role": ""}], [{"role": 3}]],
)
def test_a_prompt_that_is_none_is_refused(messages: Any) -> None:
    """An empty prompt never becomes a paid call."""
    with pytest.raises(ConfigurationError, match=r"ChatRequest\.messages"):
        ChatRequest(messages)


def test_a_value_that_contains_itself_is_refused() -> None:
    """No recursion error and no endless loop."""
    ring: list[Any] = []
    ring += [ring, ring]
    with pytest.raises(ConfigurationError, match="nested deeper"):
        ChatRequest("a", extra_body={"ring": ring})


def test_an_error_shows_no_token_and_not_the_whole_prompt() -> None:
    """Refusals end up in logs."""
    token = "sk-" + "a1B2" * 8
    with pytest.raises(ConfigurationError) as caught:
        ChatRequest("a", priority=token)
    assert token not in str(caught.value)
    with pytest.raises(ConfigurationError) as caught:
        ChatRequest("a", extra_body={"a": {"x" * 10_000}})
    assert len(str(caught.value)) < 300
    assert "Hello" not in repr(ChatRequest("Hello"))


def test_priority_comes_from_its_name_or_from_the_context() -> None:
    """What is said on the request wins over the context."""
    urgent = RequestContext(priority=RequestPriority.CRITICAL)
    assert ChatRequest("a").priority is RequestPriority.NORMAL
    assert ChatRequest("a", priority="High").priority is RequestPriority.HIGH
    assert ChatRequest("a", context=urgent).priority is RequestPriority.CRITICAL
    assert ChatRequest("a", context=urgent, priority="low").priority is RequestPriority.LOW


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, False),
        ({"temperature": 0}, True),
        ({"temperature": 0.0}, True),
        ({"temperature": 0.1}, False),
        ({"seed": 0}, True),
        ({"seed": 3, "temperature": 1}, True),
    ],
)
def test_an_answer_is_meant_to_repeat_at_temperature_0_or_with_a_seed(
    options: dict[str, Any], expected: bool
) -> None:
    """This is what coalescing asks."""
    assert ChatRequest("a", **options).deterministic is expected


@given(st.text(min_size=1).filter(str.strip))
def test_the_estimate_is_a_quarter_of_the_bytes(prompt: str) -> None:
    """Rounded up, and never 0."""
    try:
        request = ChatRequest(prompt)
    except ConfigurationError:
        return
    assert 4 * (request.input_tokens_estimate - 1) < len(request.payload) <= 4 * request.input_tokens_estimate


def test_a_str_enum_is_written_as_its_value() -> None:
    """The payload is what JSON has, not what Python prints."""
    assert b'"a":"red"' in ChatRequest("a", extra_body={"a": Colour.RED}).payload


def test_contexts_have_ids_of_their_own() -> None:
    """An id is never reused by default."""
    assert len({RequestContext().request_id for _ in range(100)}) == 100


@pytest.mark.parametrize(
    "options",
    [
        {"request_id": ""},
        {"request_id": "a\r\nX-Injected: 1"},
        {"request_id": "x" * 201},
        {"correlation_id": "a b"},
        {"created_at": -1},
        {"created_at": float("nan")},
        {"metadata": [1]},
        {"metadata": {"a": {1}}},
        {"priority": 9},
        {"tenant": ""},
    ],
)
def test_a_wrong_context_is_refused(options: dict[str, Any]) -> None:
    """An id travels in headers, so it can carry no line break."""
    (name,) = options
    with pytest.raises(ConfigurationError, match=rf"RequestContext\.{name}"):
        RequestContext(**options)


def test_a_response_reads_like_its_text_and_has_the_derived_names() -> None:
    """Seconds are held, milliseconds derived."""
    call = {"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    response = _response(
        latency=0.25,
        usage=Usage(input_tokens=2, output_tokens=3),
        message={"role": "assistant", "content": None, "tool_calls": [call]},
    )
    assert str(response) == "Hi"
    assert response.latency_ms == 250
    assert response.tokens_used == 5
    assert response.tool_calls == (call,)
    assert not response.cached
    assert _response(source=Source.CACHE).cached
    assert _response().tool_calls == ()


def test_a_response_has_a_text_always() -> None:
    """Nobody has to ask whether the content is None."""
    with pytest.raises(ConfigurationError, match=r"BackendResponse\.content"):
        _response(content=None)


def test_those_who_share_an_answer_cannot_change_it_for_each_other() -> None:
    """A coalesced answer has several readers."""
    message = _response().message
    with pytest.raises(TypeError, match="frozen"):
        message["content"] = "other"  # type: ignore[index]
    assert ChatRequest([*HELLO, message]).messages[1] == message


def test_an_outcome_gives_the_answer_or_raises_the_error() -> None:
    """Each raise is a copy, so that waiters share no traceback."""
    response = _response()
    answered, errored = Answered("1", response), Errored("1", ServerError("down", backend="a", status=503))
    assert answered.ok
    assert answered.unwrap() is response
    assert not errored.ok
    with pytest.raises(ServerError, match="down") as caught:
        errored.unwrap()
    assert caught.value is not errored.error
    assert caught.value.status == 503
    assert isinstance(errored.error, ShowcallerError)
    assert errored.error.__traceback__ is None
