"""Pools of threads that do what actors must not: wait for I/O and run the user's code.

A job is stepped until it is finished; between two steps it may ask for a pause. The same job is stepped
in virtual time by a simulation.
"""

from __future__ import annotations

import itertools
import queue
import threading
import time
from typing import Protocol

from showcaller.actors.kernel.log import log

IDLE_SECONDS = 30.0
"""After that time without a job a thread ends."""


class Job(Protocol):
    """Work in steps."""

    def step(self) -> float | None:
        """Do the next piece of work, which may block; seconds to pause before the next, None when done."""

    def wait(self, seconds: float) -> None:
        """Spend a pause on a thread, or less when the job is no longer wanted."""


class Workers(Protocol):
    """Carries out jobs side by side."""

    def run(self, job: Job) -> None:
        """Carry out a job as soon as a thread is free.

        Raises:
            RuntimeError: no thread could be started.
        """

    def abandon(self, job: Job) -> None:
        """Count on the job's thread no longer: it hangs, and another takes its place."""

    def close(self) -> None:
        """End idle threads now, the others when their jobs are done; queued jobs are still carried out."""

    def join(self, timeout: float) -> int:
        """Wait for the threads to end; how many have not within `timeout` seconds."""


class WorkersFactory(Protocol):
    """Makes a pool."""

    def __call__(self, name: str, limit: int) -> Workers:
        """A pool of at most `limit` threads beside those that were abandoned."""


class ThreadWorkers:
    """Daemon threads, started when a job finds none idle, ended when they have been idle for long.

    A finalizer may give a job while its thread is inside here; hence the reentrant lock.
    """

    def __init__(self, name: str, limit: int) -> None:
        self.name = name
        self.limit = limit
        self._lock = threading.RLock()
        self._jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._backlog = 0
        self._idle = 0
        self._threads: dict[threading.Thread, Job | None] = {}
        self._abandoned: set[threading.Thread] = set()
        self._leaving: list[threading.Thread] = []
        self._closed = False
        self._started = itertools.count(1)

    @property
    def threads(self) -> int:
        """How many threads there are, without those that were abandoned."""
        return len(self._threads)

    @property
    def abandoned(self) -> int:
        """How many threads hang in a job that was given up."""
        return len(self._abandoned)

    def run(self, job: Job) -> None:
        """Carry out a job as soon as a thread is free.

        Raises:
            RuntimeError: the pool is closed, or no thread could be started and there is none.
        """
        with self._lock:
            if self._closed:
                raise RuntimeError(f"the workers of {self.name} are closed")
            if (
                self._backlog >= self._idle
                and len(self._threads) < self.limit
                and not self._start()
                and not self._threads
            ):
                raise RuntimeError(f"no thread could be started for {self.name}")
            self._backlog += 1
            self._jobs.put(job)

    def abandon(self, job: Job) -> None:
        """Count on the job's thread no longer; another takes its place when it is needed."""
        with self._lock:
            for thread, at_work in self._threads.items():
                if at_work is job:
                    del self._threads[thread]
                    self._abandoned.add(thread)
                    # Also when closed: the new thread ends by what `close` left for the one that hangs.
                    if self._backlog > self._idle:
                        self._start()
                    return

    def close(self) -> None:
        """End the threads as soon as they have nothing to do."""
        with self._lock:
            self._closed = True
            for _ in self._threads:
                self._jobs.put(None)

    def join(self, timeout: float) -> int:
        """Wait for the threads to end; how many have not within `timeout` seconds altogether."""
        with self._lock:
            threads = [*self._threads, *self._abandoned, *self._leaving]
        until = time.monotonic() + timeout
        for thread in threads:
            if thread is not threading.current_thread():
                thread.join(max(0.0, until - time.monotonic()))
        return sum(thread.is_alive() for thread in threads)

    def _start(self) -> bool:
        thread = threading.Thread(
            target=self._work, name=f"showcaller-{self.name}-{next(self._started)}", daemon=True
        )
        try:
            thread.start()
        except RuntimeError:
            log.warning("no further thread could be started for %s", self.name)
            return False
        self._threads[thread] = None
        self._idle += 1
        return True

    def _work(self) -> None:
        me = threading.current_thread()
        while True:
            idle_for_long = False
            try:
                job = self._jobs.get(timeout=IDLE_SECONDS)
            except queue.Empty:
                job, idle_for_long = None, True
            with self._lock:
                if job is None:
                    if idle_for_long and self._backlog:
                        continue
                    self._threads.pop(me, None)
                    self._idle -= 1
                    self._leave(me)
                    return
                self._backlog -= 1
                self._idle -= 1
                self._threads[me] = job
            self._carry_out(job)
            job = None
            with self._lock:
                if me in self._abandoned:
                    self._abandoned.discard(me)
                    self._leave(me)
                    return
                self._threads[me] = None
                self._idle += 1

    def _leave(self, me: threading.Thread) -> None:
        """It counts no longer, but has not ended before it has returned: until then a `join` waits for it."""
        self._leaving = [thread for thread in self._leaving if thread.is_alive()]
        self._leaving.append(me)

    def _carry_out(self, job: Job) -> None:
        try:
            while (pause := job.step()) is not None:
                job.wait(pause)
        except BaseException as error:  # noqa: BLE001 - the thread is for the next job too
            log.error("a job of %s raised %s", self.name, type(error).__name__)
