"""Attempts at a simulated backend, played to their end in virtual time."""

from __future__ import annotations

import json
import random

from showcaller.actors.backend_config import BackendConfig, Timeouts
from showcaller.actors.cancel import CancelScope
from showcaller.actors.transport import Attempt, Chunk, Failed, Pause
from showcaller.runtime.testing.backend import Condition, SimulatedBackend
from showcaller.runtime.testing.behaviour import Behaviour
from showcaller.runtime.testing.clock import VirtualClock
from showcaller.runtime.testing.distributions import Constant
from showcaller.runtime.testing.mishaps import AS_THEY_ARE, MIDWAY, STATUSES

STEADY = Behaviour(
    connect=Constant(0.01),
    first_token=Constant(0.02),
    token_interval=Constant(0.01),
    answer_tokens=(16, 16),
    most_chunks=4,
)
TIMEOUTS = Timeouts(connect=0.15, first_token=0.25, idle=0.35, total=60.0)


def attempt_at(now, *, stream=False, deadline=60.0, timeout=TIMEOUTS, prompt="Say hello", **options):
    payload = {"messages": [{"role": "user", "content": prompt}], **options}
    return Attempt(
        request_id="r1",
        number=1,
        backend="under-test",
        payload=json.dumps(payload, separators=(",", ":")).encode(),
        stream=stream,
        deadline=now + deadline,
        timeout=timeout,
        cancel=CancelScope(),
    )


class Played:
    """What an attempt at a simulated backend does, in virtual time."""

    def __init__(self, condition=None, *, act=lambda backend, attempt, now: None, **options):
        clock = VirtualClock()
        config = BackendConfig(
            name="under-test", backend_type="openai_compatible", base_url="http://127.0.0.1:9/v1", model="m"
        )
        self.backend = SimulatedBackend(config, STEADY, clock=clock, rng=random.Random(7))
        if condition is not None:
            self.backend.begin(condition)
        started = clock.time
        attempt = attempt_at(started, **options)
        self.events = []
        for step, event_ in enumerate(self.backend.attempt(attempt)):
            assert step < 1000, "it never ends"
            if isinstance(event_, Pause):
                clock.time += event_.seconds
                self.took = clock.time - started
            else:
                self.events.append(event_)
            act(self.backend, attempt, clock.time - started)
        self.took = clock.time - started

    @property
    def error(self):
        last = self.events[-1]
        assert isinstance(last, Failed), last
        return last.error

    @property
    def chunks(self):
        return sum(isinstance(one, Chunk) for one in self.events)


def mishap_of(kind, chunks=1, retry_after=None):
    if kind in STATUSES:
        return STATUSES[kind].mishap(retry_after)
    return AS_THEY_ARE[kind] if kind in AS_THEY_ARE else MIDWAY[kind](chunks)


def played(kind, *, chunks=1, retry_after=None, **options):
    return Played(Condition(mishap=mishap_of(kind, chunks, retry_after)), **options)


BUGS = ("hangs", "raises", "no_outcome")
