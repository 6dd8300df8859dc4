"""A slot's address under every schedule: what must not be refused reaches some incarnation, in its sender's order."""

from __future__ import annotations

import random

from attrs import frozen

from showcaller.actors.kernel import address, cell, mailbox
from showcaller.actors.kernel.actor import KernelActor
from showcaller.actors.kernel.address import Address
from showcaller.actors.kernel.message import Message
from showcaller.actors.kernel.system import ActorSystem

MODULES = {"lines": [address], "locks": [cell, mailbox]}


@frozen
class Note(Message):
    text: str


@frozen
class Chatter(Message):
    refusable = True
    text: str


@frozen
class Boom(Message):
    """Kills who handles it."""


class Listener(KernelActor):
    """Remembers its notes where the next incarnation does."""

    def __init__(self, heard):
        super().__init__()
        self._heard = heard

    def on_note(self, message):
        self._heard.append(message.text)

    on_chatter = on_note

    def on_boom(self, _message):
        raise ValueError


class World:
    """A slot whose incarnations are stepped by whoever likes; it is the dispatcher and the parent, too."""

    def __init__(self):
        self.heard = []
        self.parked = []
        self.address = Address("slot")
        self.generation = 0
        self.cell = None
        self.down = None
        self.system = ActorSystem(clock=None, rng=random.Random(0), shared=self, pinned=self, workers=None)

    def attach(self, cell):
        self.cell = cell

    def tell(self, down):
        self.down = down

    def occupy(self, first=()):
        """Spawn the next incarnation, which gets `first`, and then what was parked."""
        self.generation += 1
        ref = self.system.spawn(Listener, self.heard, slot="slot", parent=self, generation=self.generation)
        self.cell.turn(1)
        self.address.occupy(ref, first)

    def run(self):
        """Let the incarnation handle what it has."""
        while len(self.cell.mailbox) and not self.cell.ended.is_set():
            self.cell.turn(32)


def vacant():
    return World()


def occupied():
    world = World()
    world.occupy()
    return world


def doomed():
    """Its first incarnation dies of the first message that it handles."""
    world = occupied()
    world.address.tell(Boom())
    return world


def tell(world):
    world.address.tell(Note("a1"))
    world.address.tell(Note("a2"))


def tell_too(world):
    world.address.tell(Note("b1"))


def chat(world):
    world.address.offer(Chatter("c1"))
    world.address.tell(Chatter("c2"))


def occupy(world):
    world.occupy()
    world.run()


def die_and_live(world):
    """As a supervisor does it: what was salvaged goes first."""
    world.run()
    world.occupy(world.down.salvaged)
    world.run()


def close(world):
    world.parked += [message.text for message in world.address.close()]


def all_heard(*texts):
    def check(world):
        world.run()
        assert sorted(world.heard) == sorted(texts)
        assert [text for text in world.heard if text[0] == "a"] == ["a1", "a2"]
        assert world.address.lost == 0

    return check


def heard_or_counted(world):
    world.run()
    assert [text for text in world.heard if text[0] == "a"] == ["a1", "a2"]
    chatter = [text for text in world.heard if text[0] == "c"]
    assert len(chatter) + world.address.lost == 2
    assert chatter == sorted(chatter)


def parked_or_counted(world):
    assert world.parked == ["a1", "a2"][: len(world.parked)]
    assert len(world.parked) + world.address.lost == 2


def test_what_is_told_while_the_slot_is_filled_arrives(explore):
    """Parked or direct, in its sender's order."""
    explore(vacant, [tell, occupy], all_heard("a1", "a2"), **MODULES)
    explore(vacant, [tell, tell_too, occupy], all_heard("a1", "a2", "b1"), **MODULES, at_locks=1, at_lines=0)


def test_what_is_told_while_an_incarnation_dies_reaches_the_next(explore):
    """Whether it was handled, salvaged or parked; nothing is lost or handled twice, and order is kept."""
    explore(doomed, [tell, die_and_live], all_heard("a1", "a2"), **MODULES, at_locks=2, at_lines=1)


def test_what_may_be_refused_is_heard_or_counted(explore):
    """It disturbs the others in no way."""

    def tell_and_chat(world):
        tell(world)
        chat(world)

    explore(vacant, [tell_and_chat, occupy], heard_or_counted, **MODULES, at_locks=2, at_lines=1)


def test_what_is_told_at_the_close_is_returned_or_counted(explore):
    """Nothing vanishes without a count."""
    explore(vacant, [tell, close], parked_or_counted, **MODULES)


def test_a_planted_occupation_without_the_lock_is_found(find, plant):
    """A sender looks before the slot is filled, parks behind it, and nobody ever hears of it."""
    plant(Address.tell, {"if self._ref is ref:": "if True:"})
    find(vacant, [tell, occupy], all_heard("a1", "a2"), **MODULES)


def test_a_planted_slot_that_is_open_before_it_is_swept_is_found(find, plant):
    """What is told then overtakes what was parked."""
    plant(Address.occupy, {"self._ref = None": "self._ref = ref"})
    find(vacant, [tell, occupy], all_heard("a1", "a2"), **MODULES)
