"""The shared dispatcher under every schedule: whatever an actor is told it handles, and then it sleeps."""

from __future__ import annotations

import random

from attrs import frozen
from pykka import ActorDeadError

from showcaller.actors.kernel import cell, dispatcher, mailbox
from showcaller.actors.kernel.actor import KernelActor
from showcaller.actors.kernel.dispatcher import SharedDispatcher
from showcaller.actors.kernel.mailbox import Mailbox
from showcaller.actors.kernel.message import Message
from showcaller.actors.kernel.system import ActorSystem

MODULES = {"lines": [mailbox], "locks": [cell, dispatcher]}


@frozen
class Note(Message):
    text: str


class Listener(KernelActor):
    """Remembers its notes."""

    def __init__(self, heard):
        super().__init__()
        self._heard = heard

    def on_note(self, message):
        self._heard.append(message.text)


class World:
    """A dispatcher with one actor that is about to begin; it is the parent, too."""

    def __init__(self):
        self.heard = []
        self.downs = []
        self.ended = cell.threading.Event()
        self.dispatcher = SharedDispatcher("core", lambda: 0.0)
        system = ActorSystem(
            clock=None, rng=random.Random(0), shared=self.dispatcher, pinned=self.dispatcher, workers=None
        )
        self.actor = system.spawn(Listener, self.heard, slot="slot", parent=self)

    def tell(self, down):
        self.downs.append(down)
        self.ended.set()


def tell(world):
    world.actor.tell(Note("a1"))
    world.actor.tell(Note("a2"))
    # The stop overtakes what was not handled yet; that is salvaged.
    world.actor.stop(block=False)
    world.ended.wait()
    world.dispatcher.stop(60.0)


def tell_too(world):
    try:
        world.actor.tell(Note("b1"))
    except ActorDeadError:
        world.heard.append("b1 refused")


def all_handled_or_salvaged(world):
    (down,) = world.downs
    notes = world.heard + [message.text for message in down.salvaged]
    assert [text for text in notes if text[0] == "a"] == ["a1", "a2"]
    assert [text for text in notes if text[0] == "b"] in (["b1"], ["b1 refused"])
    assert not world.dispatcher.thread.is_alive()


def test_an_actor_is_stepped_until_it_has_handled_all(explore):
    """No message comes between the look that finds nothing and the sleep; each is handled or in the Down."""
    explore(World, [tell, tell_too], all_handled_or_salvaged, **MODULES, at_locks=1, at_lines=0)


def test_a_planted_sleep_without_a_last_look_is_found(find, plant):
    """What came since the last turn lies there until something else wakes the actor, which nothing does."""
    plant(Mailbox.park, {"if not self.empty():": "if False:"})
    found = find(World, [tell, tell_too], all_handled_or_salvaged, **MODULES)
    assert "nobody can go on" in str(found)
