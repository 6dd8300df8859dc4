"""A mailbox under every schedule: no envelope is lost or doubled, no wake-up is lost, a sender keeps its order."""

from __future__ import annotations

from attrs import define, field, frozen
from pykka import ActorDeadError
from pykka._envelope import Envelope

from showcaller.actors.kernel import mailbox
from showcaller.actors.kernel.errors import MailboxFullError
from showcaller.actors.kernel.mailbox import Mailbox
from showcaller.actors.kernel.message import Message


@frozen
class Note(Message):
    text: str


@frozen
class Chatter(Message):
    refusable = True
    text: str


@define
class World:
    """A mailbox with one place for chatter, what came out of it, and what it refused."""

    mailbox: Mailbox = field(factory=lambda: Mailbox("actor", 1))
    got: list = field(factory=list)
    left: list = field(factory=list)
    refused: list = field(factory=list)
    woken: int = 0
    parked: bool = False

    def __attrs_post_init__(self):
        self.mailbox.on_ready = self.wake

    def wake(self):
        self.woken += 1

    def put(self, *messages):
        for message in messages:
            try:
                self.mailbox.put(Envelope(message))
            except (ActorDeadError, MailboxFullError):
                self.refused.append(message.text)

    def get_all(self):
        while not self.mailbox.empty():
            self.got.append(self.mailbox.get().message.text)


def put_a(world):
    world.put(Note("a1"), Note("a2"))


def put_b(world):
    world.put(Note("b1"), Note("b2"))


def chat(world):
    world.put(Chatter("a1"), Chatter("a2"))


def offer(world):
    if not world.mailbox.offer(Chatter("b1")):
        world.refused.append("b1")


def consume(world):
    world.get_all()


def park(world):
    world.get_all()
    world.parked = world.mailbox.park()


def close(world):
    world.left += [envelope.message.text for envelope in world.mailbox.close()]


def refused_or_left(world):
    assert world.left + world.refused == ["a1", "a2"]
    assert world.mailbox.empty()


def seen_or_woken(world):
    missed = len(world.mailbox)
    assert world.parked or missed, "it was told that there is something, and there is nothing"
    assert world.woken == int(world.parked and missed > 0)


def in_order(world):
    world.get_all()
    assert sorted(world.got) == ["a1", "a2", "b1", "b2"]
    assert [text for text in world.got if text[0] == "a"] == ["a1", "a2"]
    assert [text for text in world.got if text[0] == "b"] == ["b1", "b2"]


def bounded(world):
    left = [envelope.message.text for envelope in world.mailbox.close()]
    assert len(left) <= world.mailbox.capacity
    assert sorted(world.got + left + world.refused) == ["a1", "a2", "b1"]
    assert world.mailbox.dropped == world.refused.count("b1")


def test_what_is_put_at_the_close_is_refused_or_left(explore):
    """Each envelope is one of the two, never both or neither, and what was left stands in order."""
    explore(World, [put_a, close], refused_or_left, lines=[mailbox])


def test_two_that_close_share_what_is_left(explore):
    """A second close returns nothing that the first has returned."""
    explore(World, [put_a, close, close], refused_or_left, lines=[mailbox], at_locks=2, at_lines=1)


def test_a_consumer_that_parks_is_woken_by_what_it_has_not_seen(explore):
    """Once, and only when it was told that it may sleep."""
    explore(World, [put_a, park], seen_or_woken, lines=[mailbox])


def test_two_senders_keep_their_order(explore):
    """Each one's messages come in the order of its own puts."""
    explore(World, [put_a, put_b, consume], in_order, lines=[mailbox], at_locks=2, at_lines=1)


def test_the_bounded_lane_holds_no_more_than_its_capacity(explore):
    """What came out, what was left and what was refused are all that was sent."""
    explore(World, [chat, offer, consume], bounded, lines=[mailbox], at_locks=2, at_lines=1)


def test_a_planted_look_before_the_mark_is_found(find, plant):
    """A park that looks first and marks then, without the lock, sleeps through what comes in between."""
    looks_first = {
        "with self._lock:": "if True:",
        "self._parked = True\n": "empty = self.empty()\n",
        "if not self.empty():": "if empty:",
        "self._parked = False": "self._parked = True",
        "return self._parked": "return empty",
    }
    plant(Mailbox.park, looks_first)
    find(World, [put_a, park], seen_or_woken, lines=[mailbox])


def test_a_planted_close_without_the_lock_is_found(find, plant):
    """What is put between its look and its clearing is lost."""
    plant(Mailbox.close, {"with self._lock:": "if True:"})
    find(World, [put_a, close], refused_or_left, lines=[mailbox])
