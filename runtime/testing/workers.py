"""Workers of a world: jobs side by side up to a limit, each stepped when the schedule says so."""

from __future__ import annotations

import itertools
from collections import deque
from typing import TYPE_CHECKING

from showcaller.actors.kernel.workers import Job
from showcaller.runtime.testing.process import JobProcess

if TYPE_CHECKING:
    from showcaller.runtime.testing.world import World


class SimulatedWorkers:
    """A pool without threads."""

    def __init__(self, name: str, limit: int, world: World) -> None:
        self.name = name
        self.limit = limit
        self._world = world
        self._running: dict[int, JobProcess] = {}
        self._abandoned: set[int] = set()
        self._waiting: deque[JobProcess] = deque()
        self._numbers = itertools.count(1)
        self._closed = False

    def run(self, job: Job) -> None:
        """Carry out a job as soon as there is a free place.

        Raises:
            RuntimeError: the pool is closed, or a fault says that no thread can be started.
        """
        if self._closed or (not self._running and self._world.refuses_threads(self.name)):
            raise RuntimeError(f"no thread could be started for {self.name}")
        world = self._world
        name = f"{self.name}/{next(self._numbers)}"
        self._waiting.append(JobProcess(name, world.steps, job, self._finished))
        self._start_next()

    def abandon(self, job: Job) -> None:
        """Give the job's place to another."""
        for process in self._running.values():
            if process.job is job:
                del self._running[id(process)]
                self._abandoned.add(id(process))
                self._start_next()
                return

    def close(self) -> None:
        """Take no more."""
        self._closed = True

    def join(self, timeout: float) -> int:
        """Let time pass until all is done; how many jobs are not, after `timeout` virtual seconds."""
        self._world.pass_until(lambda: self.busy == 0, timeout)
        return self.busy

    @property
    def busy(self) -> int:
        """How many jobs are not done."""
        return len(self._running) + len(self._abandoned) + len(self._waiting)

    def _start_next(self) -> None:
        while self._waiting and len(self._running) < self.limit:
            process = self._waiting.popleft()
            self._running[id(process)] = process
            self._world.go_on(process, 0.0)

    def _finished(self, process: JobProcess) -> None:
        self._abandoned.discard(id(process))
        self._running.pop(id(process), None)
        self._start_next()
