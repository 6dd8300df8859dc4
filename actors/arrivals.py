"""Arrivals: what the end of an attempt says about its backend, and what follows for its flight.

Half of the supervisor's state; Departures is the other.
"""

from __future__ import annotations

from showcaller.actors.account import observation_of, settlement_of
from showcaller.actors.attempt import AttemptRecord, AttemptState
from showcaller.actors.departures import Departures
from showcaller.actors.errors import (
    BackendCrashedError,
    BackendRetiredError,
    BackendTimeoutError,
    RateLimitError,
    RequestCancelledError,
    ShowcallerError,
)
from showcaller.actors.flight import Flight
from showcaller.actors.kernel.message import Recipient
from showcaller.actors.kernel.system import ActorSystem
from showcaller.actors.log import (
    ATTEMPT_FAILED,
    BACKEND_RETIRED,
    BREAKER_CLOSED,
    BREAKER_OPENED,
    SEAT_ABANDONED,
)
from showcaller.actors.messages import AttemptFinished, RetryDue
from showcaller.actors.policies.retry import NO_BUDGET, Retry, RetryPolicy, decide
from showcaller.actors.reasons import final_error, interrupted, not_retried, out_of_time
from showcaller.actors.roster import Roster
from showcaller.actors.slot import BackendSlot

MAX_CRASHES = 2
"""That many deaths of a backend under one request are enough: the request may be the cause."""
RATE_LIMIT_PAUSE = 0.5
"""Seconds for which a backend gets nothing when it has answered its only attempt with a 429 that does not say for how
long: it would be always free, and asked before those that have something to do."""


