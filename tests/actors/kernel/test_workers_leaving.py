"""Threads of a pool that end: waited for until they have, and remembered no longer."""

from __future__ import annotations

import threading

import pytest

from showcaller.actors.kernel import workers as module
from showcaller.actors.kernel.workers import ThreadWorkers
from tests.actors.kernel.pools import BOUND, Job, hang, let_go, run


@pytest.mark.parametrize("why", ["closed", "idle", "given up"])
def test_a_thread_that_is_about_to_end_is_waited_for(pool, monkeypatch, why):
    """It counts as one no longer, and has not ended: after a join that says so none is left."""
    gone, go_on, work = threading.Event(), threading.Event(), ThreadWorkers._work

    def linger(self):
        work(self)
        gone.set()
        assert go_on.wait(BOUND)

    monkeypatch.setattr(ThreadWorkers, "_work", linger)
    monkeypatch.setattr(module, "IDLE_SECONDS", 0.01 if why == "idle" else BOUND)
    workers = pool(1)
    (job,) = hang(workers, 1)
    if why == "given up":
        workers.abandon(job)
    let_go(job)
    if why == "closed":
        workers.close()
    assert gone.wait(BOUND)
    assert (workers.threads, workers.abandoned, workers.join(0.0)) == (0, 0, 1)
    go_on.set()
    assert workers.join(BOUND) == 0


def test_threads_that_have_ended_are_forgotten(pool, monkeypatch):
    """However many there have been."""
    monkeypatch.setattr(module, "IDLE_SECONDS", 0.001)
    workers = pool(1)
    for _ in range(5):
        (job,) = run(workers, Job())
        assert job.done.wait(BOUND)
        job.thread.join(BOUND)
    assert len(workers._leaving) == 1
