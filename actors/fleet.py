"""The life of the backend slots: starting, restarting, draining and removing them."""

from __future__ import annotations

from typing import Any

import pykka

from showcaller.actors.backend import Backend
from showcaller.actors.errors import ConfigurationError
from showcaller.actors.escalation import Escalation, OnFailed
from showcaller.actors.kernel.child import Child, ChildState, RestartDue
from showcaller.actors.kernel.message import Down, Recipient
from showcaller.actors.kernel.restart import GiveUp, Restart, RestartIntensity
from showcaller.actors.kernel.system import ActorSystem
from showcaller.actors.log import BACKEND_FAILED, BACKEND_RESTARTED
from showcaller.actors.messages import AddBackend, DrainBackend, DrainDue, ResetBackend
from showcaller.actors.roster import Roster
from showcaller.actors.slot import BackendSlot


class Fleet:
    """Acts on the slots for the supervisor, which is the parent of their actors."""

    def __init__(
        self,
        system: ActorSystem,
        roster: Roster,
        supervisor: Recipient,
        *,
        intensity: RestartIntensity,
        reader_timeout: float,
        on_failed: OnFailed,
    ) -> None:
        self._system = system
        self._roster = roster
        self._supervisor = supervisor
        self._intensity = intensity
        self._reader_timeout = reader_timeout
        self._on_failed = on_failed
        self._draining = [slot for slot in roster.slots.values() if slot.drains]

    def take_over(self) -> None:
        """Start the slots that were never started, and adopt the others."""
        for slot in self._roster.slots.values():
            if slot.child is None:
                self._start(slot)
            elif (decision := slot.child.adopt()) is not None:
                self._report(slot, slot.child, decision)

    def _start(self, slot: BackendSlot) -> None:
        def spawn(generation: int) -> pykka.ActorRef[Any] | None:
            return self._system.spawn(
                Backend,
                slot,
                clock=self._system.clock,
                supervisor=self._supervisor,
                reader_timeout=self._reader_timeout,
                slot=slot.id,
                parent=self._supervisor,
                generation=generation,
            )

        slot.child = Child(self._system, slot.id, spawn, self._supervisor, self._intensity)
        if slot.config.enabled:
            slot.child.start()

    def add(self, message: AddBackend) -> bool:
        """Add a slot; False when its name means something else, which the sender is told."""
        slot = message.slot
        try:
            self._roster.add(slot)
        except ConfigurationError as error:
            message.reply.set(error)
            return False
        self._start(slot)
        message.reply.set(None)
        return True

    def on_down(self, down: Down) -> BackendSlot | None:
        """A backend's actor has ended: set its restart going; the slot, when the Down was news."""
        slot = self._find(down.slot)
        if slot is None or slot.child is None:
            return None
        decision = slot.child.on_down(down)
        if decision is None:
            return None
        self._report(slot, slot.child, decision)
        return slot

    def _report(self, slot: BackendSlot, child: Child, decision: Restart | GiveUp) -> None:
        if isinstance(decision, Restart):
            BACKEND_RESTARTED.say(slot.name, decision.delay, child.last_crash)
            return
        BACKEND_FAILED.say(slot.name, decision.delay, child.last_crash)
        self._on_failed(
            Escalation(
                actor=slot.name,
                is_backend=True,
                cause=child.last_crash or "",
                at=self._system.clock.wall(),
                restarts=child.restarts,
                retry_after=decision.delay,
            )
        )

    def reset(self, message: ResetBackend, now: float) -> BackendSlot | None:
        """Give a slot another chance at once; None when there is no such slot, which the sender is told."""
        slot = self._roster.slots.get(message.backend)
        if slot is None:
            message.reply.set(self._unknown(message.backend))
            return None
        slot.breaker.let_probe(now)
        if slot.child is not None and slot.child.reset():
            slot.warm_up(now)
        message.reply.set(None)
        return slot

    def _unknown(self, backend: str) -> ConfigurationError:
        known = ", ".join(self._roster.slots) or "none"
        return ConfigurationError(f"backends: there is no backend {backend!r}; known are: {known}")

    def on_restart_due(self, due: RestartDue) -> BackendSlot | None:
        """The backoff of a slot has passed; the slot, when it was started."""
        slot = self._find(due.slot)
        if slot is None or slot.child is None or not slot.child.on_restart_due(due):
            return None
        return slot

    def drain(self, message: DrainBackend, now: float) -> BackendSlot | None:
        """Give a slot nothing new; None when there is no such slot, which the sender is told."""
        slot = self._roster.slots.get(message.backend)
        if slot is None:
            message.reply.set(self._unknown(message.backend))
            return None
        slot.draining = True
        slot.drains.append(message)
        if slot not in self._draining:
            self._draining.append(slot)
        self._system.clock.call_later(max(0.0, message.deadline - now), self._supervisor, DrainDue(slot))
        return slot

    def settle_drains(self) -> bool:
        """Tell those who wait for a slot that is empty now; True when one was removed."""
        removed = False
        for slot in [slot for slot in self._draining if not slot.in_flight]:
            self._draining.remove(slot)
            drains, slot.drains = slot.drains, []
            if any(message.remove for message in drains):
                self.retire(slot)
                removed = True
            for message in drains:
                message.reply.set(slot.drain_cancelled)
        return removed

    def retire(self, slot: BackendSlot) -> None:
        """Take a slot out for good."""
        if slot.child is not None:
            slot.child.stop()
        slot.workers.close()
        self._roster.remove(slot)

    def stop(self) -> None:
        """Stop every backend's actor; nobody who waits for a drain waits longer."""
        for slot in self._roster.slots.values():
            if slot.child is not None:
                slot.child.stop()
            slot.workers.close()
            for message in slot.drains:
                message.reply.set(slot.drain_cancelled)
            slot.drains = []

    @property
    def stopped(self) -> bool:
        """Have all of them ended?"""
        return all(
            slot.child is None or slot.child.state is ChildState.STOPPED
            for slot in self._roster.slots.values()
        )

    @property
    def is_at_work(self) -> bool:
        """Is there a seat that has not reported yet?"""
        return any(
            record.seat is not None
            for slot in self._roster.slots.values()
            for record in slot.in_flight.values()
        )

    def _find(self, slot_id: str) -> BackendSlot | None:
        return next((slot for slot in self._roster.slots.values() if slot.id == slot_id), None)
