"""Planted bugs: small patches to the real code, applied in memory, one for each thing that can go wrong in it."""

from __future__ import annotations

import builtins
import heapq
import weakref
from collections.abc import Callable
from typing import Any

import pytest
from attrs import evolve, frozen

from showcaller.actors import arrivals, departures, routing, seat
from showcaller.actors.arrivals import Arrivals
from showcaller.actors.deduplicator import Deduplicator
from showcaller.actors.departures import Departures
from showcaller.actors.enums import (
    BackendState,
    CircuitState,
    FallbackCause,
    LoadBalanceStrategy,
    RequestPriority,
)
from showcaller.actors.errors import ResponseValidationError
from showcaller.actors.fleet import Fleet
from showcaller.actors.flight import AttemptState, Flight
from showcaller.actors.health_monitor import HealthBoard
from showcaller.actors.kernel.cell import Cell
from showcaller.actors.kernel.child import Child, ChildState
from showcaller.actors.kernel.restart import GiveUp, RestartHistory
from showcaller.actors.messages import Observed
from showcaller.actors.needs import Needs
from showcaller.actors.policies import request_queue, retry
from showcaller.actors.policies.admission import Outlook
from showcaller.actors.policies.backend_health import BackendHealthMonitor
from showcaller.actors.policies.circuit_breaker import CircuitBreaker
from showcaller.actors.policies.health_window import HealthWindow
from showcaller.actors.policies.load_balancer import LoadBalancer
from showcaller.actors.policies.open_room import OpenRoom
from showcaller.actors.policies.peak_ewma import PeakEwma
from showcaller.actors.policies.quota_ledger import QuotaLedger, _Reservation
from showcaller.actors.policies.request_batcher import RequestBatcher
from showcaller.actors.policies.request_queue import RequestQueue
from showcaller.actors.policies.retry_budget import RetryBudget
from showcaller.actors.policies.slow_start import LEAST_SHARE
from showcaller.actors.routing import RoutingTable
from showcaller.actors.seat import Seat
from showcaller.actors.slot import BackendSlot
from showcaller.actors.supervisor import Supervisor
from showcaller.actors.ticket import Ticket
from showcaller.runtime import edge
from showcaller.runtime.batcher import Batcher
from showcaller.runtime.edge import Edge


@frozen
class Bug:
    """One patch.

    Attributes:
        name: of the bug.
        description: what is wrong, in one sentence.
        apply: makes it so, until the monkeypatch is undone.
    """

    name: str
    description: str
    apply: Callable[[pytest.MonkeyPatch], None]


BUGS: list[Bug] = []


def planted(apply: Callable[[pytest.MonkeyPatch], None]) -> Callable[[pytest.MonkeyPatch], None]:
    """Put a patch into the list, under its function's name and docstring."""
    assert apply.__doc__ is not None
    BUGS.append(Bug(apply.__name__, apply.__doc__, apply))
    return apply


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

    def decide(policy: Any, error: Any, *, idempotent: bool, **options: Any) -> Any:
        refused = isinstance(error, ResponseValidationError)
        return real(policy, error, idempotent=idempotent or refused, **options)

    patch.setattr(arrivals, "decide", decide)


@planted
def shared_whatever_the_checks(patch: pytest.MonkeyPatch) -> None:
    """Requests that differ in nothing but transforms and validators share an answer."""
    patch.setattr(edge, "fingerprint", lambda request: "")


@planted
def refused_and_not_paid(patch: pytest.MonkeyPatch) -> None:
    """The tokens of an answer that was refused are forgotten."""
    patch.setattr(Seat, "_refuse", lambda self, error, done, ended: self._report(error, begun=True))


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


# --- breakers ---


@planted
def probe_leaked(patch: pytest.MonkeyPatch) -> None:
    """An attempt that says nothing about its backend does not give its place as a probe back."""
    patch.setattr(CircuitBreaker, "release", lambda self, epoch: None)


@planted
def half_open_floods(patch: pytest.MonkeyPatch) -> None:
    """A half-open breaker admits everything."""

    def is_open(self: CircuitBreaker, now: float) -> bool:
        return self.state(now) is CircuitState.OPEN

    patch.setattr(CircuitBreaker, "is_open", is_open)


