"""A pool of threads under every schedule: a job that was taken is carried out once, and every thread ends."""

from __future__ import annotations

from attrs import define, field

from showcaller.actors.kernel import workers
from showcaller.actors.kernel.workers import ThreadWorkers


class Job:
    """Notes that it was carried out; may hang until it is let go."""

    def __init__(self, done, name, until=None):
        self._done = done
        self._name = name
        self._until = until

    def step(self):
        if self._until is not None:
            self._until.wait()
        self._done.append(self._name)

    def wait(self, seconds):
        raise AssertionError("these jobs have no pauses")


@define
class World:
    """A pool, what it carried out, and what it refused."""

    pool: ThreadWorkers = field(factory=lambda: ThreadWorkers("pool", 1))
    done: list = field(factory=list)
    refused: list = field(factory=list)
    hanging: Job = field(init=False)
    release: object = field(factory=lambda: workers.threading.Event())

    def __attrs_post_init__(self):
        self.hanging = Job(self.done, "hanging", self.release)

    def run(self, name):
        try:
            self.pool.run(Job(self.done, name))
        except RuntimeError:
            self.refused.append(name)


def hung():
    """One job hangs, and the pool has no other thread."""
    world = World()
    world.pool.run(world.hanging)
    return world


def run_one(world):
    world.run("one")


def run_two(world):
    world.run("two")


def close(world):
    world.pool.close()
    world.pool.join(60.0)


def give_up(world):
    world.pool.abandon(world.hanging)


def let_go(world):
    world.release.set()


def carried_out(*names):
    def check(world):
        assert sorted(world.done + world.refused) == sorted(names)
        assert world.pool.threads == world.pool.abandoned == 0

    return check


def test_a_job_at_the_close_is_refused_or_carried_out(explore):
    """Threads end when there is nothing left to do, and leave nothing behind."""
    explore(World, [run_one, close], carried_out("one"), lines=[workers], at_locks=2, at_lines=1)


def test_a_job_that_meets_a_thread_that_goes_home_is_carried_out(explore):
    """A thread that has been idle for long looks once more before it ends."""
    options = {"lines": [workers], "timeouts": True, "at_locks": 2, "at_lines": 1}
    explore(World, [run_one, run_two], carried_out("one", "two"), **options)


def test_a_job_behind_one_that_hangs_is_carried_out_when_that_is_given_up(explore):
    """Also when the one that hung comes back at that moment."""
    options = {"lines": [workers], "timeouts": True, "at_locks": 1, "at_lines": 0}
    explore(hung, [run_one, give_up, let_go], carried_out("one", "hanging"), **options)


def test_a_planted_thread_that_goes_home_without_a_look_is_found(find, plant):
    """A job came after its last look at the queue, and no thread is there to do it."""
    plant(ThreadWorkers._work, {"if idle_for_long and self._backlog:": "if False:"})
    find(World, [run_one, run_two], carried_out("one", "two"), lines=[workers], timeouts=True)
