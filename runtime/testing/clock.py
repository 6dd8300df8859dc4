"""Virtual time: it stands still until the world lets it go on, and then goes to the next thing that is due."""

from __future__ import annotations

from typing import Any

from showcaller.actors.kernel.clock import Timer, TimerHeap
from showcaller.actors.kernel.message import Recipient

START = 1000.0
"""What `now` says first: not 0, which is a value that code may take for "never"."""
EPOCH = 1_767_225_600.0
"""What the wall clock says first: 2026-01-01 00:00 UTC, on whichever day the simulation runs."""


class VirtualClock:
    """A Clock that only the world moves.

    Attributes:
        time: what `now` says.
        wall_offset: the difference between wall time and `now`; a skip of the wall clock changes it.
    """

    def __init__(self) -> None:
        self.time = START
        self.wall_offset = EPOCH - START
        self.timers = TimerHeap()

    def now(self) -> float:
        """Seconds of virtual time."""
        return self.time

    def wall(self) -> float:
        """Virtual seconds since the epoch."""
        return self.time + self.wall_offset

    def call_later(self, delay: float, recipient: Recipient, message: Any) -> Timer:
        """Tell `message` to `recipient` after `delay` virtual seconds."""
        return self.timers.push(self.time + delay, recipient, message)
