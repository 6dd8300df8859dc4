"""Puts on the timeline what happens to actors and breakers: deaths, restarts, backends that are left alone."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from showcaller.actors.enums import CircuitState
from showcaller.actors.kernel.cell import Cell
from showcaller.actors.kernel.child import Child, ChildState
from showcaller.actors.slot import BackendSlot

if TYPE_CHECKING:
    from showcaller.runtime.testing.simulation import Simulation


class Chronicler:
    """An Observer of one simulation; it looks at every moment's end."""

    def __init__(self, simulation: Simulation) -> None:
        self._simulation = simulation
        self._lives: dict[Child, tuple[int, ChildState]] = {}
        self._epochs: dict[str, int] = {}
        self._left_alone: set[str] = set()

    def sent(self, owner: str, message: Any) -> None:
        """A message has arrived in a mailbox."""

    def taken(self, cell: Cell, message: Any) -> None:
        """An actor has taken a message out of its mailbox, and is about to handle it."""

    def handled(self, cell: Cell) -> None:
        """An actor has handled a message, or has started."""

    def at_rest(self) -> None:
        """Nothing can happen any more at this moment: what has changed since the last one?"""
        runtime = getattr(self._simulation, "runtime", None)
        if runtime is None:
            return
        tree = runtime._tree
        for name, child in tree.children.items():
            self._look_at_life(name, child)
        for slot in tree.roster.slots.values():
            if slot.child is not None:
                self._look_at_life(slot.name, slot.child)
            if slot.breaker.epoch != self._epochs.get(slot.id, 0):
                self._epochs[slot.id] = slot.breaker.epoch
                self._look_at_breaker(slot)

    def _look_at_life(self, name: str, child: Child) -> None:
        now = (child.generation, child.state)
        before = self._lives.get(child)
        if now == before:
            return
        self._lives[child] = now
        for what in _story(before or (1, ChildState.RUNNING), now, child.last_crash):
            self._simulation.note(f"{name} {what}")

    def _look_at_breaker(self, slot: BackendSlot) -> None:
        clock = self._simulation.world.clock
        state = slot.breaker.state(clock.now())
        if state is CircuitState.OPEN:
            seconds = (slot.breaker.open_until or 0.0) - clock.now()
            self._left_alone.add(slot.id)
            self._simulation.note(f"{slot.name} is left alone for {seconds:.1f} s: its breaker is open")
        elif state is CircuitState.CLOSED and slot.id in self._left_alone:
            self._left_alone.remove(slot.id)
            self._simulation.note(f"{slot.name} gets requests again: its breaker is closed")


def _story(before: tuple[int, ChildState], now: tuple[int, ChildState], crash: str | None) -> Iterator[str]:
    """What must have happened between two moments of a life."""
    died = now[1] in (ChildState.RESTARTING, ChildState.FAILED)
    for _ in range(now[0] - before[0]):
        if before[1] is ChildState.RUNNING:
            yield f"died: {crash}"
        yield "is started again"
        before = (before[0] + 1, ChildState.RUNNING)
    if died and before[1] is ChildState.RUNNING:
        yield f"died: {crash}"
    if now[1] is ChildState.FAILED:
        yield "has died too often, and stays down for a while"
