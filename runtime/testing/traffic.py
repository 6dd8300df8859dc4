"""Traffic: requests that arrive at a rate for a while, each by a caller of its own."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any

from attrs import Attribute, evolve, field, frozen

from showcaller.actors.validators import is_number, number, refuse, whole
from showcaller.runtime.prompt import Options, Prompt, as_request
from showcaller.runtime.testing.client import CHUNKS, SECONDS, Plan

Prompts = Sequence[Prompt] | Callable[[random.Random], Prompt] | None


def _check_share(owner: object, attribute: Attribute[Any], value: object) -> None:
    if not is_number(value) or not 0 <= value <= 1:
        raise refuse(owner, attribute.name, value, "use a share from 0 to 1")


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

    Raises:
        ConfigurationError: a field is wrong; the text names it, the value and the fix.
        TypeError: there is no such option.
    """

    rate: float = field(validator=number("use requests a second, greater than 0", above=0))
    duration: float = field(validator=number("use seconds greater than 0", above=0))
    start: float = field(default=0.0, validator=number(SECONDS, least=0))
    prompts: Prompts = field(default=None)
    streams: float = field(default=0.0, validator=_check_share)
    cancels: float = field(default=0.0, validator=_check_share)
    patience: float = field(default=2.0, validator=number(SECONDS, least=0))
    read_pause: float = field(default=0.0, validator=number(SECONDS, least=0))
    reads: int | None = field(default=None, validator=whole(CHUNKS, least=0, none=True))
    options: Options = field(factory=Options)

    @prompts.validator
    def _check_prompts(self, attribute: Attribute[Any], value: Prompts) -> None:
        if value is not None and not callable(value) and (isinstance(value, str) or not value):
            raise refuse(self, attribute.name, value, "list some prompts, or give a function of an rng")

    @options.validator
    def _check_options(self, _attribute: Attribute[Any], value: Options) -> None:
        as_request("x", value)

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
