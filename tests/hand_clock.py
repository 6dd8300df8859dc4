"""A clock whose time is what a test makes it."""

from __future__ import annotations

from typing import Any

from showcaller.actors.kernel.clock import Timer, TimerHeap


class HandClock:
    """Time that stands still until a test moves it; `wall` is so many seconds ahead."""

    def __init__(self, time: float = 100.0, *, ahead: float = 0.0) -> None:
        self.time = time
        self.timers = TimerHeap()
        self._ahead = ahead

    def now(self) -> float:
        return self.time

    def wall(self) -> float:
        return self._ahead + self.time

    def call_later(self, delay: float, recipient: Any, message: Any) -> Timer:
        return self.timers.push(self.time + delay, recipient, message)

    def advance(self, seconds: float) -> None:
        """Move on, and fire what is due on the test's thread."""
        self.time += seconds
        while (timer := self.timers.pop_due(self.time)) is not None:
            timer.fire()
