"""What the checks see of a simulation: the real objects, from outside, and never changed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pykka

from showcaller.actors.attempt import AttemptRecord
from showcaller.actors.kernel.actor import MARK
from showcaller.actors.kernel.child import ChildState
from showcaller.actors.kernel.mailbox import Mailbox
from showcaller.actors.messages import Key
from showcaller.actors.slot import BackendSlot

if TYPE_CHECKING:
    from showcaller.runtime.edge import Edge
    from showcaller.runtime.testing.simulation import Simulation
    from showcaller.runtime.tree import Tree

SUPERVISOR = f"{MARK}supervisor#"


class View:
    """One simulation.

    Attributes:
        simulation, world, clock, saboteur: of it.
        executed: what was ever given to a backend, by request id and attempt number.
        meddled: has a fault lost or delayed results of attempts?
        forgiven: reservations that may stay: what would have settled them has killed its actor twice.
    """

    def __init__(self, simulation: Simulation) -> None:
        self.simulation = simulation
        self.world = simulation.world
        self.clock = simulation.world.clock
        self.saboteur = simulation.saboteur
        self.executed: dict[tuple[str, int], AttemptRecord] = {}
        self.meddled = False
        self.forgiven: set[Key] = set()
        self._tree: Tree | None = None

    @property
    def tree(self) -> Tree | None:
        """The tree, once the runtime stands."""
        if self._tree is None:
            runtime = getattr(self.simulation, "runtime", None)
            self._tree = None if runtime is None else runtime._tree
        return self._tree

    @property
    def edge(self) -> Edge:
        """The door; only once the tree stands."""
        return self.simulation.runtime._edge

    @property
    def supervisor_acts(self) -> bool:
        """Is this the supervisor's own step?"""
        return self.world.current.name.startswith(SUPERVISOR)

    def slot(self, backend: str) -> BackendSlot | None:
        """The slot that has the name now."""
        tree = self.tree
        return None if tree is None else tree.roster.slots.get(backend)

    def actor(self, slot: str) -> Any | None:
        """The incarnation that fills one of the guardian's slots, when it is alive and has started."""
        if self.tree is None:
            return None
        child = self.tree.children[slot]
        ref = child.address.ref
        if child.state is not ChildState.RUNNING or ref is None or not ref.is_alive():
            return None
        actor = ref._actor_weakref()
        return None if actor is None or actor._cell.phase == "__init__" else actor

    def waiting(self, slot: str) -> list[Any]:
        """The messages that wait for one of the guardian's children, in its mailbox or for its next incarnation."""
        assert self.tree is not None
        address = self.tree.children[slot].address
        ref = address.ref
        parked = list(address._parked)
        return parked if ref is None else in_mailbox(ref) + parked

    def hindered(self, slot: str) -> bool:
        """Does a fault make an actor slow, or has one stopped it in the last seconds?"""
        return slot in self.saboteur.slow or self.saboteur.stalls.get(slot, 0.0) > self.clock.now() - 5.0


def in_mailbox(ref: pykka.ActorRef[Any]) -> list[Any]:
    """The messages that wait in an actor's mailbox, in order, without a stop."""
    inbox = ref.actor_inbox
    assert isinstance(inbox, Mailbox)
    return [envelope.message for envelope in inbox._queue]
