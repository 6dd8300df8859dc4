"""The flights of one prospect that wait, in the order of their urgency; and a bound of their deadlines."""

from __future__ import annotations

import math

from showcaller.actors.flight import Flight
from showcaller.actors.policies.ageing_queue import AgeingQueue


class WaitingFlights(AgeingQueue[Flight]):
    """A queue that knows without a search that everybody in it has time.

    Attributes:
        soonest: no deadline was earlier when its flight was added; that of one that has left, perhaps, until a `drain`.
    """

    def __init__(self, ageing: float) -> None:
        super().__init__(ageing)
        self.soonest = math.inf

    def enqueue(self, item: Flight) -> None:
        """Add a flight at the place that its priority and age give it."""
        self.soonest = min(self.soonest, item.deadline)
        super().enqueue(item)

    def drain(self) -> list[Flight]:
        """Take out all that still want to be served, in no order."""
        self.soonest = math.inf
        return super().drain()
