"""The pool of threads: started when needed, ended when idle, replaced when one hangs, and no job is lost."""

from __future__ import annotations

import threading

import pytest

from showcaller.actors.kernel import workers as module
from showcaller.actors.kernel.workers import ThreadWorkers
from tests.actors.kernel.pools import BOUND, Job, hang, let_go, run, wait_for_idle


def test_threads_are_started_when_a_job_finds_none_idle(pool):
    """None before the first job, no second while the first is idle, never more than the limit."""
    workers = pool(2)
    assert workers.threads == 0
    (first,) = run(workers, Job())
    assert first.done.wait(BOUND)
    wait_for_idle(workers, 1)
    (second,) = run(workers, Job())
    assert second.done.wait(BOUND)
    assert workers.threads == 1
    assert first.thread is second.thread
    assert first.thread.daemon
    assert first.thread.name == "showcaller-pool-1"
    wait_for_idle(workers, 1)
    hanging = hang(workers, 2)
    assert workers.threads == 2
    (queued,) = run(workers, Job())
    assert workers.threads == 2
    assert not queued.began.is_set()
    let_go(*hanging)
    assert queued.done.wait(BOUND)


def test_a_job_may_pause_between_steps(pool):
    """The pool lets the job itself spend the pause."""
    (job,) = run(pool(1), Job(pauses=[0.5, 0.25]))
    assert job.done.wait(BOUND)
    assert job.waited == [0.5, 0.25]


@pytest.mark.parametrize("error", [ValueError, SystemExit, KeyboardInterrupt])
def test_a_raising_job_costs_no_thread_and_tells_no_content(pool, caplog, error):
    """The next job is carried out by the same one."""
    workers = pool(1)
    bad, good = run(workers, Job(error=error("CANARY")), Job())
    assert good.done.wait(BOUND)
    assert bad.thread is good.thread
    assert f"a job of pool raised {error.__name__}" in caplog.text
    assert "CANARY" not in caplog.text


def test_an_idle_thread_ends_and_the_next_job_gets_a_new_one(pool, monkeypatch):
    """A pool that has nothing to do costs nothing."""
    monkeypatch.setattr(module, "IDLE_SECONDS", 0.01)
    workers = pool(1)
    (first,) = run(workers, Job())
    assert first.done.wait(BOUND)
    first.thread.join(BOUND)
    assert not first.thread.is_alive()
    assert workers.threads == 0
    (second,) = run(workers, Job())
    assert second.done.wait(BOUND)


def test_a_hanging_thread_is_replaced_and_ends_when_it_comes_back(pool):
    """It is counted, it gets no other job, and the queued one does not wait for it."""
    workers = pool(1)
    (hanging,) = hang(workers, 1)
    (queued,) = run(workers, Job())
    workers.abandon(hanging)
    assert queued.done.wait(BOUND)
    assert (workers.abandoned, workers.threads) == (1, 1)
    assert queued.thread is not hanging.thread
    let_go(hanging)
    hanging.thread.join(BOUND)
    assert not hanging.thread.is_alive()
    assert workers.abandoned == 0


def test_abandoning_what_is_not_at_work_does_nothing(pool):
    """A job that is queued, finished or unknown."""
    workers = pool(1)
    (hanging,) = hang(workers, 1)
    (queued,) = run(workers, Job())
    workers.abandon(queued)
    workers.abandon(Job())
    assert (workers.abandoned, workers.threads) == (0, 1)
    let_go(hanging)
    assert queued.done.wait(BOUND)
    wait_for_idle(workers, 1)
    workers.abandon(hanging)
    assert (workers.abandoned, workers.threads) == (0, 1)


def test_abandoning_starts_no_thread_that_has_nothing_to_do(pool):
    """The replacement comes with the next job."""
    workers = pool(1)
    (hanging,) = hang(workers, 1)
    workers.abandon(hanging)
    assert workers.threads == 0
    (job,) = run(workers, Job())
    assert job.done.wait(BOUND)
    let_go(hanging)


def test_a_closed_pool_finishes_its_queue_and_takes_no_more(pool):
    """Also when it is closed twice."""
    workers = pool(2)
    hanging = hang(workers, 2)
    queued = run(workers, Job(), Job(), Job())
    workers.close()
    workers.close()
    with pytest.raises(RuntimeError, match="the workers of pool are closed"):
        workers.run(Job())
    assert workers.join(0.0) == 2
    let_go(*hanging)
    assert all(job.done.wait(BOUND) for job in queued)
    assert workers.join(BOUND) == 0


