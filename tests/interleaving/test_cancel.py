"""A cancel scope under every schedule: a waker is called once or was refused, and a wait ends with the cancel."""

from __future__ import annotations

from attrs import define, field

from showcaller.actors import cancel
from showcaller.actors.cancel import CancelScope


@define
class World:
    """A scope, the calls of two wakers, and what registering the first one said."""

    scope: CancelScope = field(factory=CancelScope)
    first: list = field(factory=list)
    second: list = field(factory=list)
    registered: list = field(factory=list)

    def wake(self):
        self.first.append(self.scope.cancelled)

    def wake_too(self):
        self.second.append(self.scope.cancelled)


def call_off(world):
    world.scope.cancel()


def register(world):
    world.registered.append(world.scope.on_cancel(world.wake))
    world.scope.on_cancel(world.wake_too)


def register_and_forget(world):
    world.registered.append(world.scope.on_cancel(world.wake))
    world.scope.forget(world.wake)
    # Whoever forgets may be called once more by a cancel that was quicker, and by no later one.
    world.second.append(len(world.first))


def wait(world):
    world.scope.wait(60.0)


def woken_or_refused(world):
    assert world.first == [True] * sum(world.registered)
    assert world.second in ([], [True])


def woken_at_most_once(world):
    assert len(world.first) <= sum(world.registered)


def cancelled(world):
    assert world.scope.cancelled


def test_a_waker_is_called_once_or_was_refused(explore):
    """Also when two cancel at the same time."""
    explore(World, [call_off, register], woken_or_refused, lines=[cancel])
    explore(World, [call_off, call_off, register], woken_or_refused, lines=[cancel], at_locks=2, at_lines=1)


def test_a_waker_that_is_taken_back_is_called_at_most_once(explore):
    """Taking it back is no error at any moment."""
    explore(World, [call_off, register_and_forget], woken_at_most_once, lines=[cancel])


def test_a_cancel_ends_a_wait(explore):
    """Whenever it comes, it is not left to the time to end it."""
    explore(World, [wait, call_off], cancelled, lines=[cancel])


def test_a_wait_that_ends_by_itself_meets_a_cancel(explore):
    """Time may run out before, while and after the scope is cancelled."""
    explore(World, [wait, call_off], cancelled, lines=[cancel], timeouts=True)


def test_a_planted_flag_that_is_read_without_the_lock_is_found(find, plant):
    """Between the look and the registration the scope is cancelled, and nobody wakes the waiting thread."""
    plant(CancelScope.on_cancel, {"with self._lock:": "if True:"})
    found = find(World, [wait, call_off], cancelled, lines=[cancel])
    assert "nobody can go on" in str(found)
