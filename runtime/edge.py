"""The edge of the runtime: the door that refuses or accepts, the table of open tickets, and their deadlines.

Only the door refuses. What it has accepted gets its outcome even when every actor is stuck, because the
deadlines are kept by the clock's own thread.
"""

from __future__ import annotations

import hashlib
import itertools
import threading
from collections.abc import Callable

from attrs import frozen

from showcaller.actors.answer_checks import fingerprint
from showcaller.actors.errors import (
    ConfigurationError,
    DeadlineExceededError,
    RequestCancelledError,
    RuntimeStoppedError,
    ShowcallerError,
)
from showcaller.actors.flight import Flight
from showcaller.actors.flight_table import FlightTable
from showcaller.actors.kernel import fork
from showcaller.actors.kernel.clock import Clock, Timer
from showcaller.actors.kernel.context import about_to_wait
from showcaller.actors.kernel.message import Message, Recipient
from showcaller.actors.kernel.workers import Workers
from showcaller.actors.messages import Coalesce, FlightDone, Route, Withdrawn
from showcaller.actors.models import Answered, ChatRequest, Errored, Outcome
from showcaller.actors.needs import Needs
from showcaller.actors.policies.open_room import OpenRoom
from showcaller.actors.roster import Roster
from showcaller.actors.settings import RuntimeSettings
from showcaller.actors.suitability import lanes_for
from showcaller.actors.ticket import Ticket
from showcaller.runtime.pending import Pending, call_back


@frozen(eq=False)
class Expire(Message):
    """The deadline of a request has come. It names the ticket: an id may be in use again by then."""

    ticket: Ticket


@frozen(kw_only=True)
class Account:
    """What the edge has done so far; accepted = answered + failed + open, always."""

    accepted: int
    answered: int
    failed: int
    open: int
    refused: int


class _Entry:
    __slots__ = ("pending", "size", "ticket", "timer")

    def __init__(self, ticket: Ticket, pending: Pending, size: int, timer: Timer) -> None:
        self.ticket = ticket
        self.pending = pending
        self.size = size
        self.timer = timer


