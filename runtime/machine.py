"""What a runtime runs on: its clock, its dispatchers and its threads. A simulation is another such machine."""

from __future__ import annotations

import random
import secrets
from collections.abc import Callable
from typing import Protocol

from showcaller.actors.kernel.clock import SystemClock
from showcaller.actors.kernel.dispatcher import PinnedDispatcher, SharedDispatcher
from showcaller.actors.kernel.system import ActorSystem
from showcaller.actors.kernel.watchdog import Watchdog
from showcaller.actors.kernel.workers import ThreadWorkers, Workers

CALLBACK_THREADS = 4


class Machine(Protocol):
    """Runs actors, jobs and timers.

    Attributes:
        name: begins the ids of requests.
        system: what actors need.
        callbacks: runs the caller's functions.
        finalizers: carries out what finalizers ask for, and nothing of the caller's that could hold it up.
    """

    name: str
    system: ActorSystem
    callbacks: Workers
    finalizers: Workers

    @property
    def stuck(self) -> str | None:
        """Which actor holds up the others, or None."""

    def start(self) -> None:
        """Called once, before the first actor is spawned."""

    def stop(self, left: Callable[[], float]) -> int:
        """End clock and dispatchers within `left()` seconds; how many have not ended."""


class ThreadMachine:
    """The system's time, one thread for the core, one for each actor that does slow work, one for the clock.

    Args:
        clock: keeps the time.
    """

    def __init__(self, clock: SystemClock) -> None:
        self.name = secrets.token_hex(4)
        self._clock = clock
        self._shared = SharedDispatcher("core", clock.now)
        self._pinned = PinnedDispatcher()
        self._watchdog = Watchdog(self._shared, clock)
        self.callbacks: Workers = ThreadWorkers("callbacks", CALLBACK_THREADS)
        self.finalizers: Workers = ThreadWorkers("finalizers", 1)
        self.system = ActorSystem(
            clock=clock, rng=random.Random(), shared=self._shared, pinned=self._pinned, workers=ThreadWorkers
        )

    @property
    def stuck(self) -> str | None:
        """What the watchdog says of the shared thread, or None."""
        return self._watchdog.stuck

    def start(self) -> None:
        """Watch the shared thread."""
        self._watchdog.start()

    def stop(self, left: Callable[[], float]) -> int:
        """End the threads of clock and dispatchers within `left()` seconds; how many have not ended."""
        self._watchdog.stop()
        return sum(not part.stop(left()) for part in (self._clock, self._pinned, self._shared))
