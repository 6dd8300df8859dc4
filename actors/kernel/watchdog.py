"""Watches the shared thread: a step that lasts too long is logged once, with the place where it is.

Driven by the clock's thread, which goes on when the shared one is stuck; has no thread of its own.
"""

from __future__ import annotations

import itertools
import sys
import threading
import traceback
from pathlib import Path
from types import FrameType
from typing import Any

from showcaller.actors.kernel.clock import Clock, Timer
from showcaller.actors.kernel.dispatcher import SharedDispatcher
from showcaller.actors.kernel.log import log
from showcaller.actors.kernel.message import Message

FRAMES = 12
"""That many of the innermost frames are logged."""


class Look(Message):
    """It is time to look at the thread."""


class Watchdog:
    """Looks at a SharedDispatcher every `interval` seconds.

    Args:
        dispatcher: what to watch; its `now` is that of `clock`.
        clock: whose timers drive it.
        interval: seconds between two looks.
        limit: a step that has lasted so many seconds is stuck.

    Attributes:
        stuck: which actor has been doing what, and for how long, at the last look; None: nothing was stuck.
    """

    def __init__(
        self, dispatcher: SharedDispatcher, clock: Clock, *, interval: float = 1.0, limit: float = 1.0
    ) -> None:
        self.interval = interval
        self.limit = limit
        self.stuck: str | None = None
        self._dispatcher = dispatcher
        self._clock = clock
        self._lock = threading.Lock()
        self._timer: Timer | None = None
        self._next: Look | None = None
        self._reported: tuple[float, str] | None = None

    def start(self) -> None:
        """Look every `interval` seconds from now on; no error when it does already."""
        with self._lock:
            if self._next is None:
                self._arm()

    def stop(self) -> None:
        """Look no more; no error when it does not."""
        with self._lock:
            if self._timer is not None:
                self._timer.cancel()
            self._timer = self._next = self.stuck = None

    def tell(self, message: Any) -> None:
        """The clock's tick."""
        with self._lock:
            if message is self._next:
                self._arm()
                self._look()

    def _arm(self) -> None:
        self._next = Look()
        self._timer = self._clock.call_later(self.interval, self, self._next)

    def _look(self) -> None:
        self.stuck = None
        dispatcher = self._dispatcher
        since, cell, thread = dispatcher.busy_since, dispatcher.busy_with, dispatcher.thread
        if since is None or cell is None or thread is None or dispatcher.busy_since != since:
            return
        lasting = self._clock.now() - since
        if lasting < self.limit:
            return
        self.stuck = f"{cell.name} in {cell.phase} for {lasting:.1f} s"
        if self._reported != (since, cell.name):
            self._reported = (since, cell.name)
            frame = sys._current_frames().get(thread.ident or 0)
            log.warning("%s: stuck: %s: %s", dispatcher.name, self.stuck, _place(frame))


def _place(frame: FrameType | None) -> str:
    """Files, lines and functions, innermost first; no source text and no locals, which hold prompts."""
    calls = () if frame is None else itertools.islice(traceback.walk_stack(frame), FRAMES)
    return " < ".join(
        f"{Path(call.f_code.co_filename).name}:{line} {call.f_code.co_qualname}" for call, line in calls
    )
