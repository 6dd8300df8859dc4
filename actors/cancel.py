"""Cancellation of one attempt: a flag, and the wakers that end a blocked read at once.

Cancelling is out of band: whoever cancels calls the wakers on its own thread, so a waker must not block.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from showcaller.actors.kernel.log import log


class CancelScope:
    """The cancelled flag of one attempt and what must be woken when it is set."""

    __slots__ = ("_lock", "_wakers", "cancelled")

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._wakers: list[Callable[[], None]] = []
        self.cancelled = False

    def cancel(self) -> None:
        """Set the flag and call every waker once; later calls do nothing."""
        with self._lock:
            if self.cancelled:
                return
            self.cancelled = True
            wakers, self._wakers = self._wakers, []
        for waker in wakers:
            try:
                waker()
            except Exception as error:  # noqa: BLE001 - others wait, and outcomes are delivered after this
                log.error("a waker raised %s", type(error).__name__)

    def on_cancel(self, waker: Callable[[], None]) -> bool:
        """Register a waker; when the scope is cancelled already it is not registered and False is returned."""
        with self._lock:
            if self.cancelled:
                return False
            self._wakers.append(waker)
            return True

    def wait(self, seconds: float) -> None:
        """Wait until the scope is cancelled, at most so long."""
        woken = threading.Event()
        if self.on_cancel(woken.set):
            woken.wait(seconds)
            self.forget(woken.set)

    def forget(self, waker: Callable[[], None]) -> None:
        """Take a waker back; it is no error when it was called or never registered."""
        with self._lock:
            if waker in self._wakers:
                self._wakers.remove(waker)
