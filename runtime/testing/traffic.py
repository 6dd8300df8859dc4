"""Traffic: requests that arrive at a rate for a while, each by a caller of its own."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from attrs import evolve, frozen

from showcaller.runtime.prompt import Prompt
from showcaller.runtime.testing.client import Plan

Prompts = Sequence[Prompt] | Callable[[random.Random], Prompt] | None


@frozen(kw_only=True)
class Traffic:
    """Arrivals of a Poisson process: independent of each other, so many a second on average.

    Attributes:
        rate: requests a second.
        duration: seconds.
        start: seconds after the beginning of the simulation.
        prompts: one of these each time; or what makes one; None: each request has a prompt of its own.
        streams: which part of the requests streams.
        cancels: which part is given up by its caller, at a random moment of its first `patience` seconds.
        read_pause, reads: how those that stream read; see Plan.
        options: as for `Runtime.submit`; of a `context` each request has one with an id of its own.
    """

    rate: float
    duration: float
    start: float = 0.0
    prompts: Prompts = None
    streams: float = 0.0
    cancels: float = 0.0
    patience: float = 2.0
    read_pause: float = 0.0
    reads: int | None = None
    options: Mapping[str, Any] = {}

    def next_arrival(self, after: float, rng: random.Random) -> float | None:
        """When the next request arrives, in seconds from the beginning; None when there is none."""
        at = max(after, self.start) + rng.expovariate(self.rate)
        return at if at < self.start + self.duration else None

    def plan(self, number: int, rng: random.Random) -> Plan:
        """What the caller of the next request does."""
        if self.prompts is None:
            prompt: Prompt = f"prompt {number}"
        elif callable(self.prompts):
            prompt = self.prompts(rng)
        else:
            prompt = self.prompts[rng.randrange(len(self.prompts))]
        stream = self.streams > 0 and rng.random() < self.streams
        cancels = self.cancels > 0 and rng.random() < self.cancels
        options = self.options
        context = options.get("context")
        if context is not None:
            own = evolve(context, request_id=f"{context.request_id}-{number}")
            options = {**options, "context": own}
        return Plan(
            prompt=prompt,
            options=options,
            stream=stream,
            cancel_after=rng.random() * self.patience if cancels else None,
            read_pause=self.read_pause,
            reads=self.reads,
        )
