"""The explorer: it carries out every schedule once, and says what it found so that it can be seen again."""

from __future__ import annotations

import itertools
import sys
import threading

import explorer
import pytest

HERE = sys.modules[__name__]
"""The bodies stand in this file: its `threading` is what the explorer replaces."""


class World:
    def __init__(self):
        self.log = []
        self.count = 0
        self.locks = [threading.Lock(), threading.Lock()]
        self.turn = threading.Condition(self.locks[0])
        self.event = threading.Event()


def body(name, pieces):
    """A body of so many pieces, with a step between two of them."""

    def run(world):
        for _ in range(pieces - 1):
            world.log.append(name)
            world.event.set()
        world.log.append(name)

    return run


def orders(pieces, preemptions):
    """All orders of the pieces in which so many times at most one breaks off that was not at its end."""
    for order in set(itertools.permutations([name for name, count in pieces.items() for _ in range(count)])):
        breaks = sum(
            here != after and here in order[position:]
            for position, (here, after) in enumerate(itertools.pairwise(order), 1)
        )
        if breaks <= preemptions:
            yield order


def count_up(world):
    count = world.count
    world.count = count + 1


def lock_upwards(world):
    with world.locks[0], world.locks[1]:
        pass


def lock_downwards(world):
    with world.locks[1], world.locks[0]:
        pass


def wait(world):
    with world.locks[0]:
        if not world.count:
            world.log.append(world.turn.wait(60.0))


def call(world):
    with world.locks[0]:
        world.count = 1
        world.turn.notify()


def call_nobody(world):
    world.count = 1


def spin(world):
    while True:
        world.event.set()


def nothing(world):
    pass


def seen_once(seen):
    def check(world):
        seen.append(tuple(world.log))

    return check


@pytest.mark.parametrize("preemptions", [0, 1, 2, 9])
@pytest.mark.parametrize("pieces", [{"a": 3, "b": 3}, {"a": 2, "b": 4}, {"a": 2, "b": 2, "c": 2}])
def test_every_schedule_is_carried_out_once(pieces, preemptions):
    """As many as brute force counts, each another one."""
    seen = []
    bodies = [body(name, count) for name, count in pieces.items()]
    schedules = explorer.explore(World, bodies, seen_once(seen), preemptions=preemptions, locks=[HERE])
    assert sorted(seen) == sorted(orders(pieces, preemptions))
    assert schedules == len(seen)


def test_a_lost_update_needs_one_preemption_between_two_lines():
    """Without one, and with steps at locks alone, it does not show."""

    def check(world):
        assert world.count == 2

    bodies = [count_up, count_up]
    explorer.explore(World, bodies, check, preemptions=0, lines=[HERE])
    explorer.explore(World, bodies, check, preemptions=9, locks=[HERE])
    with pytest.raises(explorer.FoundError, match="the check failed: AssertionError: assert 1 == 2") as found:
        explorer.explore(World, bodies, check, preemptions=2, lines=[HERE])
    assert "count_up: to test_explorer.py:" in str(found.value)
    assert "world.count = count + 1" in str(found.value)


def test_locks_that_are_taken_in_two_orders_are_a_deadlock():
    """Nobody can go on, and it is told where each one stands."""
    with pytest.raises(explorer.FoundError, match="nobody can go on") as found:
        explorer.explore(World, [lock_upwards, lock_downwards], nothing, preemptions=1, locks=[HERE])
    text = str(found.value)
    assert "lock_upwards stands at test_explorer.py:" in text
    assert "lock_downwards stands at test_explorer.py:" in text
    with pytest.raises(explorer.FoundError, match="nobody can go on"):
        explorer.explore(
            World, [lock_upwards, lock_downwards], nothing, locks=[HERE], decisions=found.value.decisions
        )


def test_a_wait_lasts_until_it_is_woken():
    """Only where timeouts are asked for does time end it, also while others could go on."""
    explorer.explore(World, [wait, call], nothing, preemptions=2, locks=[HERE])
    with pytest.raises(explorer.FoundError, match="nobody can go on"):
        explorer.explore(World, [wait, call_nobody], nothing, preemptions=2, locks=[HERE])
    seen = []
    explorer.explore(World, [wait, call], seen_once(seen), preemptions=2, locks=[HERE], timeouts=True)
    assert set(seen) == {(), (True,), (False,)}


def test_a_run_that_does_not_end_is_found(monkeypatch):
    """By its number of steps, and by what the explorer cannot see; no thread stays behind."""
    with pytest.raises(explorer.FoundError, match="it has not ended after 5000 steps"):
        explorer.explore(World, [spin, nothing], nothing, locks=[HERE])
    monkeypatch.setattr(explorer, "BOUND", 0.05)
    unseen = threading.Lock()
    unseen.acquire()
    before = threading.active_count()

    def block(world):
        unseen.acquire()

    with pytest.raises(explorer.FoundError, match="somebody waits for what the explorer cannot see"):
        explorer.explore(World, [block, nothing], nothing, locks=[HERE])
    unseen.release()
    for thread in threading.enumerate():
        if thread.name in ("block", "nothing"):
            threading.Thread.join(thread, 10.0)
    assert threading.active_count() == before


def test_bodies_that_differ_from_run_to_run_are_refused():
    """A schedule of theirs could not be replayed."""
    runs = itertools.count()

    def fickle(world):
        if next(runs) == 0:
            world.event.set()
        else:
            with world.locks[0]:
                world.event.wait()

    with pytest.raises(explorer.FoundError):
        explorer.explore(World, [fickle, fickle], nothing, preemptions=2, locks=[HERE])


def test_what_a_body_raises_is_found():
    """Its cause is the exception itself."""

    def fail(world):
        raise ValueError("no")

    with pytest.raises(explorer.FoundError, match="fail failed: ValueError: no") as found:
        explorer.explore(World, [fail, nothing], nothing, locks=[HERE])
    assert isinstance(found.value.__cause__, ValueError)