@planted
def open_left_early(patch: pytest.MonkeyPatch) -> None:
    """A breaker lets a probe through half a second before its time has passed."""
    real = CircuitBreaker.state
    patch.setattr(CircuitBreaker, "state", lambda self, now: real(self, now + 0.5))


@planted
def rate_ignored(patch: pytest.MonkeyPatch) -> None:
    """A breaker opens by failures in a row alone, however many there are between the successes."""
    patch.setattr(CircuitBreaker, "_fails_too_often", lambda self: False)


@planted
def window_without_end(patch: pytest.MonkeyPatch) -> None:
    """What has left a breaker's window, which is short here, still counts towards the share of failures."""
    real, init = CircuitBreaker._count, CircuitBreaker.__init__

    def count(self: CircuitBreaker, now: float, *, failures: int) -> None:
        began = self._slices[-1].turn * self._settings.window / 10 if self._slices else now
        real(self, began, failures=failures)

    def short(self: CircuitBreaker, settings: Any, **options: Any) -> None:
        init(self, evolve(settings, window=1.0), **options)

    patch.setattr(CircuitBreaker, "__init__", short)
    patch.setattr(CircuitBreaker, "_count", count)


# --- the retry budget ---


@planted
def retried_without_payment(patch: pytest.MonkeyPatch) -> None:
    """Nothing is withdrawn from the retry budget."""
    patch.setattr(RetryBudget, "withdraw", lambda self, now: None)


@planted
def budget_of_each_backend(patch: pytest.MonkeyPatch) -> None:
    """Each backend has a retry budget of its own."""
    real, budgets = Arrivals._after_failure, {}

    def after_failure(self: Arrivals, flight: Any, slot: Any, error: Any, *, committed: bool) -> None:
        shared, settings = self._roster.retry_budget, self._roster.config.runtime
        own = RetryBudget(share=settings.retry_budget, burst=settings.retry_burst)
        self._roster.retry_budget = budgets.setdefault(id(slot), own)
        real(self, flight, slot, error, committed=committed)
        self._roster.retry_budget = shared

    patch.setattr(Arrivals, "_after_failure", after_failure)


@planted
def budget_anew(patch: pytest.MonkeyPatch) -> None:
    """A new supervisor begins with a full retry budget."""
    real = Departures.take_over

    def take_over(self: Departures) -> None:
        settings = self._roster.config.runtime
        self._roster.retry_budget = RetryBudget(share=settings.retry_budget, burst=settings.retry_burst)
        real(self)

    patch.setattr(Departures, "take_over", take_over)


@planted
def starved_with_money_left(patch: pytest.MonkeyPatch) -> None:
    """The retry budget is said to be used up when some is left."""
    real = RetryBudget.can_pay
    patch.setattr(RetryBudget, "can_pay", lambda self, now: real(self, now) and self.level(now) >= 3.0)


# --- backends ---


@planted
def drained_and_still_picked(patch: pytest.MonkeyPatch) -> None:
    """A draining backend is eligible."""
    eligible, takes = BackendSlot.is_eligible, BackendSlot.takes

    def not_draining(real: Callable[..., bool]) -> Callable[..., bool]:
        def asked(self: BackendSlot, *args: Any) -> bool:
            draining, self.draining = self.draining, False
            try:
                return real(self, *args)
            finally:
                self.draining = draining

        return asked

    patch.setattr(BackendSlot, "is_eligible", not_draining(eligible))
    patch.setattr(BackendSlot, "takes", not_draining(takes))


@planted
def retry_after_ignored(patch: pytest.MonkeyPatch) -> None:
    """What a backend says about when to come back is forgotten."""
    real = Arrivals._judge

    def judge(self: Arrivals, slot: BackendSlot, *args: Any, **options: Any) -> None:
        before = slot.not_before
        real(self, slot, *args, **options)
        slot.not_before = before

    patch.setattr(Arrivals, "_judge", judge)


@planted
def overcommitted(patch: pytest.MonkeyPatch) -> None:
    """A backend gets one attempt more than it may have at once."""
    real = BackendSlot.is_eligible

    def is_eligible(self: BackendSlot, now: float) -> bool:
        flying = self.in_flight
        if len(flying) == self.config.max_parallel_requests:
            self.in_flight = dict(list(flying.items())[1:])
        try:
            return real(self, now)
        finally:
            self.in_flight = flying

    patch.setattr(BackendSlot, "is_eligible", is_eligible)


