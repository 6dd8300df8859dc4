"""Jobs for pools of threads, and how a test waits for what becomes of them."""

from __future__ import annotations

import threading

import pytest

BOUND = 10.0


class Job:
    """Is carried out in one step, or hangs until it is let go."""

    def __init__(self, *, hangs=False, error=None, pauses=()):
        self.hangs, self.error, self.pauses = hangs, error, list(pauses)
        self.began, self.release, self.done = threading.Event(), threading.Event(), threading.Event()
        self.waited, self.thread = [], None

    def step(self):
        self.thread = threading.current_thread()
        self.began.set()
        if self.hangs:
            assert self.release.wait(BOUND)
        if self.error is not None:
            self.done.set()
            raise self.error
        if self.pauses:
            return self.pauses.pop(0)
        self.done.set()
        return None

    def wait(self, seconds):
        self.waited.append(seconds)


def run(pool, *jobs):
    for job in jobs:
        pool.run(job)
    return jobs


def hang(pool, count):
    jobs = run(pool, *(Job(hangs=True) for _ in range(count)))
    for job in jobs:
        assert job.began.wait(BOUND)
    return jobs


def let_go(*jobs):
    for job in jobs:
        job.release.set()
        assert job.done.wait(BOUND)


def wait_for_idle(pool, count):
    """Until so many threads wait for a job."""
    pause = threading.Event()
    for _ in range(1000):
        if pool._idle == count:
            return
        pause.wait(0.01)
    pytest.fail(f"{pool._idle} idle threads, not {count}")
