"""On which thread an actor runs. A dispatcher steps Pykka's own loop, some messages at a time."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from typing import Protocol

from showcaller.actors.kernel.cell import Cell
from showcaller.actors.kernel.context import stepping

TURN = 32
"""Messages that an actor may handle before the others of its thread get their turn."""


class Dispatcher(Protocol):
    """Runs cells."""

    def attach(self, cell: Cell) -> None:
        """Run the cell's on_start and from then on its messages; it lets go of the cell when that has ended.

        Raises:
            RuntimeError: no thread could be started, or the dispatcher is stopped.
        """


class SharedDispatcher:
    """Steps many actors on one daemon thread: a message between two is an append, not a thread switch.

    `busy_since` is when the step in progress began, for the watchdog, and `busy_with` is its cell.
    """

    def __init__(self, name: str, now: Callable[[], float]) -> None:
        self.name = name
        self.busy_since: float | None = None
        self.busy_with: Cell | None = None
        self._now = now
        self._ready: queue.SimpleQueue[Cell | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._cells: set[Cell] = set()
        self._stopped = False

    @property
    def thread(self) -> threading.Thread | None:
        """The thread that steps, once an actor was attached."""
        return self._thread

    def attach(self, cell: Cell) -> None:
        """Run the cell on the shared thread."""
        with self._lock:
            if self._stopped:
                raise RuntimeError(f"the dispatcher {self.name} is stopped")
            if self._thread is None:
                thread = threading.Thread(target=self._run, name=f"showcaller-{self.name}", daemon=True)
                thread.start()
                self._thread = thread
            self._cells.add(cell)
        cell.mailbox.on_ready = lambda: self._ready.put(cell)
        self._ready.put(cell)

    def stop(self, timeout: float) -> bool:
        """End the thread after what is ready now, and with it the cells that have not ended by themselves.

        True when the thread has ended within `timeout` seconds.
        """
        with self._lock:
            self._stopped = True
            thread = self._thread
        self._ready.put(None)
        if thread is None or thread is threading.current_thread():
            return True
        thread.join(timeout)
        return not thread.is_alive()

    def _run(self) -> None:
        with stepping(self.name):
            while (cell := self._ready.get()) is not None:
                self.busy_with, self.busy_since = cell, self._now()
                cell.turn(TURN)
                self.busy_with = self.busy_since = None
                if cell.ended.is_set():
                    self._cells.discard(cell)
                elif not cell.mailbox.park():
                    self._ready.put(cell)
            for left in self._cells:
                left.end()


class PinnedDispatcher:
    """Gives each actor a daemon thread of its own, for those that do slow work such as storage."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._threads: list[threading.Thread] = []

    def attach(self, cell: Cell) -> None:
        """Run the cell on a new thread."""
        signal: queue.SimpleQueue[None] = queue.SimpleQueue()
        cell.mailbox.on_ready = lambda: signal.put(None)
        thread = threading.Thread(target=self._run, args=(cell, signal), name=cell.name, daemon=True)
        thread.start()
        with self._lock:
            self._threads = [thread, *(old for old in self._threads if old.is_alive())]

    def stop(self, timeout: float) -> bool:
        """Wait for the threads of ended cells; True when all have ended within `timeout` seconds in all."""
        with self._lock:
            threads = [thread for thread in self._threads if thread is not threading.current_thread()]
        until = time.monotonic() + timeout
        for thread in threads:
            thread.join(max(0.0, until - time.monotonic()))
        return not any(thread.is_alive() for thread in threads)

    def _run(self, cell: Cell, signal: queue.SimpleQueue[None]) -> None:
        with stepping(cell.name):
            while not cell.ended.is_set():
                cell.turn(TURN)
                if not cell.ended.is_set() and cell.mailbox.park():
                    signal.get()