class Arrivals:
    """See the module's text.

    Args:
        system: clock and randomness.
        roster: slots and outbox.
        departures: where a flight goes that is to be tried again.
        supervisor: who is told when a backoff has passed.
        retries: how failed attempts are repeated.
    """

    def __init__(
        self,
        system: ActorSystem,
        roster: Roster,
        departures: Departures,
        *,
        supervisor: Recipient,
        retries: RetryPolicy,
    ) -> None:
        self._clock = system.clock
        self._rng = system.rng
        self._roster = roster
        self._departures = departures
        self._supervisor = supervisor
        self._retries = retries

    def finished(self, message: AttemptFinished) -> None:
        """An attempt has ended and its seat is free."""
        record, error = message.record, message.error
        slot = self._departures.holder(record)
        if slot is None:
            gone = self._roster.slots.get(record.slot)
            if gone is not None:
                gone.abandoned.discard(record.key)
            return
        flight = record.flight
        committed = record.state is AttemptState.COMMITTED
        flight.ended(record)
        self._departures.release(slot, record)
        self._judge(slot, record, error, begun=message.begun, ended=message.ended)
        self._learn_latency(slot, message)
        self._departures.settle(slot, record, settlement_of(message, slot.name))
        if message.begun:
            impatient = _is_impatient(record, error, message.ended)
            self._roster.outbox.observe(
                observation_of(message, slot.name, self._clock.wall(), slot=slot.id, impatient=impatient)
            )
        if error is not None:
            self._departures.divert(record, slot, error)
            self._after_failure(flight, slot, error, committed=committed)

    def _judge(
        self,
        slot: BackendSlot,
        record: AttemptRecord,
        error: ShowcallerError | None,
        *,
        begun: bool,
        ended: float,
    ) -> None:
        """What the end of an attempt says about its backend."""
        now = self._clock.now()
        impatient = _is_impatient(record, error, ended)
        if error is not None:
            ATTEMPT_FAILED.say(record.flight.id, record.number, slot.name, error.message)
        if isinstance(error, BackendRetiredError):
            slot.retired = True
            self._departures.changed()
            BACKEND_RETIRED.say(slot.name, error.message)
        if isinstance(error, RateLimitError):
            # With others in flight it was one too many, and there is room when one of them has ended.
            pause = 0.0 if slot.in_flight else RATE_LIMIT_PAUSE
            slot.not_before = max(slot.not_before, now + (error.retry_after or pause))
            self._departures.cooled()
        epoch = slot.breaker.epoch
        if begun and (error is None or record.answered):
            # An answer that was refused by the caller's own check is one all the same.
            slot.breaker.record_success(record.epoch, now)
            if slot.breaker.epoch != epoch:
                BREAKER_CLOSED.say(slot.name)
                slot.warm_up(now)
                slot.pardoned = True
        elif error is not None and error.blames_backend and not impatient:
            slot.pardoned = False
            slot.breaker.record_failure(record.epoch, now)
            if slot.breaker.epoch != epoch:
                BREAKER_OPENED.say(slot.name, (slot.breaker.open_until or now) - now, error.message)
                self._departures.cooled()
        else:
            slot.breaker.release(record.epoch)

    def _learn_latency(self, slot: BackendSlot, message: AttemptFinished) -> None:
        """What an attempt says about how quick its backend is; a caller's mistake and a plea for a pause: nothing.

        But a plea that does not say for how long is a failure here: who turns everything away at once has never
        anything to do, and would be asked before all others.
        """
        error, now, stream = message.error, self._clock.now(), message.record.flight.stream is not None
        impatient = _is_impatient(message.record, error, message.ended)
        if error is None and message.begun:
            self._departures.answered(message.record.flight, message.latency)
        turned_away = isinstance(error, RateLimitError) and not error.retry_after
        if error is not None and (error.blames_backend or turned_away) and not impatient:
            slot.latency.failed(message.latency, now)
        elif stream and message.first_token is not None:
            slot.latency.began(message.first_token, now)
        elif message.usage is not None:
            slot.latency.answered(message.latency, message.usage.output_tokens, now)
        elif impatient:
            slot.latency.gave_up(message.latency, now, stream=stream)
        elif isinstance(error, RequestCancelledError):
            slot.latency.cancelled(message.latency, now, stream=stream)

    def _after_failure(
        self, flight: Flight, slot: BackendSlot, error: ShowcallerError, *, committed: bool
    ) -> None:
        if flight.done:
            return
        flight.errors.append(error.copy())
        flight.tries[slot.name] += 1
        here = error.retry_here and flight.tries[slot.name] <= slot.config.max_retries
        if not here:
            self._departures.bar(flight, slot)
        if error.maybe_executed and not self._is_idempotent(flight, slot):
            flight.repeatable = False
        if committed:
            flight.interrupt(lambda partial: interrupted(flight, error, partial))
            return
        if flight.live or flight.queued:
            return
        now = self._clock.now()
        if flight.fail(out_of_time(flight), expired_by=now):
            return
        if flight.crashes >= MAX_CRASHES:
            flight.fail(final_error(flight))
            return
        here = here and not slot.out_of_service
        candidates = self._departures.candidates(flight)
        untried = any(not flight.tries[other.name] for other in candidates)
        if here and error.retry_after is None:
            # Rather a pause and then whoever is free, than at once the same again.
            untried = self._departures.can_go_on(flight, now)
        decision = decide(
            self._retries,
            error,
            failures=flight.tries.total(),
            repeatable=flight.repeatable,
            here=here,
            others=untried,
            remaining=flight.deadline - now,
            can_pay=self._roster.retry_budget.can_pay(now),
            rng=self._rng,
            again=any(other is not slot for other in candidates),
        )
        if not isinstance(decision, Retry):
            flight.fail(not_retried(flight, decision) if decision == NO_BUDGET else final_error(flight))
            return
        if decision.delay > 0:
            self._clock.call_later(decision.delay, self._supervisor, RetryDue(flight))
        else:
            self._departures.queue(flight)
        # Not earlier: it may have been queued in vain, and then there is no retry.
        if decision.paid and not flight.done:
            self._roster.retry_budget.withdraw(now)

    def given_up(self, slot: BackendSlot, record: AttemptRecord, error: ShowcallerError) -> None:
        """Count on an attempt no longer, whatever its seat does."""
        flight = record.flight
        committed = record.state is AttemptState.COMMITTED
        flight.revoke(record)
        if record.seat is not None:
            slot.abandoned.add(record.key)
            slot.workers.abandon(record.seat)
            self._departures.changed()
        if error.blames_backend:
            SEAT_ABANDONED.say(slot.name)
            now = self._clock.now()
            slot.pardoned = False
            slot.breaker.record_failure(record.epoch, now)
            self._departures.cooled()
            slot.latency.failed(slot.config.timeout.total, now)
            lost = AttemptFinished(
                record=record, error=error, begun=True, latency=slot.config.timeout.total, ended=now
            )
            self._roster.outbox.observe(
                observation_of(lost, slot.name, self._clock.wall(), slot=slot.id, impatient=False)
            )
        self._departures.free(slot, record, tokens=record.tokens if record.dispatched else None)
        self._after_failure(flight, slot, error, committed=committed)

    def orphaned(self, slot: BackendSlot, record: AttemptRecord, *, in_hand: bool) -> None:
        """The actor that was given an attempt has died.

        What was not claimed goes elsewhere. What was may still answer, and a request that may be repeated
        does not wait for that alone: the first answer wins.
        """
        flight = record.flight
        unclaimed = flight.revoke_unclaimed(record)
        if unclaimed or record.is_void:
            self._departures.free(slot, record, tokens=None)
        if not unclaimed and (
            record.state is not AttemptState.CLAIMED or not self._is_idempotent(flight, slot)
        ):
            return
        if in_hand or not unclaimed:
            flight.crashes += 1
            flight.tries[slot.name] += 1
            flight.errors.append(
                BackendCrashedError(
                    f"{slot.name}: its actor died holding attempt {record.number}",
                    backend=slot.name,
                    maybe_executed=not unclaimed,
                )
            )
        if flight.crashes < MAX_CRASHES:
            self._departures.queue(flight)
        elif not flight.live:
            flight.fail(final_error(flight))

    def _is_idempotent(self, flight: Flight, slot: BackendSlot) -> bool:
        wanted = flight.request.idempotent
        return slot.config.idempotent if wanted is None else wanted


def _is_impatient(record: AttemptRecord, error: ShowcallerError | None, ended: float) -> bool:
    """Was it the caller's deadline that came, and not the backend that let its own time pass?"""
    # The flight's deadline may be a later one by now: that of an identical request, which has joined since.
    deadline = record.deadline if record.hurried else record.flight.deadline
    return isinstance(error, BackendTimeoutError) and ended >= deadline