@planted
def hanging_seat_kept(patch: pytest.MonkeyPatch) -> None:
    """The supervisor never looks for attempts that do not come back."""
    patch.setattr(Departures, "sweep", lambda self, now, grace: [])


@planted
def wake_up_lost(patch: pytest.MonkeyPatch) -> None:
    """Nothing wakes the supervisor when a backend may be tried again."""
    patch.setattr(Supervisor, "_wake_in", lambda self, delay: None)


# --- routes ---


@planted
def priority_inversion(patch: pytest.MonkeyPatch) -> None:
    """The queue is first in, first out, whatever the priority."""

    def enqueue(self: RequestQueue[Any], item: Any) -> None:
        heapq.heappush(self._heaps[0], (item.order, item))

    patch.setattr(RequestQueue, "enqueue", enqueue)


@planted
def old_place_lost(patch: pytest.MonkeyPatch) -> None:
    """A flight that comes back to the queue stands behind those that came after it."""

    def enqueue(self: RequestQueue[Any], item: Any) -> None:
        again = 10**6 if getattr(item, "_numbers", 0) else 0
        heapq.heappush(self._heaps[item.priority], (item.order + again, item))

    patch.setattr(RequestQueue, "enqueue", enqueue)


@planted
def ageing_forgotten(patch: pytest.MonkeyPatch) -> None:
    """However long a request has waited, those of higher classes leave before it."""
    patch.setattr(request_queue, "effective_class", lambda priority, waited, ageing: priority)


@planted
def ageing_into_critical(patch: pytest.MonkeyPatch) -> None:
    """Who has waited long enough leaves before CRITICAL requests."""

    def effective_class(priority: int, waited: float, ageing: float) -> int:
        return min(RequestPriority.CRITICAL, priority + int(waited / ageing))

    patch.setattr(request_queue, "effective_class", effective_class)


@planted
def doomed_dispatched(patch: pytest.MonkeyPatch) -> None:
    """What no backend can answer in time is sent all the same."""
    patch.setattr(Departures, "_is_doomed", lambda self, flight, now: False)


@planted
def critical_share_ignored(patch: pytest.MonkeyPatch) -> None:
    """The other classes may take every place at the door."""
    real = OpenRoom.__init__

    def init(self: OpenRoom, settings: Any) -> None:
        real(self, settings)
        self._kept_requests = self._kept_bytes = 0

    patch.setattr(OpenRoom, "__init__", init)


@planted
def critical_waits_behind_all(patch: pytest.MonkeyPatch) -> None:
    """The door takes everybody for ahead of a CRITICAL request."""
    patch.setattr(Outlook, "ahead", lambda self, priority: sum(self.waiting))


def _choosing(patch: pytest.MonkeyPatch, strategy: LoadBalanceStrategy, choose: Callable[..., str]) -> None:
    real = LoadBalancer._choose

    def _choose(self: LoadBalancer, names: list[str], latency: Callable[[str], float | None]) -> str:
        return choose(self, names) if self.strategy is strategy else real(self, names, latency)

    patch.setattr(LoadBalancer, "_choose", _choose)


@planted
def weighted_drifts(patch: pytest.MonkeyPatch) -> None:
    """The credit of a chosen backend starts anew instead of being reduced, so that shares drift off."""

    def choose(self: LoadBalancer, names: list[str]) -> str:
        for name in names:
            self._credits[name] += self._weights[name]
        chosen = max(names, key=self._credits.__getitem__)
        self._credits[chosen] = 0.0
        return chosen

    _choosing(patch, LoadBalanceStrategy.WEIGHTED, choose)


@planted
def failover_out_of_order(patch: pytest.MonkeyPatch) -> None:
    """A failover route begins with its last backend."""
    _choosing(patch, LoadBalanceStrategy.FAILOVER, lambda self, names: names[-1])


@planted
def most_connections(patch: pytest.MonkeyPatch) -> None:
    """Least connections is by the number of connections alone, without the weights."""
    _choosing(
        patch,
        LoadBalanceStrategy.LEAST_CONNECTIONS,
        lambda self, names: min(names, key=self.connections.__getitem__),
    )


