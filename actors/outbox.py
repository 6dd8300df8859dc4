"""What the supervisor owes the quota manager and the observers, collected and sent in batches.

Settlements are never dropped, and what one supervisor leaves here its successor sends; observations are
offered, and may be dropped with a count.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from showcaller.actors.kernel.address import Address
from showcaller.actors.messages import Observation, Observed, Settle, Settlement

BATCH = 64
"""That many entries are sent at once, without waiting for the timer."""
DELAY = 0.05
"""Seconds after which what was collected is sent."""


class Outbox:
    """Two lists and where they go. Used by the supervisor's thread alone."""

    def __init__(self, quota: Address, observers: Sequence[Address]) -> None:
        self._quota = quota
        self._observers = tuple(observers)
        self._settlements: deque[Settlement] = deque()
        self._observations: deque[Observation] = deque()

    def __len__(self) -> int:
        return len(self._settlements) + len(self._observations)

    @property
    def is_full(self) -> bool:
        """Is there enough for a batch?"""
        return len(self) >= BATCH

    def settle(self, settlement: Settlement) -> None:
        """A reservation has ended."""
        self._settlements.append(settlement)

    def observe(self, observation: Observation) -> None:
        """An attempt has finished."""
        self._observations.append(observation)

    def flush(self) -> None:
        """Send everything."""
        if self._settlements:
            settlements = tuple(self._settlements)
            self._quota.tell(Settle(settlements))
            self._settlements.clear()
        if self._observations:
            observed = Observed(tuple(self._observations))
            self._observations.clear()
            for observer in self._observers:
                observer.offer(observed)
