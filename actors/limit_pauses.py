"""The pauses of backends whose limits refused somebody: each lasts until that one may ask again, if it still waits.

So nobody goes round the one who waits for more. But what is there is not kept for who has left, nor for who is less
urgent than somebody else.
"""

from __future__ import annotations

from collections.abc import Iterable

from showcaller.actors.flight import Flight
from showcaller.actors.kernel.clock import Clock
from showcaller.actors.policies.ageing_queue import effective_class
from showcaller.actors.slot import BackendSlot


class LimitPauses:
    """Who each pause is kept for; it is `quota_until` of its slot.

    Args:
        clock: says how long somebody has waited.
        ageing: seconds a class.
    """

    def __init__(self, clock: Clock, ageing: float) -> None:
        self._clock = clock
        self._ageing = ageing
        self._kept_for: dict[BackendSlot, Flight] = {}

    def begin(self, slot: BackendSlot, flight: Flight, until: float) -> bool:
        """A slot's limits have no room for a flight until then; False when its pause stays as it is."""
        other = self._kept_for.get(slot)
        ahead = 0 if other is None else self._class_of(other) - self._class_of(flight)
        if ahead > 0 or (ahead == 0 and until <= slot.quota_until):
            return False
        slot.quota_until = until
        self._kept_for[slot] = flight
        return True

    def end(self, slot: BackendSlot) -> None:
        """Whoever is next may ask."""
        slot.quota_until = 0.0
        self._kept_for.pop(slot, None)

    def end_for(self, flight: Flight, slots: Iterable[BackendSlot]) -> None:
        """End those of these slots that are kept for somebody less urgent."""
        if not self._kept_for:
            return
        for slot in slots:
            other = self._kept_for.get(slot)
            if other is not None and self._class_of(other) < flight.priority:
                self.end(slot)

    def end_of(self, flight: Flight) -> None:
        """End those that are kept for a flight, which goes to another backend; not earlier, it may come back."""
        for slot in [slot for slot, other in self._kept_for.items() if other is flight]:
            self.end(slot)

    def end_idle(self) -> None:
        """End those that are over, or that nobody waits for any more."""
        if not self._kept_for:
            return
        now = self._clock.now()
        for slot, flight in list(self._kept_for.items()):
            if now >= slot.quota_until or flight.done:
                self.end(slot)

    def _class_of(self, flight: Flight) -> int:
        return effective_class(flight.priority, self._clock.now() - flight.since, self._ageing)