@planted
def slowest_first(patch: pytest.MonkeyPatch) -> None:
    """Least latency takes the slowest."""
    real = LoadBalancer._cost

    def cost(self: LoadBalancer, name: str, latency: float | None) -> tuple[bool, float]:
        known, load = real(self, name, latency)
        return known, -load

    patch.setattr(LoadBalancer, "_cost", cost)


@planted
def latency_regardless_of_load(patch: pytest.MonkeyPatch) -> None:
    """Least latency does not count what is in flight already, so that the quickest gets everything."""
    patch.setattr(
        LoadBalancer,
        "_cost",
        lambda self, name, latency: (latency is None and self.connections[name] > 0, latency or 0.0),
    )


@planted
def latency_never_forgotten(patch: pytest.MonkeyPatch) -> None:
    """A backend that was slow once is believed to be slow for ever, while it is left alone."""
    patch.setattr(PeakEwma, "read", lambda self, now: self._peak)


@planted
def peaks_smoothed_away(patch: pytest.MonkeyPatch) -> None:
    """A slow answer is averaged with those before it, as if it were an exception."""

    def observe(self: PeakEwma, seconds: float, now: float) -> None:
        before = seconds if self._peak is None else self._peak * self._weight(now)
        self._peak, self._at = 0.9 * before + 0.1 * seconds, now

    patch.setattr(PeakEwma, "observe", observe)


# --- quotas ---


@planted
def checked_now_and_spent_later(patch: pytest.MonkeyPatch) -> None:
    """A reservation only looks whether there is room, and what it takes is taken when it is settled."""

    def reserve(self: QuotaLedger, key: object, tokens: int, now: float) -> Any:
        refusal = self._refuse(float(tokens), now)
        if refusal is None:
            self._open[key] = _Reservation(0.0, self._number, tuple(window.turn for window in self._windows))
        return refusal

    def settle(self: QuotaLedger, key: object, tokens: int, now: float) -> None:
        if self._open.pop(key, None) is None:
            return
        for window in self._windows:
            window.used = min(window.limit, window.used + 1)
        for bucket, amount in ((self._requests, 1.0), (self._tokens, float(tokens))):
            if bucket is not None:
                bucket.level = max(0.0, bucket.level - amount)

    patch.setattr(QuotaLedger, "reserve", reserve)
    patch.setattr(QuotaLedger, "settle", settle)
    patch.setattr(QuotaLedger, "refund", lambda self, key, now: self._open.pop(key, None))


@planted
def refunded_never(patch: pytest.MonkeyPatch) -> None:
    """What an attempt that was not carried out has reserved is not given back."""

    def free(self: Departures, slot: BackendSlot, record: Any, *, tokens: int | None) -> None:
        self.release(slot, record)
        slot.breaker.release(record.epoch)

    patch.setattr(Departures, "free", free)


@planted
def refunded_twice(patch: pytest.MonkeyPatch) -> None:
    """What an attempt that was not carried out has reserved is given back twice."""
    real = QuotaLedger.refund

    def refund(self: QuotaLedger, key: object, now: float) -> None:
        known = self._open.get(key)
        real(self, key, now)
        if known is not None:
            self._open[key] = known
            real(self, key, now)

    patch.setattr(QuotaLedger, "refund", refund)


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


# --- health ---


@planted
def health_flaps(patch: pytest.MonkeyPatch) -> None:
    """A backend's state is left as soon as its rate has passed a threshold, without a margin."""
    real = HealthWindow.state.fget
    assert real is not None

    def state(self: HealthWindow) -> BackendState:
        before, self._before = self._before, BackendState.UNKNOWN
        try:
            return real(self)
        finally:
            self._before = before

    patch.setattr(HealthWindow, "state", property(state))


@planted
def health_told_again(patch: pytest.MonkeyPatch) -> None:
    """The supervisor is told of a backend's state whenever something was observed, changed or not."""
    real = HealthBoard.take_changes

    def take_changes(self: HealthBoard) -> Any:
        self._told.clear()
        return real(self)

    patch.setattr(HealthBoard, "take_changes", take_changes)


@planted
def health_of_the_removed(patch: pytest.MonkeyPatch) -> None:
    """A backend that is added again has the health of the one that had its name."""
    patch.setattr(BackendHealthMonitor, "forget", lambda self, backend: None)


