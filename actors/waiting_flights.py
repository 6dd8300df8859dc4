"""The flights of one prospect that wait, in the order of their urgency, and between which deadlines theirs lie."""

from __future__ import annotations

import math

from showcaller.actors.flight import Flight
from showcaller.actors.policies.ageing_queue import AgeingQueue


class WaitingFlights(AgeingQueue[Flight]):
    """A queue that knows without a search whether a time splits it.

    Attributes:
        soonest, latest: bounds of the deadlines, as they were when each was added; exact after a `drain`.
    """

    def __init__(self, ageing: float) -> None:
        super().__init__(ageing)
        self.soonest, self.latest = math.inf, -math.inf

    def enqueue(self, item: Flight) -> None:
        """Add a flight at the place that its priority and age give it."""
        self.soonest = min(self.soonest, item.deadline)
        self.latest = max(self.latest, item.deadline)
        super().enqueue(item)

    def drain(self) -> list[Flight]:
        """Take out all that still want to be served, in no order."""
        self.soonest, self.latest = math.inf, -math.inf
        return super().drain()
