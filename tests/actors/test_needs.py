"""What a request needs of a backend, read from the request alone."""

from __future__ import annotations

from typing import Any

import pytest

from showcaller.actors.backend_config import BackendConfig
from showcaller.actors.enums import Capability
from showcaller.actors.models import ChatRequest
from showcaller.actors.needs import IMAGE_TOKENS, Needs

TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 400_000}}


def _backend(**fields: Any) -> BackendConfig:
    return BackendConfig(name="b", backend_type="simulated", **fields)


@pytest.mark.parametrize(
    ("request_", "needed"),
    [
        (ChatRequest("x"), set()),
        (ChatRequest("x", tools=[TOOL]), {Capability.TOOLS}),
        (ChatRequest("x", response_format={"type": "json_object"}), set()),
        (ChatRequest("x", response_format={"type": "json_schema"}), {Capability.JSON_SCHEMA}),
        (
            ChatRequest([{"role": "user", "content": [IMAGE]}], tools=[TOOL]),
            {Capability.IMAGES, Capability.TOOLS},
        ),
        (ChatRequest([{"role": "user", "content": ["odd", {"type": "text", "text": "x"}]}]), set()),
        (ChatRequest([{"role": "assistant", "content": None}]), set()),
    ],
)
def test_a_request_says_what_it_needs(request_: ChatRequest, needed: set[Capability]) -> None:
    """By its tools, its response format, and the parts of its messages."""
    assert Needs.of(request_).capabilities == needed


def test_the_tokens_are_those_of_the_prompt_and_of_the_answer() -> None:
    """As far as max_tokens says how long that may be."""
    prompt = "word " * 800
    plain = Needs.of(ChatRequest(prompt)).tokens
    assert 1_000 <= plain <= 1_020
    assert 500 <= Needs.of(ChatRequest(prompt, max_tokens=500)).tokens - plain <= 510


def test_an_image_counts_as_an_image_and_not_as_its_bytes() -> None:
    """Also one that lies deep in its part."""
    tokens = Needs.of(ChatRequest([{"role": "user", "content": [IMAGE, IMAGE]}])).tokens
    assert 2 * IMAGE_TOKENS <= tokens <= 2 * IMAGE_TOKENS + 100
    nested = {"type": "image", "source": {"parts": ["A" * 400_000], "index": 1}}
    assert Needs.of(ChatRequest([{"role": "user", "content": [nested]}])).tokens < IMAGE_TOKENS + 100


@pytest.mark.parametrize(
    ("needs", "backend", "lacking"),
    [
        (Needs(), _backend(supports=[]), ""),
        (Needs(tokens=200), _backend(context_window=200), ""),
        (Needs(tokens=201), _backend(context_window=200), "holds 200 tokens"),
        (Needs(outgrown=200), _backend(context_window=200), "holds 200 tokens"),
        (Needs(outgrown=200), _backend(context_window=201), ""),
        (Needs(tokens=10**6, outgrown=10**6), _backend(), ""),
        (Needs(frozenset(Capability)), _backend(), ""),
        (
            Needs(frozenset(Capability)),
            _backend(supports=["images"]),
            "does not support json_schema and tools",
        ),
        (
            Needs(frozenset({Capability.TOOLS}), 9),
            _backend(supports=[], context_window=8),
            "does not support tools and holds 8 tokens",
        ),
    ],
)
def test_a_backend_meets_needs_or_says_what_it_lacks(
    needs: Needs, backend: BackendConfig, lacking: str
) -> None:
    """A window that is not declared holds everything until the backend itself says no."""
    assert needs.lacking(backend) == lacking
    assert needs.are_met_by(backend) is (lacking == "")


def test_what_was_too_long_once_needs_more_than_that() -> None:
    """Of several the biggest counts; one that was not declared says nothing."""
    needs = Needs(tokens=50).too_long_for(300).too_long_for(200).too_long_for(None)
    assert needs.outgrown == 300
    assert str(needs) == "room for about 301 tokens"
    assert (
        str(Needs(frozenset({Capability.TOOLS, Capability.IMAGES}), 7))
        == "images and tools and room for about 7 tokens"
    )