@planted
def all_ejected(patch: pytest.MonkeyPatch) -> None:
    """Every unhealthy backend is left out, however few remain to carry what all have carried."""
    patch.setattr(routing, "ejected", lambda unhealthy, of: set(unhealthy))


@planted
def none_ejected(patch: pytest.MonkeyPatch) -> None:
    """An unhealthy backend gets its share as if it were well."""
    patch.setattr(routing, "ejected", lambda unhealthy, of: set())


@planted
def health_of_the_namesake(patch: pytest.MonkeyPatch) -> None:
    """What the attempts of a removed backend show is held against the one that has its name now."""
    real = HealthBoard.hear

    def hear(self: HealthBoard, message: Observed) -> None:
        if self._last() is message:
            return
        ids = {name: slot.id for name, slot in self._find_slots().items()}
        real(self, Observed(tuple(evolve(s, slot=ids.get(s.backend, s.slot)) for s in message.observations)))
        self._last = weakref.ref(message)

    patch.setattr(HealthBoard, "hear", hear)


@planted
def drained_and_probed(patch: pytest.MonkeyPatch) -> None:
    """A backend that takes no attempts is probed all the same."""
    patch.setattr(BackendSlot, "takes_probe", lambda self, now: self.probe is None or self.probe.done)


@planted
def probes_pile_up(patch: pytest.MonkeyPatch) -> None:
    """A backend is probed although a probe of it is under way."""
    real = BackendSlot.takes_probe

    def takes_probe(self: BackendSlot, now: float) -> bool:
        probe, self.probe = self.probe, None
        try:
            return real(self, now)
        finally:
            self.probe = probe

    patch.setattr(BackendSlot, "takes_probe", takes_probe)


@planted
def slow_for_ever(patch: pytest.MonkeyPatch) -> None:
    """A backend that has come back never gets more than what it begins with."""
    patch.setattr(
        BackendSlot, "warmth", lambda self, now, window: 1.0 if self.warming_since is None else LEAST_SHARE
    )


@planted
def restarted_at_full_speed(patch: pytest.MonkeyPatch) -> None:
    """A backend whose actor has been restarted gets its whole share at once."""
    real = Supervisor.on_restart_due

    def on_restart_due(self: Supervisor, due: Any) -> None:
        before = {slot: slot.warming_since for slot in self._roster.slots.values()}
        real(self, due)
        for slot, since in before.items():
            slot.warming_since = since

    patch.setattr(Supervisor, "on_restart_due", on_restart_due)


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


# --- supervision ---


@planted
def escalation_reported_twice(patch: pytest.MonkeyPatch) -> None:
    """Whoever is to be told that a backend was given up is told so twice."""
    real = Fleet._report

    def report(self: Fleet, slot: BackendSlot, child: Child, decision: Any) -> None:
        real(self, slot, child, decision)
        if isinstance(decision, GiveUp):
            real(self, slot, child, decision)

    patch.setattr(Fleet, "_report", report)


@planted
def reset_keeps_the_crashes(patch: pytest.MonkeyPatch) -> None:
    """A backend that was reset is started, and its earlier crashes still count."""
    patch.setattr(RestartHistory, "clear", lambda self: None)


@planted
def reset_leaves_the_breaker_open(patch: pytest.MonkeyPatch) -> None:
    """A backend that was reset gets no probe before its breaker's time."""
    patch.setattr(CircuitBreaker, "let_probe", lambda self, now: None)


@planted
def restart_counted_twice(patch: pytest.MonkeyPatch) -> None:
    """Each crash is counted twice, so that a slot is given up too early."""
    real = RestartHistory.crashed

    def crashed(self: RestartHistory, now: float, rng: Any) -> Any:
        decision = real(self, now, rng)
        self._crashes.append(now)
        return decision

    patch.setattr(RestartHistory, "crashed", crashed)


@planted
def restarted_for_ever(patch: pytest.MonkeyPatch) -> None:
    """The backoff of a restart does not grow, and no slot is ever given up."""
    real = RestartHistory.crashed

    def crashed(self: RestartHistory, now: float, rng: Any) -> Any:
        self._crashes.clear()
        return real(self, now, rng)

    patch.setattr(RestartHistory, "crashed", crashed)


