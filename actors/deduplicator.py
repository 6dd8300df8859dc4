"""The deduplicator: identical requests that are under way at the same time share one upstream call.

What it knows is only which flights are open; it starts empty after a crash, and the worst that follows is
a call that could have been shared.
"""

from __future__ import annotations

from showcaller.actors.flight import Flight
from showcaller.actors.kernel.message import Recipient
from showcaller.actors.messages import Coalesce, FlightDone, Promoted, Route
from showcaller.actors.tree_actor import TreeActor


class Deduplicator(TreeActor):
    """One incarnation of the deduplicator."""

    def __init__(self, supervisor: Recipient) -> None:
        super().__init__()
        self._supervisor = supervisor
        self._open: dict[bytes, Flight] = {}

    def on_coalesce(self, message: Coalesce) -> None:
        """Let the flight's request wait for an identical one that is under way, or let it fly."""
        flight = message.flight
        if flight.key is None or flight.done:
            return
        leader = self._open.get(flight.key)
        if leader is not None and leader is not flight:
            urgency = leader.priority
            if leader.take_in(flight):
                if leader.priority > urgency:
                    self._supervisor.tell(Promoted())
                return
        self._open[flight.key] = flight
        self._supervisor.tell(Route(flight))

    def on_flight_done(self, message: FlightDone) -> None:
        """A flight has its outcome: the next identical request flies itself."""
        if self._open.get(message.key) is message.flight:
            del self._open[message.key]
