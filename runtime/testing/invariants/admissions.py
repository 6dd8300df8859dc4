"""Admission: who is refused had to be, CRITICAL above all, and nothing is sent that cannot be answered in time."""

from __future__ import annotations

import re

from showcaller.actors.enums import RequestPriority
from showcaller.actors.flight import Flight
from showcaller.actors.policies.admission import FRESH
from showcaller.actors.supervisor import SWEEP_SECONDS
from showcaller.runtime.testing.client import Sent
from showcaller.runtime.testing.clock import START
from showcaller.runtime.testing.invariants.findings import Findings
from showcaller.runtime.testing.invariants.view import View

ROUNDING = 1e-6
AHEAD = re.compile(r"^(\d+) requests of priority CRITICAL or above wait")
LOWER = "below CRITICAL"
"""A refusal says so when it is because of the share that is kept for CRITICAL."""


class AdmissionChecks:
    """Watches the door, and what the supervisor lets go."""

    def __init__(self, view: View, findings: Findings) -> None:
        self._view = view
        self._findings = findings
        self._known = 0

    def reserve(self, flight: Flight) -> None:
        """A Reserve was sent: as far as is known, one of its backends may answer in time."""
        supervisor = self._view.actor("supervisor")
        if supervisor is None or not self._view.supervisor_acts:
            return
        now = self._view.clock.now()
        slots = [slot for slot in supervisor._departures._table.slots_of(flight) if not slot.out_of_service]
        seen = [[taken for at, taken in slot.latency._quickest._seen if now - at <= 10.0] for slot in slots]
        if not seen or any(len(taken) < 3 for taken in seen):
            return
        least = min(0.5 * min(taken) for taken in seen)
        if now + least > flight.deadline + ROUNDING:
            self._findings.say(
                "doomed",
                f"request {flight.id}",
                f"was let go with {flight.deadline - now:.3f} s left, and no backend of it is that quick",
            )

    def look(self) -> None:
        """The others hold no more than their part, and who was refused had to be."""
        edge, settings = self._view.edge, self._view.simulation.config.runtime
        lower = sum(entry.ticket.priority is not RequestPriority.CRITICAL for entry in edge._open.values())
        part = settings.max_open_requests - int(settings.max_open_requests * settings.critical_share)
        if lower > part:
            self._findings.say(
                "share", "the edge", f"has {lower} requests below CRITICAL; {part} are the most"
            )
        requests = self._view.simulation.door.requests
        for sent in requests[self._known :]:
            request, refusal = sent.request, sent.refused
            if request is not None and refusal is not None and request.priority is RequestPriority.CRITICAL:
                self._judge(sent, refusal.message)
        self._known = len(requests)

    def _judge(self, sent: Sent, why: str) -> None:
        if LOWER in why:
            self._say(sent, "was refused for the share that is kept for it")
        found = AHEAD.match(why)
        if found is None:
            return
        # One that has ended is counted until the next sweep, and what was counted holds for a while.
        since = sent.submitted - FRESH - SWEEP_SECONDS
        there = sum(
            other.request is not None
            and other.request.priority is RequestPriority.CRITICAL
            and other.refused is None
            and other.submitted <= sent.submitted
            and (other.completed is None or other.completed >= since)
            for other in self._view.simulation.door.requests
        )
        if int(found[1]) > there:
            self._say(sent, f"was refused for {found[1]} ahead of it, and there were {there} of its class")

    def _say(self, sent: Sent, text: str) -> None:
        self._findings.say(
            "critical", f"request of {sent.submitted - START:.3f} s", f"is CRITICAL and {text}"
        )