@planted
def down_lost_in_on_start(patch: pytest.MonkeyPatch) -> None:
    """An incarnation that dies in on_start does not tell its parent."""
    real = Cell.turn

    def turn(self: Cell, messages: int) -> None:
        if self.phase != "__init__":
            real(self, messages)
            return
        report, self._report = self._report, lambda down: None  # type: ignore[method-assign]
        real(self, messages)
        if not self.ended.is_set():
            self._report = report  # type: ignore[method-assign]

    patch.setattr(Cell, "turn", turn)


@planted
def two_downs(patch: pytest.MonkeyPatch) -> None:
    """An incarnation that crashes tells its parent twice."""
    real = Cell.end

    def end(self: Cell) -> None:
        first = not self.ended.is_set()
        real(self)
        if first and self._generation_died:  # type: ignore[attr-defined]
            self._ending.release()
            real(self)

    patch.setattr(Cell, "end", end)
    crashed = Cell.crashed

    def died(self: Cell, error: BaseException) -> None:
        self._generation_died = True  # type: ignore[attr-defined]
        crashed(self, error)

    patch.setattr(Cell, "_generation_died", False, raising=False)
    patch.setattr(Cell, "crashed", died)


@planted
def two_incarnations(patch: pytest.MonkeyPatch) -> None:
    """A slot is started again although it runs, when its new supervisor and its old timer both say so."""
    real = Child.on_restart_due

    def on_restart_due(self: Child, due: Any) -> bool:
        if self.state is ChildState.RUNNING:
            self.start()
            return True
        return real(self, due)

    patch.setattr(Child, "on_restart_due", on_restart_due)


@planted
def orphan_not_committed(patch: pytest.MonkeyPatch) -> None:
    """An attempt that has begun to stream may be taken back, and its request sent to another backend."""
    real = Flight.next_attempt

    def next_attempt(self: Flight, *args: Any, **options: Any) -> Any:
        committed = [a for a in self._attempts.values() if a.state is AttemptState.COMMITTED]
        for attempt in committed:
            attempt.state = AttemptState.CLAIMED
        try:
            return real(self, *args, **options)
        finally:
            for attempt in committed:
                attempt.state = AttemptState.COMMITTED

    patch.setattr(Flight, "next_attempt", next_attempt)


# --- fallbacks and what a request needs ---


@planted
def fallback_restarts_the_count(patch: pytest.MonkeyPatch) -> None:
    """What has failed in a request's own lane is forgotten with its first fallback."""
    real, gone_on = RoutingTable.next_departure, set()

    def next_departure(self: RoutingTable, now: float) -> Any:
        departure = real(self, now)
        if departure is not None and departure[2] != departure[0].lane and departure[0] not in gone_on:
            gone_on.add(departure[0])
            departure[0].tries.clear()
        return departure

    patch.setattr(RoutingTable, "next_departure", next_departure)


@planted
def smaller_window_after_a_bigger_one(patch: pytest.MonkeyPatch) -> None:
    """What was too long for one backend may go to one that declares no bigger window."""
    patch.setattr(Needs, "too_long_for", lambda self, window: self)


@planted
def capability_ignored(patch: pytest.MonkeyPatch) -> None:
    """A request may go to a backend that does not support what it needs."""
    patch.setattr(Needs, "are_met_by", lambda self, backend: self.fit(backend))


@planted
def window_ignored(patch: pytest.MonkeyPatch) -> None:
    """A request may go to a backend that cannot hold it."""
    patch.setattr(Needs, "fit", lambda self, backend: True)


@planted
def fallback_skipped_while_cooling(patch: pytest.MonkeyPatch) -> None:
    """A lane whose backends are cooling keeps its requests as if they were merely full."""
    patch.setattr(BackendSlot, "is_full", lambda self, now: not self.is_eligible(now))


@planted
def fallback_taken_while_full(patch: pytest.MonkeyPatch) -> None:
    """A lane whose backends are merely full does not keep its requests."""
    patch.setattr(BackendSlot, "is_full", lambda self, now: False)


@planted
def any_fallback_for_any_cause(patch: pytest.MonkeyPatch) -> None:
    """What a content filter has refused, or what was too long, goes on to the general fallbacks."""
    patch.setattr(departures, "cause_of", lambda error: FallbackCause.FAILURE)
