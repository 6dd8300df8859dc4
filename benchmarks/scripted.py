"""Transports without a network: one that answers at once, and one that waits until it is let go."""

from __future__ import annotations

import threading
from collections.abc import Iterator

from benchmarks.completion import ANSWER, MODEL
from showcaller import BackendConfig
from showcaller.actors.models import Usage
from showcaller.actors.transport import Attempt, Done, Sent, TransportEvent

DONE = Done(
    message={"role": "assistant", "content": ANSWER},
    finish_reason="stop",
    usage=Usage(input_tokens=21, output_tokens=10),
    model=MODEL,
)


class AtOnce:
    """Answers at once."""

    def attempt(self, _attempt: Attempt) -> Iterator[TransportEvent]:
        """Answer."""
        yield Sent()
        yield DONE

    def close(self) -> None:
        """There is nothing to free."""


class Held:
    """Holds every attempt until it is let go, and counts those it holds."""

    def __init__(self) -> None:
        self.held = threading.Semaphore(0)
        self.let_go = threading.Event()

    def attempt(self, _attempt: Attempt) -> Iterator[TransportEvent]:
        """Wait, then answer."""
        yield Sent()
        self.held.release()
        self.let_go.wait()
        yield DONE

    def close(self) -> None:
        """Let every attempt go."""
        self.let_go.set()


def backends(count: int, *, max_parallel_requests: int = 64) -> list[BackendConfig]:
    """Backends of one model that a scripted transport stands in for."""
    return [
        BackendConfig(
            name=f"backend-{number}",
            backend_type="openai",
            base_url="http://127.0.0.1:9/v1",
            model=MODEL,
            max_parallel_requests=max_parallel_requests,
        )
        for number in range(count)
    ]
