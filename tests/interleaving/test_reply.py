"""A reply under every schedule: the first result stays, callbacks are called once, and whoever waits gets it."""

from __future__ import annotations

from attrs import define, field
from pykka import Timeout

from showcaller.actors.kernel import reply
from showcaller.actors.kernel.reply import ReplyFuture


@define
class World:
    """A reply, what was read of it, and which callbacks were called."""

    future: ReplyFuture = field(factory=ReplyFuture)
    got: list = field(factory=list)
    called: list = field(factory=list)

    def call(self, number):
        self.called.append((number, self.future.get(timeout=0.0)))


def set_one(world):
    world.future.set(1)


def set_two(world):
    world.future.set(2)


def fail(world):
    world.future.set_exception((ValueError, ValueError("no"), None))


def listen(world):
    world.future.add_done_callback(lambda: world.call("first"))
    world.future.add_done_callback(lambda: world.call("second"))


def get(world):
    try:
        world.got.append(world.future.get())
    except ValueError as error:
        world.got.append(str(error))


def get_in_time(world):
    try:
        world.got.append(world.future.get(timeout=5.0))
    except Timeout:
        world.got.append("late")


def one_result(world):
    get(world)
    assert len(set(world.got)) == 1
    assert world.got[0] in (1, 2, "no")


def called_once(world):
    get(world)
    (result,) = world.got
    # A reply that comes between the two leaves the first to the thread that sets it, when it gets there.
    assert sorted(world.called) == [("first", result), ("second", result)]


def one_or_late(world):
    assert world.got in ([1], ["late"])


def test_the_first_result_is_everybodys(explore):
    """Whoever waits gets the same as whoever asks later."""
    explore(World, [set_one, set_two, get], one_result, lines=[reply], at_locks=2, at_lines=1)
    explore(World, [set_one, fail, get], one_result, lines=[reply], at_locks=2, at_lines=1)


def test_many_wait_for_one_result(explore):
    """The gate lets them through one after the other."""
    explore(World, [get, get, set_one], one_result, lines=[reply], at_locks=2, at_lines=1)


def test_a_callback_is_called_once(explore):
    """It may come before, while and after the reply does, and finds it."""
    explore(World, [set_one, listen], called_once, lines=[reply])
    explore(World, [set_one, set_two, listen], called_once, lines=[reply], at_locks=2, at_lines=1)


def test_a_wait_has_the_reply_or_is_late(explore):
    """Whenever its time runs out."""
    explore(World, [set_one, get_in_time], one_or_late, lines=[reply], timeouts=True)


def test_a_planted_reply_without_the_lock_is_found(find, plant):
    """Two results at the same time both count."""
    plant(ReplyFuture._settle, {"with self._lock:": "if True:"})
    find(World, [set_one, listen], called_once, lines=[reply])
