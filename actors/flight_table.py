"""The flights that are open: what the next supervisor takes over when one has died."""

from __future__ import annotations

import threading

from showcaller.actors.flight import Flight


class FlightTable:
    """Open flights by their order; changed from every thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._flights: dict[int, Flight] = {}

    def __len__(self) -> int:
        return len(self._flights)

    def add(self, flight: Flight) -> None:
        """A flight was accepted."""
        with self._lock:
            self._flights[flight.order] = flight

    def discard(self, flight: Flight) -> None:
        """A flight is done."""
        with self._lock:
            self._flights.pop(flight.order, None)

    def in_order(self) -> list[Flight]:
        """The open flights, the oldest first."""
        with self._lock:
            return sorted(self._flights.values(), key=lambda flight: flight.order)