def test_a_closed_pool_finishes_its_queue_even_when_a_thread_hangs(pool):
    """The replacement comes after the close too."""
    workers = pool(1)
    (hanging,) = hang(workers, 1)
    (queued,) = run(workers, Job())
    workers.close()
    workers.abandon(hanging)
    assert queued.done.wait(BOUND)
    assert workers.join(0.0) >= 1
    let_go(hanging)


def test_a_thread_that_was_idle_too_long_looks_at_the_queue_once_more(pool, monkeypatch):
    """A job that came at that moment is carried out, even when the pool was closed right after it."""
    workers = pool(1)
    (first,) = run(workers, Job())
    assert first.done.wait(BOUND)
    wait_for_idle(workers, 1)
    jobs = workers._jobs
    got, go_on = threading.Event(), threading.Event()

    class Expires:
        """The queue, once it says that nothing came for long."""

        def __init__(self, jobs):
            self.jobs, self.expired = jobs, False

        def put(self, job):
            self.jobs.put(job)

        def get(self, timeout):
            if not self.expired:
                self.expired = True
                got.set()
                assert go_on.wait(BOUND)
                raise module.queue.Empty
            return self.jobs.get(timeout=timeout)

    workers._jobs = Expires(jobs)
    jobs.put(wake := Job())
    with workers._lock:
        workers._backlog += 1
    assert wake.done.wait(BOUND)
    assert got.wait(BOUND)
    (late,) = run(workers, Job())
    workers.close()
    go_on.set()
    assert late.done.wait(BOUND)


def test_a_finalizer_that_gives_a_job_while_another_is_given_does_not_deadlock(pool, monkeypatch):
    """A thread is made under the lock, and the garbage collector may run there."""
    workers, late = pool(2), Job()
    original = threading.Thread.start

    def start(thread):
        monkeypatch.undo()
        workers.run(late)
        original(thread)

    monkeypatch.setattr(threading.Thread, "start", start)
    job = Job()
    giver = threading.Thread(target=run, args=(workers, job), daemon=True)
    original(giver)
    giver.join(BOUND)
    assert not giver.is_alive()
    assert late.done.wait(BOUND)
    assert job.done.wait(BOUND)


def test_without_any_thread_a_job_is_refused(pool, no_threads, caplog):
    """And it is not carried out later behind the caller's back."""
    workers = pool(2)
    job = Job()
    with pytest.raises(RuntimeError, match="no thread could be started for pool"):
        workers.run(job)
    assert (workers.threads, workers._backlog) == (0, 0)


def test_without_a_further_thread_a_job_waits_for_those_there_are(pool, monkeypatch, caplog):
    """Fewer threads than allowed are better than none."""
    workers = pool(2)
    (hanging,) = hang(workers, 1)

    def refuse(thread):
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        (queued,) = run(workers, Job())
    assert "no further thread could be started for pool" in caplog.text
    let_go(hanging)
    assert queued.done.wait(BOUND)


def test_a_replacement_that_cannot_start_comes_with_the_next_job(pool, monkeypatch):
    """Abandoning is no place to fail: the one who does it is an actor."""
    workers = pool(1)
    (hanging,) = hang(workers, 1)
    (queued,) = run(workers, Job())

    def refuse(thread):
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        workers.abandon(hanging)
    (following,) = run(workers, Job())
    assert queued.done.wait(BOUND)
    assert following.done.wait(BOUND)
    let_go(hanging)


def test_a_job_may_end_its_own_pool():
    """A thread does not wait for itself, but it is counted."""
    workers, left, done = ThreadWorkers("pool", 1), [], threading.Event()

    class Closer(Job):
        def step(self):
            workers.close()
            left.append(workers.join(BOUND))
            done.set()

    workers.run(Closer())
    assert done.wait(BOUND)
    assert left == [1]
    assert workers.join(BOUND) == 0


def test_no_job_is_lost_while_threads_come_and_go(pool, monkeypatch, often):
    """Threads that end at once when idle, and jobs that are given from several sides."""
    monkeypatch.setattr(module, "IDLE_SECONDS", 0.0001)
    workers = pool(3)
    jobs = [[Job() for _ in range(150)] for _ in range(3)]
    givers = [threading.Thread(target=run, args=(workers, *mine), daemon=True) for mine in jobs]
    for giver in givers:
        giver.start()
    for giver in givers:
        giver.join(BOUND)
    workers.close()
    assert all(job.done.wait(BOUND) for mine in jobs for job in mine)
