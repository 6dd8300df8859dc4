"""One supervised slot: starts its incarnations one after the other, and decides what follows a Down."""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable
from typing import Any

import pykka
from attrs import frozen

from showcaller.actors.kernel.address import Address
from showcaller.actors.kernel.message import Down, Message, Recipient
from showcaller.actors.kernel.restart import GiveUp, Restart, RestartHistory, RestartIntensity
from showcaller.actors.kernel.system import ActorSystem

Start = Callable[[int], "pykka.ActorRef[Any] | None"]
"""Spawns the incarnation of a generation, with the slot's parent as its parent."""


class ChildState(enum.Enum):
    """Where a slot is in its life."""

    RUNNING = "running"
    RESTARTING = "restarting"
    FAILED = "failed"
    STOPPING = "stopping"
    STOPPED = "stopped"


@frozen(eq=False)
class RestartDue(Message):
    """The backoff of a slot has passed."""

    slot: str
    generation: int


class Child:
    """A slot under supervision. Its supervisor passes on `Down` and `RestartDue`, and reads the state.

    Attributes:
        address: where the slot is reached across incarnations.
        generation: which incarnation is running, or was the last.
        restarts: how many times it was started again.
        last_crash: why the last incarnation that crashed died, as text.
        next_start: when it is started again, in seconds of the clock; None while it runs or is stopped.
    """

    def __init__(
        self, system: ActorSystem, slot: str, start: Start, parent: Recipient, intensity: RestartIntensity
    ) -> None:
        self.slot = slot
        self.address = Address(slot)
        self.state = ChildState.STOPPED
        self.generation = 0
        self.restarts = 0
        self.last_crash: str | None = None
        self.next_start: float | None = None
        self.parent = parent
        self._system = system
        self._start = start
        self._intensity = intensity
        self._history = RestartHistory(intensity)
        self._salvaged: list[Any] = []

    def start(self) -> None:
        """Start the next incarnation; it gets what the last one left unhandled, then what came meanwhile."""
        self.generation += 1
        self.next_start = None
        self.state = ChildState.RUNNING
        salvaged, self._salvaged = self._salvaged, []
        ref = self._start(self.generation)
        if ref is None:
            self._salvaged = salvaged
        else:
            self.address.occupy(ref, salvaged)

    def stop(self, farewell: Any = None) -> None:
        """Stop the slot for good; a Down follows when an incarnation is running.

        Args:
            farewell: told instead of a stop, to an actor that stops itself after its own children.
        """
        ref = self.address.ref
        if self.state is not ChildState.RUNNING or ref is None:
            self.state = ChildState.STOPPED
            self.next_start = None
            return
        self.state = ChildState.STOPPING
        if farewell is None:
            ref.stop(block=False)
        else:
            self.address.tell(farewell)

    def on_down(
        self, down: Down, keep: Callable[[Down], Iterable[Any]] = lambda down: ()
    ) -> Restart | GiveUp | None:
        """Take note of a Down; None when it is stale or was wanted, else what was decided and set going.

        Args:
            down: the message.
            keep: which messages of the dead incarnation the next one shall get.
        """
        if down.generation != self.generation:
            return None
        if self.state is ChildState.STOPPING:
            self.state = ChildState.STOPPED
        if self.state is not ChildState.RUNNING:
            return None
        self._salvaged.extend(keep(down))
        crash = down.crash
        self.last_crash = "stopped from outside" if crash is None else str(crash)
        decision = self._history.crashed(self._system.clock.now(), self._system.rng)
        self.state = ChildState.RESTARTING if isinstance(decision, Restart) else ChildState.FAILED
        self._expect_restart(decision.delay)
        return decision

    def adopt(self) -> Restart | GiveUp | None:
        """A new supervisor takes the slot over: what its predecessor was told and did not do is done now.

        Returns:
            as `on_down`, when the predecessor was not told of a death, or did not live to take note of it.
        """
        ref = self.address.ref
        if self.state is ChildState.RUNNING and (ref is None or not ref.is_alive()):
            return self.on_down(Down(self.slot, self.generation))
        if self.next_start is not None:
            now = self._system.clock.now()
            self._expect_restart(
                0.0 if self.state is ChildState.RESTARTING else max(0.0, self.next_start - now)
            )
        return None

    def reset(self) -> bool:
        """Forget its crashes, and start it at once when it waits for that; True when it was started."""
        self._history.clear()
        if self.state not in (ChildState.RESTARTING, ChildState.FAILED):
            return False
        self.restarts += 1
        self.start()
        return True

    def _expect_restart(self, delay: float) -> None:
        due = RestartDue(self.slot, self.generation)
        self.next_start = self._system.clock.call_later(delay, self.parent, due).at

    def on_restart_due(self, due: RestartDue) -> bool:
        """Start again when the timer is still meant; True when an incarnation was started."""
        if due.generation != self.generation or self.state not in (ChildState.RESTARTING, ChildState.FAILED):
            return False
        self.restarts += 1
        self.start()
        return True
