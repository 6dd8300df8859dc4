"""Probes: one at a time for a backend, none for what takes no attempts, and none that outlives its time."""

from __future__ import annotations

from showcaller.actors.kernel.child import ChildState
from showcaller.actors.messages import ProbeBackend
from showcaller.actors.probe import Probe
from showcaller.actors.prober import GRACE
from showcaller.actors.slot import BackendSlot
from showcaller.runtime.testing.invariants.findings import Findings
from showcaller.runtime.testing.invariants.view import View


class ProbeChecks:
    """Watches the supervisor's probes."""

    def __init__(self, view: View, findings: Findings) -> None:
        self._view = view
        self._findings = findings
        self._known: dict[str, Probe] = {}
        self._able: dict[str, bool] = {}

    def before_step(self, message: object) -> None:
        """The supervisor is about to handle a message."""
        tree = self._view.tree
        if isinstance(message, ProbeBackend) and tree is not None:
            self._able = {slot.id: _may_be_probed(slot) for slot in tree.roster.slots.values()}

    def after_step(self) -> None:
        """It was handled, or the supervisor has died of it."""
        tree = self._view.tree
        if tree is None:
            return
        for slot in tree.roster.slots.values():
            probe, before = slot.probe, self._known.get(slot.id)
            if probe is not None and probe is not before:
                self._known[slot.id] = probe
                if not self._able.get(slot.id, False):
                    self._say(slot, "was probed although it takes no attempts, or has no seat for that")
                if before is not None and not before.done:
                    self._say(slot, "was probed a second time before the first probe was over")
            if probe is not None and not probe.done and slot.draining and not probe.attempt.cancel.cancelled:
                self._say(slot, "is drained, and its probe goes on")

    def look(self) -> None:
        """Whatever the slots say, the backends see one at a time; and none holds a seat for longer than it may."""
        now = self._view.clock.now()
        for backend in self._view.simulation.made:
            open_ones = sum(probed.ended is None for probed in backend.probed)
            if open_ones > 1:
                self._findings.say("probes", backend.config.name, f"is probed {open_ones} times at once")
        tree = self._view.tree
        assert tree is not None
        for slot in tree.roster.slots.values():
            probe = slot.probe
            if probe is None or not probe.in_the_way or now <= probe.attempt.deadline + 2 * GRACE:
                continue
            if self._view.actor("supervisor") is not None and not self._view.hindered("supervisor"):
                self._say(slot, "has a seat taken by a probe whose time is over")

    def _say(self, slot: BackendSlot, text: str) -> None:
        self._findings.say("probes", slot.name, text)


def _may_be_probed(slot: BackendSlot) -> bool:
    return (
        slot.child is not None
        and slot.child.state is ChildState.RUNNING
        and slot.config.enabled
        and not slot.draining
        and not slot.retired
        and len(slot.in_flight) < slot.config.max_parallel_requests
    )
