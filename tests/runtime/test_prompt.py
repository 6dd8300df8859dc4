"""What callers may pass as a prompt, and how their options meet it."""

from __future__ import annotations

import pytest
from attrs import fields

from showcaller.actors.enums import RequestPriority
from showcaller.actors.errors import ConfigurationError
from showcaller.actors.models import ChatRequest, RequestContext
from showcaller.runtime.prompt import Options, as_request


def test_a_text_and_messages_become_the_same_request():
    """The short form and the long form."""
    messages = [{"role": "user", "content": "Hello"}]
    assert as_request("Hello", {}) == as_request(messages, {}) == ChatRequest("Hello")


def test_every_option_is_a_field_of_the_request():
    """And every field that a caller may set is an option."""
    settable = {field.name for field in fields(ChatRequest) if field.init} - {"messages"}
    assert set(Options.__annotations__) == settable


def test_options_are_set_beside_a_text():
    """Each in the request's own form."""
    request = as_request("Hello", {"model": "fast", "timeout": 3.0, "priority": "high", "seed": 7})
    assert (request.model, request.timeout, request.seed) == ("fast", 3.0, 7)
    assert request.priority is RequestPriority.HIGH


def test_a_request_without_options_is_taken_as_it_is():
    """It is frozen: nothing needs a copy."""
    request = ChatRequest("Hello", model="fast")
    assert as_request(request, {}) is request


def test_options_beside_a_request_replace_its_own_and_keep_the_rest():
    """The payload follows."""
    request = ChatRequest("Hello", model="fast", temperature=0.5, context=RequestContext(tenant="acme"))
    changed = as_request(request, {"temperature": 0, "model": None})
    assert (changed.model, changed.temperature, changed.messages) == (None, 0, request.messages)
    assert changed.context is request.context
    assert b'"temperature":0' in changed.payload
    assert b'"temperature":0.5' in request.payload


@pytest.mark.parametrize("prompt", ["", "  ", [], None, 7, [{"content": "no role"}]])
def test_what_is_no_prompt_is_refused(prompt):
    """With the field's name."""
    with pytest.raises(ConfigurationError, match="messages"):
        as_request(prompt, {})


@pytest.mark.parametrize("prompt", ["Hello", ChatRequest("Hello")])
def test_a_wrong_value_and_an_unknown_option_are_refused(prompt):
    """As if the request had been built so."""
    with pytest.raises(ConfigurationError, match="temperature"):
        as_request(prompt, {"temperature": -1})
    with pytest.raises(TypeError, match="temprature"):
        as_request(prompt, {"temprature": 1})
