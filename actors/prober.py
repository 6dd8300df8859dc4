"""The prober: carries out for the supervisor the probes that the health monitor wants."""

from __future__ import annotations

import json

from showcaller.actors.backend_config import Timeouts
from showcaller.actors.errors import BackendTimeoutError
from showcaller.actors.kernel.address import Address
from showcaller.actors.kernel.message import Recipient
from showcaller.actors.kernel.system import ActorSystem
from showcaller.actors.messages import ProbeBackend, ProbeOverdue
from showcaller.actors.probe import Probe, Probing
from showcaller.actors.roster import Roster
from showcaller.actors.slot import BackendSlot
from showcaller.actors.transport import Attempt

GRACE = 2.0
"""Seconds past its deadline after which a probe that is not back is taken to hang."""
PAYLOAD = json.dumps({"max_tokens": 1, "messages": [{"content": "ping", "role": "user"}]}).encode()


class Prober:
    """One probe at a time for each slot, and none for what takes no attempts.

    Args:
        system: the clock.
        roster: the slots.
        supervisor: who hears of the timers and of free seats.
        monitor: who hears what probes show.
        timeout: seconds that a probe may take, or its backend's total, if that is less.
    """

    def __init__(
        self, system: ActorSystem, roster: Roster, supervisor: Recipient, monitor: Address, *, timeout: float
    ) -> None:
        self._clock = system.clock
        self._roster = roster
        self._supervisor = supervisor
        self._monitor = monitor
        self._timeout = timeout

    def begin(self, message: ProbeBackend) -> None:
        """Probe a slot, if it is still there, can be probed, and has a seat to spare."""
        slot = next((slot for slot in self._roster.slots.values() if slot.id == message.slot), None)
        now = self._clock.now()
        if slot is None or not isinstance(slot.transport, Probing) or not slot.takes_probe(now):
            return
        seconds = min(self._timeout, slot.config.timeout.total)
        attempt = Attempt(
            request_id="probe",
            number=0,
            backend=slot.name,
            payload=PAYLOAD,
            stream=False,
            deadline=now + seconds,
            timeout=Timeouts.of_total(seconds),
        )
        probe = Probe(
            attempt,
            slot.transport,
            slot=slot.id,
            clock=self._clock,
            supervisor=self._supervisor,
            monitor=self._monitor,
        )
        try:
            slot.workers.run(probe)
        except RuntimeError:
            # There is no thread for it: then there is none for an attempt either, which will tell.
            return
        slot.probe = probe
        self._clock.call_later(seconds + GRACE, self._supervisor, ProbeOverdue(slot, probe))

    def overdue(self, message: ProbeOverdue) -> None:
        """The time of a probe is over: when it is not back, its seat is another's."""
        slot, probe = message.slot, message.probe
        if probe.in_the_way:
            slot.workers.abandon(probe)
            probe.give_up(
                BackendTimeoutError(
                    f"{slot.name}: a probe did not come back {GRACE:g} s after its deadline",
                    backend=slot.name,
                )
            )

    def cancel(self, slot: BackendSlot) -> None:
        """Nobody wants to know any more."""
        if slot.probe is not None:
            slot.probe.attempt.cancel.cancel()

    def cancel_all(self) -> None:
        """Nobody wants to know any more, of none."""
        for slot in self._roster.slots.values():
            self.cancel(slot)
