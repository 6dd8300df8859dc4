"""Bugs of requests, their streams and the results of their attempts."""

from __future__ import annotations

import builtins
from typing import Any

import pytest

from showcaller.actors import arrivals, departures
from showcaller.actors.arrivals import Arrivals
from showcaller.actors.departures import Departures
from showcaller.actors.flight import Flight
from showcaller.actors.kernel.child import Child
from showcaller.actors.policies import retry
from showcaller.actors.policies.circuit_breaker import CircuitBreaker
from showcaller.actors.seat import Seat
from showcaller.actors.slot import BackendSlot
from showcaller.actors.ticket import Ticket
from showcaller.runtime.edge import Edge
from tests.simulation.planted.bug import planted

# --- requests ---


@planted
def lost_when_refused(patch: pytest.MonkeyPatch) -> None:
    """A flight whose reservation is refused does not get its place in the queue back."""

    def take_back(self: Departures, slot: BackendSlot, record: Any) -> None:
        record.flight.revoke(record)
        self.free(slot, record, tokens=None)

    patch.setattr(Departures, "take_back", take_back)


@planted
def lost_by_a_restart(patch: pytest.MonkeyPatch) -> None:
    """A new supervisor forgets the flights that were queued in the one before."""
    real = Departures.take_over

    def take_over(self: Departures) -> None:
        for flight in self._roster.flights.in_order():
            if flight.queued:
                flight.admitted = False
        real(self)
        for flight in self._roster.flights.in_order():
            flight.admitted = True

    patch.setattr(Departures, "take_over", take_over)


@planted
def lost_between_two_deaths(patch: pytest.MonkeyPatch) -> None:
    """What an actor had not handled when it died is not given to its next incarnation."""
    real = Child.on_down

    def on_down(self: Child, down: Any, keep: Any = None) -> Any:
        return real(self, down)

    patch.setattr(Child, "on_down", on_down)


@planted
def double_completion(patch: pytest.MonkeyPatch) -> None:
    """A request that its caller has given up is completed again by the answer."""

    def complete(self: Ticket, outcome: Any) -> bool:
        self.done = True
        self._deliver(outcome)
        return True

    real = Flight.detach

    def detach(self: Flight, ticket: Ticket, error: Any) -> bool:
        return ticket.flight is not self and real(self, ticket, error)

    patch.setattr(Ticket, "complete", complete)
    patch.setattr(Flight, "detach", detach)


@planted
def deadline_not_enforced(patch: pytest.MonkeyPatch) -> None:
    """The edge does nothing when a deadline has come."""
    patch.setattr(Edge, "tell", lambda self, message: None)


@planted
def attempt_outlives_its_request(patch: pytest.MonkeyPatch) -> None:
    """An attempt gets its backend's whole timeout, whatever is left of the request's deadline."""

    def last_of_two(*values: Any, **options: Any) -> Any:
        return values[1] if len(values) == 2 else builtins.min(*values, **options)

    patch.setattr(departures, "min", last_of_two, raising=False)


@planted
def retry_past_the_deadline(patch: pytest.MonkeyPatch) -> None:
    """A retry is planned without a look at what is left of the deadline."""
    real = retry.decide

    def decide(*args: Any, remaining: float, **options: Any) -> Any:
        return real(*args, remaining=1e9, **options)

    patch.setattr(arrivals, "decide", decide)


@planted
def tried_too_often(patch: pytest.MonkeyPatch) -> None:
    """Failures of a request are not counted over all of its backends."""
    real = retry.decide

    def decide(*args: Any, failures: int, **options: Any) -> Any:
        return real(*args, failures=0, **options)

    patch.setattr(arrivals, "decide", decide)


@planted
def repeated_although_not_idempotent(patch: pytest.MonkeyPatch) -> None:
    """A request that may have been executed is sent again although it is not idempotent."""
    patch.setattr(Arrivals, "_is_idempotent", lambda self, flight, slot: True)


@planted
def seat_leaked_on_cancel(patch: pytest.MonkeyPatch) -> None:
    """The attempts of a request that nobody waits for go on."""
    real = Flight._clean_up

    def clean_up(self: Flight, scopes: list[Any], error: Any) -> None:
        real(self, [], error)

    patch.setattr(Flight, "_clean_up", clean_up)


# --- streams ---


@planted
def chunk_twice(patch: pytest.MonkeyPatch) -> None:
    """The first chunk of a stream is handed over twice."""
    real = Seat._hand_over

    def hand_over(self: Seat, chunk: Any) -> bool:
        stream = self.record.flight.stream
        if stream is not None and not stream.text:
            real(self, chunk)
        return real(self, chunk)

    patch.setattr(Seat, "_hand_over", hand_over)


@planted
def failover_in_the_middle(patch: pytest.MonkeyPatch) -> None:
    """A stream that broke after its first chunk is begun again elsewhere."""
    real = Arrivals._after_failure

    def after_failure(self: Arrivals, flight: Any, slot: Any, error: Any, *, committed: bool) -> None:
        real(self, flight, slot, error, committed=False)

    patch.setattr(Arrivals, "_after_failure", after_failure)


# --- results ---


@planted
def stale_result(patch: pytest.MonkeyPatch) -> None:
    """A result that came late or twice is judged like any other."""
    real = Arrivals.finished

    def finished(self: Arrivals, message: Any) -> None:
        slot = self._roster.slots.get(message.record.slot)
        if slot is not None and self._departures.holder(message.record) is None:
            self._judge(slot, message.record, message.error, begun=message.begun, ended=message.ended)
        real(self, message)

    patch.setattr(Arrivals, "finished", finished)


@planted
def stale_epoch(patch: pytest.MonkeyPatch) -> None:
    """A breaker does not ask to which of its stays a result belongs."""
    success, failure = CircuitBreaker.record_success, CircuitBreaker.record_failure
    patch.setattr(CircuitBreaker, "record_success", lambda self, epoch, now: success(self, self.epoch, now))
    patch.setattr(CircuitBreaker, "record_failure", lambda self, epoch, now: failure(self, self.epoch, now))


@planted
def counted_down_twice(patch: pytest.MonkeyPatch) -> None:
    """An attempt that is given up is taken off the connections twice."""
    real = Arrivals.given_up

    def given_up(self: Arrivals, slot: BackendSlot, record: Any, error: Any) -> None:
        real(self, slot, record, error)
        connections = self._departures._table.connections
        if connections[slot.name]:
            connections.end(slot.name)

    patch.setattr(Arrivals, "given_up", given_up)


@planted
def in_flight_leaked(patch: pytest.MonkeyPatch) -> None:
    """An attempt that died with its backend's actor before it began stays counted."""

    def orphaned(self: Arrivals, slot: BackendSlot, record: Any, *, in_hand: bool) -> None:
        if record.flight.revoke_unclaimed(record):
            self._departures.queue(record.flight)

    patch.setattr(Arrivals, "orphaned", orphaned)
