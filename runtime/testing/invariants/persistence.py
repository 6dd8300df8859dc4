"""Persistence: no request is given up while a backend could take it and nothing speaks against asking it."""

from __future__ import annotations

from typing import Any

from showcaller.actors.attempt import AttemptState
from showcaller.actors.enums import BackendState
from showcaller.actors.errors import BackendError, DeadlineExceededError, RequestCancelledError
from showcaller.actors.flight import Flight
from showcaller.actors.messages import AttemptFinished, Granted, Refused, RetryDue, Route
from showcaller.actors.models import Errored
from showcaller.actors.policies.retry import RetryPolicy
from showcaller.runtime.testing.invariants.fallbacks import suited, within_reach
from showcaller.runtime.testing.invariants.findings import Findings
from showcaller.runtime.testing.invariants.view import View
from showcaller.runtime.tree import Tree

LONGEST_BACKOFF = RetryPolicy().max_delay
"""Seconds that a retry at the same backend waits at the most, when that has not said for how long."""


class PersistenceChecks:
    """Watches what the supervisor gives up."""

    def __init__(self, view: View, findings: Findings) -> None:
        self._view = view
        self._findings = findings
        self._open: Flight | None = None
        self._can_pay = False

    def before_step(self, message: Any) -> None:
        """The supervisor is about to handle a message."""
        tree, self._open = self._view.tree, None
        match message:
            case Route(flight=flight) | RetryDue(flight=flight):
                pass
            case Granted(attempt=record) | Refused(attempt=record):
                flight = record.flight
            case AttemptFinished(record=record, error=BackendError(retry_elsewhere=True)):
                if record.state is AttemptState.COMMITTED:
                    return
                flight = record.flight
            case _:
                return
        if tree is not None and not flight.done:
            self._open = flight
            self._can_pay = tree.roster.retry_budget.can_pay(self._view.clock.now())

    def after_step(self, message: Any, *, crashed: bool) -> None:
        """It was handled, or the supervisor has died of it."""
        flight, self._open = self._open, None
        tree = self._view.tree
        if flight is None or tree is None or crashed or not flight.done or not self._has_failed(flight):
            return
        supervisor, now = self._view.actor("supervisor"), self._view.clock.now()
        if supervisor is None or supervisor._stopping or now < supervisor._departures._closed_until:
            return
        if isinstance(message, AttemptFinished):
            able = self._could_go_on(flight, message, tree, now)
        else:
            able = _could_wait_for(flight, tree, now)
        least = supervisor._departures._table.least_time(able, now) or 0.0
        # A strategy of the user's that fails is the end of its request, too.
        wrong = any(not isinstance(error, BackendError) for error in flight.errors)
        if able and not wrong and now + least < flight.deadline:
            self._findings.say(
                "given up",
                f"request {flight.id}",
                f"was given up after {len(flight.errors)} failures, and {able[0]} could have been asked",
            )

    def _has_failed(self, flight: Flight) -> bool:
        """Is that the outcome, and not that it was answered, cancelled or late while the supervisor was busy?"""
        outcomes = [sent.decided for sent in self._view.simulation.door.requests if sent.flight is flight]
        return any(
            isinstance(one, Errored)
            and not isinstance(one.error, DeadlineExceededError | RequestCancelledError)
            for one in outcomes
        )

    def _could_go_on(self, flight: Flight, message: AttemptFinished, tree: Tree, now: float) -> list[str]:
        """Those to which a flight could go after a failure: at once to another, or later to the same."""
        slots, wanted = tree.roster.slots, flight.request.idempotent
        repeatable = wanted or (
            wanted is None and all(name in slots and slots[name].config.idempotent for name in flight.tries)
        )
        if (
            not self._can_pay
            or flight.crashes
            or flight.tries.total() > self._view.simulation.config.runtime.num_retries
            or (not repeatable and any(error.maybe_executed for error in flight.errors))
        ):
            return []
        others = [
            name
            for name in within_reach(flight, tree, now)
            if not flight.tries[name] and slots[name].health is not BackendState.UNHEALTHY
        ]
        same, error = slots.get(message.record.slot), message.error
        if others or same is None or error is None or not error.retry_here or same.out_of_service:
            return others
        pause = LONGEST_BACKOFF if error.retry_after is None else error.retry_after
        in_time = max(now + pause, same.next_chance(now) or now) < flight.deadline
        return [same.name] if in_time and flight.tries[same.name] <= same.config.max_retries else []


def _could_wait_for(flight: Flight, tree: Tree, now: float) -> list[str]:
    """Those in service that can be asked before its deadline."""
    return [
        slot.name
        for lane in flight.lanes
        for slot in suited(flight, lane, tree.roster.config, tree)
        if not slot.out_of_service and (slot.next_chance(now) or now) < flight.deadline
    ]