class Edge:
    """Where requests come in and outcomes go out.

    Args:
        settings: bounds and default deadline.
        clock: keeps the deadlines.
        roster: what names stand for.
        flights: where accepted flights are kept for the supervisor.
        deduplicator, supervisor: who takes the flights.
        callbacks: the threads that run the caller's functions.
        name: begins the ids of requests.
    """

    def __init__(
        self,
        settings: RuntimeSettings,
        *,
        clock: Clock,
        roster: Roster,
        flights: FlightTable,
        deduplicator: Recipient,
        supervisor: Recipient,
        callbacks: Workers,
        name: str,
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._roster = roster
        self._flights = flights
        self._deduplicator = deduplicator
        self._supervisor = supervisor
        self._callbacks = callbacks
        self._name = name
        self._born = fork.generation()
        self._orders = itertools.count(1)
        self._lock = threading.Lock()
        self._nothing_open = threading.Condition(self._lock)
        self._open: dict[str, _Entry] = {}
        self._room = OpenRoom(settings)
        self._accepted = self._answered = self._failed = self._refused = 0
        self._closed: ShowcallerError | None = None

    @property
    def account(self) -> Account:
        """The counts of this moment."""
        with self._lock:
            return Account(
                accepted=self._accepted,
                answered=self._answered,
                failed=self._failed,
                open=len(self._open),
                refused=self._refused,
            )

    def accept(
        self,
        request: ChatRequest,
        *,
        stream: bool = False,
        share: bool = True,
        timeout: float | None = None,
        on_outcome: Callable[[Outcome], object] | None = None,
    ) -> tuple[Ticket, Pending]:
        """Accept a request, or refuse it.

        Args:
            request: what is asked.
            stream: are chunks wanted?
            share: may it share an upstream call, if its `coalesce` allows?
            timeout: seconds until its deadline; None: what it says itself, or the configured one.
            on_outcome: called with the outcome on a callback thread.

        Raises:
            UnknownModelError: nothing has the model's name.
            ContextWindowExceededError: it is too long for everything that it could go to.
            ConfigurationError: nothing that it could go to supports what it needs.
            OverloadedError: too much is open, or too many wait for it to be answered in time.
            RuntimeStoppedError: the runtime has stopped, or is about to.
            ForkedProcessError: the process was forked since the start.
        """
        fork.refuse_if_forked(self._born)
        lane = self._roster.config.route_for(request.model)
        needs = Needs.of(request)
        lanes = lanes_for(self._roster, lane, needs)
        order = next(self._orders)
        context = request.context
        request_id = f"{self._name}-{order}" if context is None else context.request_id
        now = self._clock.now()
        if timeout is None:
            timeout = self._settings.timeout if request.timeout is None else request.timeout

        def deliver(outcome: Outcome) -> None:
            self._leave(request_id, outcome)
            pending.settle(outcome)
            if on_outcome is not None:
                call_back(self._callbacks, on_outcome, outcome)

        ticket = Ticket(
            request_id, priority=request.priority, created=now, deadline=now + timeout, deliver=deliver
        )
        pending = Pending(request_id, lambda: self._end(ticket, _cancelled), self._callbacks)
        key = self._key_of(request, lane.name, stream) if share else None
        flight = Flight(
            ticket,
            request,
            order=order,
            lane=lane.name,
            key=key,
            stream=stream,
            on_done=self._flight_done,
            lanes=lanes,
            needs=needs,
        )
        self._enter(ticket, pending, len(request.payload), timeout, lane.name)
        self._flights.add(flight)
        if flight.done:
            # It has ended since it entered: nobody else will take it off the table.
            self._flights.discard(flight)
        if key is None:
            self._supervisor.tell(Route(flight))
        else:
            self._deduplicator.tell(Coalesce(flight))
        return ticket, pending

    def _key_of(self, request: ChatRequest, lane: str, stream: bool) -> bytes | None:
        wanted = request.deterministic if request.coalesce is None else request.coalesce
        if not wanted:
            return None
        tenant = "" if request.context is None else request.context.tenant or ""
        digest = hashlib.sha256(f"{tenant}\0{lane}\0{stream}\0{request.idempotent}\0".encode())
        if request.transforms or request.validators:
            digest.update(f"{fingerprint(request)}\0".encode())
        digest.update(request.payload)
        return digest.digest()

    def _enter(self, ticket: Ticket, pending: Pending, size: int, timeout: float, lane: str) -> None:
        outlook = self._roster.outlooks.get(lane)
        with self._lock:
            refusal: ShowcallerError | None = self._room.refusal(ticket.priority, size)
            if self._closed is not None:
                refusal = self._closed.copy()
            elif refusal is None and outlook is not None:
                refusal = outlook.refusal(lane, ticket.priority, timeout, ticket.created)
            if refusal is None and ticket.request_id in self._open:
                refusal = ConfigurationError(
                    f"context.request_id: {ticket.request_id!r} is open already; give each request its own"
                )
            if refusal is not None:
                self._refused += 1
                raise refusal
            timer = self._clock.call_later(timeout, self, Expire(ticket))
            self._open[ticket.request_id] = _Entry(ticket, pending, size, timer)
            self._room.take(ticket.priority, size)
            self._accepted += 1

    def _leave(self, request_id: str, outcome: Outcome) -> None:
        with self._lock:
            entry = self._open.pop(request_id)
            self._room.leave(entry.ticket.priority, entry.size)
            if isinstance(outcome, Answered):
                self._answered += 1
            else:
                self._failed += 1
            if not self._open:
                self._nothing_open.notify_all()
        entry.timer.cancel()

    def _flight_done(self, flight: Flight) -> None:
        self._flights.discard(flight)
        if flight.key is not None:
            self._deduplicator.tell(FlightDone(flight.key, flight))

    def tell(self, message: Expire) -> None:
        """A deadline has come; on the clock's thread."""
        self._end(message.ticket, self._expired)

    def _expired(self, ticket: Ticket) -> ShowcallerError:
        flight = ticket.flight
        tried = "" if flight is None or not flight.errors else f"; before that: {flight.errors[-1].message}"
        where = (
            "it was still queued" if flight is not None and flight.queued else "its backend had not answered"
        )
        return DeadlineExceededError(
            f"request {ticket.request_id} had no outcome within {ticket.deadline - ticket.created:g} s: {where}; "
            f"raise its timeout, or see runtime.status(){tried}",
            maybe_executed=flight is not None and flight.dispatches > 0,
        )

    def cancel(self, request_id: str) -> bool:
        """Give a request up; False when it is not open.

        Raises:
            ForkedProcessError: the process was forked since the start.
        """
        fork.refuse_if_forked(self._born)
        entry = self._open.get(request_id)
        return entry is not None and self._end(entry.ticket, _cancelled)

    def _end(self, ticket: Ticket, error_of: Callable[[Ticket], ShowcallerError]) -> bool:
        if ticket.done:
            return False
        error = error_of(ticket)
        if not ticket.complete(Errored(ticket.request_id, error)):
            return False
        flight = ticket.flight
        if flight is not None and flight.detach(ticket, error):
            self._supervisor.tell(Withdrawn(flight))
        return True

    def close(self, error: RuntimeStoppedError) -> None:
        """Accept nothing any more: everyone who comes gets `error`."""
        with self._lock:
            self._closed = error

    def wait_until_empty(self, timeout: float) -> bool:
        """Wait until nothing is open, at most `timeout` seconds."""
        left = about_to_wait("waiting for open requests", lambda: not self._open, timeout)
        with self._lock:
            return self._nothing_open.wait_for(lambda: not self._open, left)

    def fail_all(self, error: ShowcallerError) -> None:
        """Give everything that is open this error."""
        for entry in list(self._open.values()):
            self._end(entry.ticket, lambda ticket: error.copy())


def _cancelled(ticket: Ticket) -> ShowcallerError:
    return RequestCancelledError(f"request {ticket.request_id} was cancelled")
