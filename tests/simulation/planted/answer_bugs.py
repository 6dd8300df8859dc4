"""Bugs of what is done with answers, and of batches."""

from __future__ import annotations

from typing import Any

import pytest
from attrs import evolve

from showcaller.actors import arrivals, seat
from showcaller.actors.deduplicator import Deduplicator
from showcaller.actors.errors import ResponseValidationError
from showcaller.actors.flight import Flight
from showcaller.actors.policies import retry
from showcaller.actors.policies.request_batcher import RequestBatcher
from showcaller.actors.seat import Seat
from showcaller.actors.ticket import Ticket
from showcaller.runtime import edge
from showcaller.runtime.batcher import Batcher
from showcaller.runtime.edge import Edge
from tests.simulation.planted.bug import planted

# --- the checks of answers ---


@planted
def refusal_ignored_in_the_end(patch: pytest.MonkeyPatch) -> None:
    """What a validator says is heard of the first attempt only."""
    real = seat.check

    def check(request: Any, response: Any) -> Any:
        return real(evolve(request, validators=()) if response.attempts > 1 else request, response)

    patch.setattr(seat, "check", check)


@planted
def validated_before_it_is_transformed(patch: pytest.MonkeyPatch) -> None:
    """Validators see the text as the backend sent it."""
    real = seat.check

    def check(request: Any, response: Any) -> Any:
        real(evolve(request, transforms=()), response)
        return real(evolve(request, validators=()), response)

    patch.setattr(seat, "check", check)


@planted
def repeated_for_its_answer(patch: pytest.MonkeyPatch) -> None:
    """A request that is not idempotent is sent again because its answer was refused."""
    real = retry.decide

    def decide(policy: Any, error: Any, *, repeatable: bool, **options: Any) -> Any:
        refused = isinstance(error, ResponseValidationError)
        return real(policy, error, repeatable=repeatable or refused, **options)

    patch.setattr(arrivals, "decide", decide)


@planted
def shared_whatever_the_checks(patch: pytest.MonkeyPatch) -> None:
    """Requests that differ in nothing but transforms and validators share an answer."""
    patch.setattr(edge, "fingerprint", lambda request: "")


@planted
def refused_and_not_paid(patch: pytest.MonkeyPatch) -> None:
    """The tokens of an answer that was refused are forgotten."""
    patch.setattr(Seat, "_refuse", lambda self, error, done, ended: self._report(error, begun=True))


# --- the deduplicator ---


@planted
def poisoned_key(patch: pytest.MonkeyPatch) -> None:
    """A call that is over stays the one that identical requests are given to, and takes them in."""
    real = Flight.attach

    def attach(self: Flight, ticket: Ticket) -> bool:
        if self.done and self.stream is None:
            ticket.flight = self
            return True
        return real(self, ticket)

    patch.setattr(Deduplicator, "on_flight_done", lambda self, message: None)
    patch.setattr(Flight, "attach", attach)


@planted
def never_shared(patch: pytest.MonkeyPatch) -> None:
    """Identical requests that are under way at the same time are all sent."""
    patch.setattr(Flight, "take_in", lambda self, other: False)


@planted
def shared_without_a_look(patch: pytest.MonkeyPatch) -> None:
    """Requests that may be shared get each other's answers whatever they ask for."""
    real = Edge._key_of

    def key_of(self: Edge, request: Any, lane: str, stream: bool) -> bytes | None:
        return None if real(self, request, lane, stream) is None else f"{lane} {stream}".encode()

    patch.setattr(Edge, "_key_of", key_of)


# --- batches ---


@planted
def item_lost_from_a_full_batch(patch: pytest.MonkeyPatch) -> None:
    """The last of a batch that is full is not among those that leave."""
    _lose_the_last(patch, full=True)


@planted
def item_lost_by_the_timer(patch: pytest.MonkeyPatch) -> None:
    """The last of a batch that leaves because of its age is forgotten."""
    _lose_the_last(patch, full=False)


def _lose_the_last(patch: pytest.MonkeyPatch, *, full: bool) -> None:
    real = RequestBatcher.get_batch

    def get_batch(self: RequestBatcher, now: float, *, flush: bool = False) -> Any:
        batch = real(self, now, flush=flush)
        if batch is None or (len(batch.requests) == self._max_size) is not full:
            return batch
        return evolve(batch, requests=batch.requests[:-1])

    patch.setattr(RequestBatcher, "get_batch", get_batch)


@planted
def batch_timer_not_set_again(patch: pytest.MonkeyPatch) -> None:
    """When a batch has left, nobody sees to the time of what comes after it."""
    real = Batcher._set_timer

    def set_timer(self: Batcher, now: float) -> None:
        if self._batcher._batches == 0:
            real(self, now)

    patch.setattr(Batcher, "_set_timer", set_timer)
