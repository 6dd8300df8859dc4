"""What a request needs of a backend: what it must be able to do, and how much it must hold.

Computed once, on the caller's thread; whoever looks for a backend only compares.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Self

from attrs import evolve, frozen

from showcaller.actors.backend_config import BackendConfig
from showcaller.actors.enums import Capability
from showcaller.actors.models import BYTES_PER_TOKEN, ChatRequest

IMAGE_TOKENS = 1_000
"""About what an image costs, whatever its bytes: between OpenAI's 765 for a square of 1,024 pixels and Anthropic's
1,398 (width times height, divided by 750)."""
_IMAGE_PARTS = frozenset({"image_url", "input_image", "image"})


@frozen
class Needs:
    """See the module's text.

    Attributes:
        capabilities: what a backend must support.
        tokens: of the prompt, estimated, and of the answer as far as max_tokens says.
        outgrown: the greatest declared context window that it was too long for already, in tokens.
    """

    capabilities: frozenset[Capability] = frozenset()
    tokens: int = 1
    outgrown: int = 0

    @classmethod
    def of(cls, request: ChatRequest) -> Self:
        """What a request needs."""
        needed = set()
        tokens = request.input_tokens_estimate + (request.max_tokens or 0)
        if request.tools:
            needed.add(Capability.TOOLS)
        if request.response_format is not None and request.response_format["type"] == "json_schema":
            needed.add(Capability.JSON_SCHEMA)
        for image in _images(request):
            needed.add(Capability.IMAGES)
            tokens += IMAGE_TOKENS - _size(image) // BYTES_PER_TOKEN
        return cls(frozenset(needed), max(1, tokens))

    def too_long_for(self, window: int | None) -> Self:
        """The same after a backend of that context window has refused it as too long."""
        return evolve(self, outgrown=max(self.outgrown, window or 0))

    def are_met_by(self, backend: BackendConfig) -> bool:
        """Can the backend carry it out, as far as is known?"""
        return self.fit(backend) and self.capabilities <= backend.supports

    def fit(self, backend: BackendConfig) -> bool:
        """Does its context window hold the request? One that is not declared does, until the backend itself says no."""
        window = backend.context_window
        return window is None or (window >= self.tokens and window > self.outgrown)

    def lacking(self, backend: BackendConfig) -> str:
        """What the backend lacks, for an error's text; empty when it lacks nothing."""
        missing = sorted(one.value for one in self.capabilities - backend.supports)
        reasons = [f"does not support {' and '.join(missing)}"] if missing else []
        if not self.fit(backend):
            reasons.append(f"holds {backend.context_window} tokens")
        return " and ".join(reasons)

    def __str__(self) -> str:
        names = sorted(one.value for one in self.capabilities)
        return " and ".join([*names, f"room for about {max(self.tokens, self.outgrown + 1)} tokens"])


def _images(request: ChatRequest) -> Iterator[Mapping[str, Any]]:
    for message in request.messages:
        content = message.get("content")
        if isinstance(content, (list, tuple)):
            for part in content:
                if isinstance(part, Mapping) and part.get("type") in _IMAGE_PARTS:
                    yield part


def _size(part: Any) -> int:
    """The characters of all texts in a part."""
    if isinstance(part, str):
        return len(part)
    if isinstance(part, Mapping):
        return sum(map(_size, part.values()))
    return sum(map(_size, part)) if isinstance(part, (list, tuple)) else 0
