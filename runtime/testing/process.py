"""Everything that a world can step: actors, jobs, the clock, and what is planned from outside."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable

from showcaller.actors.kernel.cell import Cell
from showcaller.actors.kernel.workers import Job


class Process:
    """One line of execution that could be a thread of its own.

    Attributes:
        name: its logical name.
        knows: the latest step of which something has reached it; see `mailbox`.
    """

    __slots__ = ("knows", "name")

    def __init__(self, name: str, knows: int) -> None:
        self.name = name
        self.knows = knows


class ActorProcess(Process):
    """An incarnation of an actor."""

    __slots__ = ("cell",)

    def __init__(self, cell: Cell, knows: int) -> None:
        super().__init__(cell.name, knows)
        self.cell = cell


class JobProcess(Process):
    """A job on one of a pool's workers.

    Attributes:
        job: what is carried out.
        wakes_at: when it goes on, or None while it is not paused.
    """

    __slots__ = ("finished", "job", "wakes_at")

    def __init__(self, name: str, knows: int, job: Job, finished: Callable[[JobProcess], None]) -> None:
        super().__init__(name, knows)
        self.job = job
        self.finished = finished
        self.wakes_at: float | None = None


class PlannedProcess(Process):
    """Something that the user of the simulation does at a time."""

    __slots__ = ("act",)

    def __init__(self, name: str, knows: int, act: Callable[[], None]) -> None:
        super().__init__(name, knows)
        self.act = act


class Agenda:
    """What goes on at a time, by that time and then by the order of planning."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Process]] = []
        self._order = itertools.count()

    def add(self, at: float, process: Process) -> None:
        """Let the process go on at `at`."""
        heapq.heappush(self._heap, (at, next(self._order), process))

    def next_at(self) -> float | None:
        """When the next one goes on."""
        return self._heap[0][0] if self._heap else None

    def pop_due(self, now: float) -> tuple[float, Process] | None:
        """The next one that is due, and when that was."""
        if self._heap and self._heap[0][0] <= now:
            at, _, process = heapq.heappop(self._heap)
            return at, process
        return None
