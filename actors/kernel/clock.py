"""Time: the only place that reads it, and the timers that tell a message when it has come.

A timer carries a message with ids, never a function; it fires on the clock's own thread, so that a
deadline is kept even when every dispatcher is stuck.
"""

from __future__ import annotations

import heapq
import itertools
import threading
import time
from typing import Any, Protocol

from showcaller.actors.kernel.log import log
from showcaller.actors.kernel.message import Recipient


class Timer:
    """A message that will be told to a recipient at a time, unless it is cancelled before."""

    __slots__ = ("_heap", "at", "message", "recipient")

    def __init__(self, heap: TimerHeap, at: float, recipient: Recipient, message: Any) -> None:
        self._heap = heap
        self.at = at
        self.recipient: Recipient | None = recipient
        self.message = message

    def cancel(self) -> None:
        """Do not tell the message; no error when it was told or cancelled already."""
        if self.recipient is not None:
            self.recipient = self.message = None
            self._heap.cancelled += 1

    def fire(self) -> None:
        """Tell the message; whatever the recipient raises is logged, and time goes on."""
        # In this order: a cancel on another thread clears the recipient first.
        message, recipient = self.message, self.recipient
        self.recipient = self.message = None
        if recipient is None:
            return
        try:
            recipient.tell(message)
        except Exception as error:  # noqa: BLE001 - one dead recipient must not stop the clock
            log.debug("a timer's %s was not taken: %s", type(message).__name__, type(error).__name__)


class TimerHeap:
    """Timers by time, then by the order of their making. Not thread-safe; its clock owns it.

    Cancelled timers are thrown out when they are the greater part, so the heap's size follows the number
    of live timers and not the length of their delays.
    """

    def __init__(self) -> None:
        self.cancelled = 0
        self._heap: list[tuple[float, int, Timer]] = []
        self._order = itertools.count()

    def __len__(self) -> int:
        return len(self._heap)

    def push(self, at: float, recipient: Recipient, message: Any) -> Timer:
        """Add a timer."""
        if self.cancelled > 64 and self.cancelled * 2 > len(self._heap):
            self._heap = [entry for entry in self._heap if entry[2].recipient is not None]
            heapq.heapify(self._heap)
            self.cancelled = 0
        timer = Timer(self, at, recipient, message)
        heapq.heappush(self._heap, (at, next(self._order), timer))
        return timer

    def next_at(self) -> float | None:
        """When the earliest live timer is due, or None."""
        while self._heap and self._heap[0][2].recipient is None:
            heapq.heappop(self._heap)
            self.cancelled -= 1
        return self._heap[0][0] if self._heap else None

    def pop_due(self, now: float) -> Timer | None:
        """Take out the earliest timer that is due, or None."""
        at = self.next_at()
        if at is None or at > now:
            return None
        return heapq.heappop(self._heap)[2]


class Clock(Protocol):
    """What actors know of time."""

    def now(self) -> float:
        """Seconds on a scale that only goes forward."""

    def wall(self) -> float:
        """Seconds since the epoch, for quotas and stamps."""

    def call_later(self, delay: float, recipient: Recipient, message: Any) -> Timer:
        """Tell `message` to `recipient` after `delay` seconds."""


class SystemClock:
    """The system's monotonic time and its wall time, and one daemon thread that fires timers."""

    now = staticmethod(time.monotonic)
    wall = staticmethod(time.time)

    def __init__(self) -> None:
        self._timers = TimerHeap()
        # Entered by itself, in C: an interrupt inside Condition.__enter__ would leave it locked for ever.
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._thread: threading.Thread | None = None
        self._stopped = False

    def call_later(self, delay: float, recipient: Recipient, message: Any) -> Timer:
        """Tell `message` to `recipient` after `delay` seconds, on the clock's thread.

        Raises:
            RuntimeError: it is the first timer, and the thread could not be started.
        """
        at = self.now() + delay
        with self._lock:
            if self._thread is None and not self._stopped:
                thread = threading.Thread(target=self._run, name="showcaller-clock", daemon=True)
                thread.start()
                self._thread = thread
            earliest = self._timers.next_at()
            timer = self._timers.push(at, recipient, message)
            if earliest is None or at < earliest:
                self._changed.notify()
        return timer

    def stop(self, timeout: float) -> bool:
        """Fire no more timers; True when the thread has ended within `timeout` seconds."""
        with self._lock:
            self._stopped = True
            self._changed.notify()
            thread = self._thread
        if thread is None or thread is threading.current_thread():
            return True
        thread.join(timeout)
        return not thread.is_alive()

    def _pause(self, seconds: float) -> float:
        """How long the thread waits for so many seconds of this clock to pass."""
        return seconds

    def _run(self) -> None:
        while True:
            with self._lock:
                if self._stopped:
                    return
                timer = self._timers.pop_due(self.now())
                if timer is None:
                    at = self._timers.next_at()
                    pause = threading.TIMEOUT_MAX if at is None else self._pause(at - self.now())
                    self._changed.wait(min(max(0.0, pause), threading.TIMEOUT_MAX))
                    continue
            try:
                timer.fire()
            except BaseException as error:  # noqa: BLE001 - every deadline hangs on this thread
                log.error("a timer raised %s", type(error).__name__)
