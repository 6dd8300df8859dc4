"""The guardian: starts the tree's actors in order, restarts those that die, and stops them in reverse.

An actor without which no request moves escalates when it crashes too often; an observer is only given up,
and tried again later.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from attrs import frozen

from showcaller.actors.escalation import Escalation, OnFailed
from showcaller.actors.kernel.child import Child, ChildState, RestartDue
from showcaller.actors.kernel.clock import Clock
from showcaller.actors.kernel.message import Down, Recipient
from showcaller.actors.kernel.restart import GiveUp
from showcaller.actors.log import ACTOR_FAILED, ACTOR_RESTARTED
from showcaller.actors.messages import Coalesce, Escalated, Provoke, Route, WindDown
from showcaller.actors.reasons import poisoned
from showcaller.actors.tree_actor import TreeActor


@frozen
class Charge:
    """One of the guardian's children.

    Attributes:
        child: its slot.
        essential: does no request move without it?
    """

    child: Child
    essential: bool


class Guardian(TreeActor):
    """The root of the tree; its own death is the runtime's."""

    def __init__(
        self, charges: Sequence[Charge], runtime: Recipient, clock: Clock, on_failed: OnFailed
    ) -> None:
        super().__init__()
        self._clock = clock
        self._on_failed = on_failed
        self._charges = {charge.child.slot: charge for charge in charges}
        self._runtime = runtime
        self._stopping: list[Charge] | None = None
        self._last_in_hand: dict[str, Any] = {}

    def on_start(self) -> None:
        """Start the children in order."""
        for charge in self._charges.values():
            charge.child.start()

    def on_down(self, down: Down) -> None:
        """A child has ended: restart it, give it up, or go on stopping."""
        charge = self._charges[down.slot]
        decision = charge.child.on_down(down, keep=self._keep)
        if self._stopping is not None:
            self._stop_next()
        elif decision is not None:
            gives_up = isinstance(decision, GiveUp)
            event = ACTOR_FAILED if gives_up else ACTOR_RESTARTED
            event.say(down.slot, decision.delay, charge.child.last_crash)
            if gives_up:
                self._escalate(charge, decision.delay)

    def _escalate(self, charge: Charge, delay: float) -> None:
        child = charge.child
        cause = child.last_crash or ""
        self._on_failed(
            Escalation(
                actor=child.slot,
                is_backend=False,
                cause=cause,
                at=self._clock.wall(),
                restarts=child.restarts,
                retry_after=None if charge.essential else delay,
            )
        )
        if charge.essential:
            self._runtime.tell(Escalated(child.slot, cause))

    def _keep(self, down: Down) -> list[Any]:
        """What the next incarnation gets: everything that was queued, and what it died of once, not twice."""
        in_hand, before = down.in_hand, self._last_in_hand.get(down.slot)
        self._last_in_hand[down.slot] = in_hand
        if in_hand is None or isinstance(in_hand, Provoke):
            return list(down.salvaged)
        if in_hand is not before:
            return [in_hand, *down.salvaged]
        if isinstance(in_hand, Coalesce | Route):
            in_hand.flight.fail(poisoned(in_hand.flight, down.slot))
        return list(down.salvaged)

    def on_restart_due(self, due: RestartDue) -> None:
        """The backoff of a child has passed."""
        if self._stopping is None:
            self._charges[due.slot].child.on_restart_due(due)

    def on_wind_down(self, _message: WindDown) -> None:
        """Stop the children, the last one first, each when the one before has ended; then oneself."""
        if self._stopping is None:
            self._stopping = list(self._charges.values())
            self._stop_next()

    def _stop_next(self) -> None:
        stopping = self._stopping or []
        while stopping:
            charge = stopping[-1]
            child = charge.child
            if child.state is ChildState.RUNNING:
                child.stop(WindDown())
            if child.state is ChildState.STOPPING:
                return
            child.stop()
            child.address.close()
            stopping.pop()
        self.stop()
