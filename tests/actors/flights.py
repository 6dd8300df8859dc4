"""Flights for tests: who waits for them, their attempts, and what is allowed to an attempt."""

from __future__ import annotations

import threading

from showcaller.actors.attempt import AttemptState
from showcaller.actors.enums import RequestPriority
from showcaller.actors.errors import RequestCancelledError, ServerError
from showcaller.actors.flight import Flight
from showcaller.actors.models import BackendResponse, ChatRequest
from showcaller.actors.ticket import Ticket

BOUND = 10.0
RESERVING, DISPATCHED, CLAIMED, COMMITTED, REVOKED, ENDED = AttemptState
REQUEST = ChatRequest("Hello")
GONE = RequestCancelledError("gone")


class Client:
    """Who waits for a ticket's outcome; keeps every one that is delivered."""

    def __init__(self, request_id, priority=RequestPriority.NORMAL, deadline=100.0):
        self.outcomes = []
        self.done = threading.Event()
        self.ticket = Ticket(
            request_id, priority=priority, created=0.0, deadline=deadline, deliver=self._deliver
        )

    def _deliver(self, outcome):
        self.outcomes.append(outcome)
        self.done.set()

    @property
    def outcome(self):
        (outcome,) = self.outcomes
        return outcome


class Landings:
    """Counts the ends of flights."""

    def __init__(self):
        self.landed = []

    def __call__(self, flight):
        self.landed.append(flight)


def flight_of(client, *, stream=False, key=b"key", order=1, on_done=None):
    return Flight(
        client.ticket,
        REQUEST,
        order=order,
        lane="lane",
        key=key,
        stream=stream,
        on_done=on_done or Landings(),
    )


def begin(flight, *steps, slot="slot"):
    attempt = flight.next_attempt(slot, generation=1, epoch=2, tokens=3, deadline=4.0)
    for step in steps:
        assert act(flight, attempt, step) is True
    return attempt


def act(flight, attempt, step):
    """Do one thing to an attempt; what it said."""
    if step == "dispatched":
        return flight.dispatched(attempt, 50.0)
    if step == "answer":
        return flight.answer(attempt, respond)
    if step == "fail":
        return flight.fail(ServerError("no"))
    return getattr(flight, step)(attempt)


def respond(ticket, source):
    return BackendResponse(
        content="Hi",
        message={"role": "assistant", "content": "Hi"},
        backend="slot",
        model="m",
        source=source,
        request_id=ticket.request_id,
    )


STEPS = ("dispatched", "claim", "commit", "revoke", "revoke_unclaimed", "ended", "answer", "fail")
TABLE = {
    RESERVING: {"dispatched": DISPATCHED, "revoke": REVOKED, "revoke_unclaimed": REVOKED},
    DISPATCHED: {"claim": CLAIMED, "revoke": REVOKED, "revoke_unclaimed": REVOKED},
    CLAIMED: {"commit": COMMITTED, "revoke": REVOKED, "answer": ENDED},
    COMMITTED: {"answer": ENDED},
    REVOKED: {},
    ENDED: {},
}
"""What is allowed, and where it leads; everything else is refused and changes nothing."""
