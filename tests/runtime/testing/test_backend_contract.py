"""The simulated backend keeps the contract of all transports, in real time."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator

import pytest

from showcaller.actors.backend_config import BackendConfig
from showcaller.actors.kernel.clock import SystemClock
from showcaller.actors.transport import Attempt, Pause, TransportEvent
from showcaller.runtime.testing.backend import SimulatedBackend
from showcaller.runtime.testing.behaviour import Behaviour
from showcaller.runtime.testing.distributions import Constant
from tests.runtime.transports.conftest import make_attempt
from tests.runtime.transports.contract import TransportContract

__all__ = ["make_attempt"]

QUICK = Behaviour(
    connect=Constant(0.0),
    first_token=Constant(0.01),
    token_interval=Constant(0.001),
    answer_tokens=(2000, 2000),
    context_window=2048,
    most_chunks=1500,
)


class OnThreads:
    """A simulated backend whose pauses pass in real time, and end when the attempt is cancelled."""

    def __init__(self) -> None:
        config = BackendConfig(
            name="under-test", backend_type="openai_compatible", base_url="http://127.0.0.1:9/v1", model="m"
        )
        self.backend = SimulatedBackend(config, QUICK, clock=SystemClock(), rng=random.Random(7))
        self.close = self.backend.close

    def attempt(self, attempt: Attempt) -> Iterator[TransportEvent]:
        """The same events without the pauses."""
        events = self.backend.attempt(attempt)
        try:
            for event in events:
                if isinstance(event, Pause):
                    attempt.cancel.wait(event.seconds)
                else:
                    yield event
        finally:
            events.close()  # type: ignore[attr-defined]


class TestSimulatedBackend(TransportContract):
    """Every case of the contract."""

    @pytest.fixture
    def make_transport(self) -> Iterator[Callable[[], OnThreads]]:
        """Transports of the contract's context."""
        made: list[OnThreads] = []

        def make() -> OnThreads:
            made.append(OnThreads())
            return made[-1]

        yield make
        for transport in made:
            transport.close()
            assert transport.backend.open == 0
