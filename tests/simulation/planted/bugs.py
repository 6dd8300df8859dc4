"""Planted bugs: small patches to the real code, applied in memory, one for each thing that can go wrong in it."""

from __future__ import annotations

import builtins
import heapq
from collections.abc import Callable
from typing import Any

import pytest
from attrs import evolve, frozen

from showcaller.actors import arrivals, departures
from showcaller.actors.arrivals import Arrivals
from showcaller.actors.deduplicator import Deduplicator
from showcaller.actors.departures import Departures
from showcaller.actors.enums import BackendState, CircuitState, LoadBalanceStrategy
from showcaller.actors.flight import AttemptState, Flight
from showcaller.actors.health_monitor import HealthBoard
from showcaller.actors.kernel.cell import Cell
from showcaller.actors.kernel.child import Child, ChildState
from showcaller.actors.kernel.restart import RestartHistory
from showcaller.actors.policies import retry
from showcaller.actors.policies.backend_health import BackendHealthMonitor
from showcaller.actors.policies.circuit_breaker import CircuitBreaker
from showcaller.actors.policies.health_window import HealthWindow
from showcaller.actors.policies.load_balancer import LoadBalancer
from showcaller.actors.policies.peak_ewma import PeakEwma
from showcaller.actors.policies.quota_ledger import QuotaLedger, _Reservation
from showcaller.actors.policies.request_queue import RequestQueue
from showcaller.actors.policies.retry_budget import RetryBudget
from showcaller.actors.seat import Seat
from showcaller.actors.slot import BackendSlot
from showcaller.actors.supervisor import Supervisor
from showcaller.actors.ticket import Ticket
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
        heapq.heappush(self._heap, (0, item.order, item))

    patch.setattr(RequestQueue, "enqueue", enqueue)


@planted
def old_place_lost(patch: pytest.MonkeyPatch) -> None:
    """A flight that comes back to the queue stands behind those that came after it."""

    def enqueue(self: RequestQueue[Any], item: Any) -> None:
        again = 10**6 if getattr(item, "_numbers", 0) else 0
        heapq.heappush(self._heap, (-item.priority, item.order + again, item))

    patch.setattr(RequestQueue, "enqueue", enqueue)


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


# --- supervision ---


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
