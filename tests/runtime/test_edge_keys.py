"""The keys of requests: the same for those whose answer may be shared, and for no others."""

from __future__ import annotations

import itertools

import pytest

from tests.runtime.house import House, named

SAME = {
    "prompt": "Hello",
    "stream": False,
    "coalesce": True,
    "model": "fast",
    "context": named("1", tenant="acme"),
}


def key_of(**changed):
    return House().flight_of(**(SAME | changed)).key


def test_identical_requests_have_the_same_key():
    """Whatever does not change the answer: id, urgency, patience, notes."""
    assert key_of() == key_of() is not None
    assert key_of() == key_of(context=named("2", tenant="acme", metadata={"note": 1}))
    assert key_of() == key_of(priority="critical", timeout=3.0)
    assert key_of() == key_of(prompt=[{"content": "Hello", "role": "user"}])
    assert key_of(model="a") == key_of(model="a/model-a")


@pytest.mark.parametrize(
    "changed",
    [
        {"context": named("1", tenant="other")},
        {"context": named("1")},
        {"model": "slow"},
        {"model": "a"},
        {"stream": True},
        {"prompt": "Hello!"},
        {"max_tokens": 5},
        {"temperature": 0.5},
        {"seed": 1},
        {"tools": [{"type": "function", "function": {"name": "f"}}]},
        {"extra_body": {"top_p": 0.5}},
        {"idempotent": False},
        {"idempotent": True},
    ],
)
def test_what_may_change_the_answer_changes_the_key(changed):
    """Tenant, lane, form, whether it may be repeated, and every part of the payload."""
    assert key_of(**changed) not in (key_of(), None)


def test_all_different_requests_have_different_keys():
    """No two of all combinations meet, also not where the parts could run into each other."""
    keys = [
        key_of(context=named("1", tenant=tenant), model=model, stream=stream, prompt=prompt)
        for tenant, model, stream, prompt in itertools.product(
            (None, "a", "fast", "afast"), ("fast", "a", "b"), (False, True), ("a", "fast", "True")
        )
    ]
    assert len(set(keys)) == len(keys)


@pytest.mark.parametrize(
    ("options", "shared"),
    [
        ({}, False),
        ({"temperature": 0}, True),
        ({"temperature": 0.1}, False),
        ({"seed": 7}, True),
        ({"coalesce": True}, True),
        ({"temperature": 0, "coalesce": False}, False),
        ({"coalesce": True, "share": False}, False),
    ],
)
def test_only_what_is_meant_to_be_the_same_is_shared(options, shared):
    """Or what was asked for; never among the items of one ask_many."""
    assert (House().flight_of(**options).key is not None) is shared
