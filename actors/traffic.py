"""The traffic of attempts: from the queue to a reservation, to a backend, and back with what follows.

The supervisor's state object. Every attempt that is reserved is held by its slot until it ends in exactly
one of `taken_back`, `finished` and `given_up`; each of them settles its reservation and its breaker.
"""

from __future__ import annotations

import contextlib

from pykka import ActorDeadError

from showcaller.actors.account import observation_of, settlement_of
from showcaller.actors.errors import (
    BackendCrashedError,
    BackendRetiredError,
    BackendTimeoutError,
    BudgetExceededError,
    RateLimitError,
    ShowcallerError,
)
from showcaller.actors.flight import AttemptRecord, AttemptState, Flight
from showcaller.actors.kernel.message import Recipient
from showcaller.actors.kernel.system import ActorSystem
from showcaller.actors.log import (
    ATTEMPT_FAILED,
    BACKEND_RETIRED,
    BREAKER_CLOSED,
    BREAKER_OPENED,
    SEAT_ABANDONED,
)
from showcaller.actors.messages import AttemptFinished, Execute, Refused, Reserve, RetryDue, Settlement
from showcaller.actors.policies.retry import Retry, RetryPolicy, decide
from showcaller.actors.reasons import final_error, interrupted, nothing_in_service, too_late
from showcaller.actors.roster import Roster
from showcaller.actors.routing import RoutingTable
from showcaller.actors.slot import BackendSlot
from showcaller.actors.transport import Attempt

MAX_CRASHES = 2
"""That many deaths of a backend under one request are enough: the request may be the cause."""
ANSWER_TOKENS = 1024
"""What an answer is reserved at when the request sets no max_tokens."""
RESERVE_SECONDS = 5.0
"""An attempt that was neither granted nor refused after that time is taken back."""


class Traffic:
    """See the module's text.

    Args:
        system: clock and randomness.
        roster: slots, open flights and outbox.
        supervisor: who is told when a backoff has passed.
        quota: who grants reservations.
        retries: how failed attempts are repeated.
    """

    def __init__(
        self,
        system: ActorSystem,
        roster: Roster,
        *,
        supervisor: Recipient,
        quota: Recipient,
        retries: RetryPolicy,
    ) -> None:
        self._clock = system.clock
        self._rng = system.rng
        self._roster = roster
        self._supervisor = supervisor
        self._quota = quota
        self._retries = retries
        self._table = RoutingTable(roster, system.rng)
        self._closed_until = 0.0
        self._closed_by: str | None = None
        self._changed = False

    def take_over(self) -> None:
        """Rebuild from the roster: what is in flight is waited for, the rest begun anew in its old order."""
        for slot in self._roster.slots.values():
            for record in list(slot.in_flight.values()):
                self._table.connections.start(slot.name)
                if record.flight.revoke_unclaimed(record):
                    self._free(slot, record, tokens=None)
        for flight in self._roster.flights.in_order():
            flight.queued = False
            if flight.admitted and not flight.live:
                self.queue(flight)

    # --- departure ---

    def admit(self, flight: Flight) -> None:
        """A flight comes in; a second time changes nothing."""
        if not flight.admitted:
            flight.admitted = True
            self.queue(flight)

    def queue(self, flight: Flight) -> None:
        """Let a flight wait for a backend, or fail it when waiting is in vain."""
        if flight.done or flight.queued:
            return
        vain = self._in_vain(flight)
        if vain is None:
            self._table.enqueue(flight)
        elif not flight.live:
            flight.fail(vain)

    def _in_vain(self, flight: Flight) -> ShowcallerError | None:
        slots = self._table.slots_of(flight)
        if all(slot.out_of_service for slot in slots):
            return final_error(flight) if flight.barred else nothing_in_service(flight, slots)
        now = self._clock.now()
        earliest = self._table.earliest(flight, now)
        limit = self._closed_by if earliest < self._closed_until else None
        earliest = max(earliest, self._closed_until)
        if earliest > now and earliest >= flight.deadline:
            return too_late(flight, earliest - now, limit)
        return None

    def requeue_all(self) -> None:
        """The backends have changed: let every waiting flight find its lane again."""
        for flight in self._table.reroute():
            self.queue(flight)

    def changed(self) -> None:
        """A backend went out of service, perhaps: who waits for it in vain is told so."""
        self._changed = True

    def resort(self) -> None:
        """Priorities have changed."""
        self._table.purge()

    def pump(self) -> float | None:
        """Let every flight go that can; seconds until time alone may free another, or None."""
        if self._changed:
            self._changed = False
            self.requeue_all()
        now = self._clock.now()
        while now >= self._closed_until and (departure := self._table.next_departure(now)):
            self._reserve(*departure, now)
        if not self._table.waiting:
            return None
        chances = [at for slot in self._roster.slots.values() if (at := slot.next_chance(now)) is not None]
        if now < self._closed_until:
            chances.append(self._closed_until)
        return min(chances) - now if chances else None

    def _reserve(self, flight: Flight, slot: BackendSlot, now: float) -> None:
        request = flight.request
        tokens = request.input_tokens_estimate + (request.max_tokens or ANSWER_TOKENS)
        epoch = slot.breaker.admit(now)
        record = flight.next_attempt(
            slot.name, generation=slot.generation, epoch=epoch, tokens=tokens, deadline=now + RESERVE_SECONDS
        )
        if record is None:
            slot.breaker.release(epoch)
            return
        slot.in_flight[record.key] = record
        self._table.connections.start(slot.name)
        self._quota.tell(Reserve(record, slot.name, tokens))

    def granted(self, record: AttemptRecord) -> None:
        """The attempt is paid for: look again, and let it go or give the money back."""
        slot = self._holder(record)
        if slot is None:
            self._roster.outbox.settle(Settlement(key=record.key, backend=record.slot, tokens=None))
            return
        if record.dispatched:
            # Granted twice, because the one who granted it or dispatched it has died in between.
            return
        flight, now = record.flight, self._clock.now()
        deadline = min(flight.deadline, now + slot.config.timeout.total)
        if not slot.takes(record, now) or not flight.dispatched(record, deadline):
            self.taken_back(slot, record)
            return
        attempt = Attempt(
            request_id=flight.id,
            number=record.number,
            backend=slot.name,
            payload=flight.request.payload,
            stream=flight.stream is not None,
            deadline=deadline,
            timeout=slot.config.timeout,
            cancel=record.scope,
        )
        # When it has just died, its Down is on the way, and takes back what was dispatched and not claimed.
        with contextlib.suppress(ActorDeadError):
            slot.tell(Execute(record, attempt))

    def refused(self, message: Refused) -> None:
        """The attempt cannot be paid for: its scope sleeps, and the flight gets its old place back."""
        record = message.attempt
        slot = self._holder(record)
        if slot is None:
            return
        flight, until = record.flight, self._clock.now() + message.retry_after
        if message.scope != slot.name:
            if until > self._closed_until:
                self._closed_until, self._closed_by = until, message.limit
                self._changed = True
        elif until < flight.deadline:
            slot.quota_until = max(slot.quota_until, until)
        else:
            # It alone cannot wait so long; what is there may do for a smaller one.
            self._bar(flight, slot)
            flight.errors.append(
                BudgetExceededError(
                    f"{slot.name}: its limit {message.limit} has no room for request {flight.id} for "
                    f"{message.retry_after:.0f} s more; raise the limit or the timeout",
                    backend=slot.name,
                    retry_after=message.retry_after,
                )
            )
        self.taken_back(slot, record)

    def taken_back(self, slot: BackendSlot, record: AttemptRecord) -> None:
        """An attempt that was not begun: everything as before, and its flight back in the queue."""
        record.flight.revoke(record)
        self._free(slot, record, tokens=None)
        self.queue(record.flight)

    def _free(self, slot: BackendSlot, record: AttemptRecord, *, tokens: int | None) -> None:
        """Nothing is known of the backend from this attempt, which spent `tokens` or was not carried out."""
        self._release(slot, record)
        slot.breaker.release(record.epoch)
        self._roster.outbox.settle(Settlement(key=record.key, backend=slot.name, tokens=tokens))

    # --- arrival ---

    def finished(self, message: AttemptFinished) -> None:
        """An attempt has ended and its seat is free."""
        record, error = message.record, message.error
        slot = self._holder(record)
        if slot is None:
            gone = self._roster.slots.get(record.slot)
            if gone is not None:
                gone.abandoned.discard(record.key)
            return
        flight = record.flight
        committed = record.state is AttemptState.COMMITTED
        flight.ended(record)
        self._release(slot, record)
        self._judge(slot, record, error, begun=message.begun, ended=message.ended)
        settlement = settlement_of(message, slot.name)
        self._roster.outbox.settle(settlement)
        self._reopen(slot, settlement, record)
        if message.begun:
            self._roster.outbox.observe(observation_of(message, slot.name, self._clock.wall()))
        if error is not None:
            self._after_failure(flight, slot, error, committed=committed)

    def _reopen(self, slot: BackendSlot, settlement: Settlement, record: AttemptRecord) -> None:
        """Who was refused may ask again when something was given back; the settlement goes first."""
        now = self._clock.now()
        if settlement.tokens is not None and settlement.tokens >= record.tokens:
            return
        if slot.quota_until > now:
            slot.quota_until = 0.0
            self._roster.outbox.flush()
        if settlement.tokens is None and self._closed_until > now:
            self._closed_until = 0.0
            self._roster.outbox.flush()

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
        impatient = isinstance(error, BackendTimeoutError) and ended >= record.flight.deadline
        if error is not None:
            ATTEMPT_FAILED.say(record.flight.id, record.number, slot.name, error.message)
        if isinstance(error, BackendRetiredError):
            slot.retired = self._changed = True
            BACKEND_RETIRED.say(slot.name, error.message)
        if isinstance(error, RateLimitError) and error.retry_after is not None:
            slot.not_before = max(slot.not_before, now + error.retry_after)
        epoch = slot.breaker.epoch
        if error is None and begun:
            slot.breaker.record_success(record.epoch)
            if slot.breaker.epoch != epoch:
                BREAKER_CLOSED.say(slot.name)
        elif error is not None and error.blames_backend and not impatient:
            slot.breaker.record_failure(record.epoch, now)
            if slot.breaker.epoch != epoch:
                BREAKER_OPENED.say(slot.name, (slot.breaker.open_until or now) - now, error.message)
        else:
            slot.breaker.release(record.epoch)

    def _after_failure(
        self, flight: Flight, slot: BackendSlot, error: ShowcallerError, *, committed: bool
    ) -> None:
        if flight.done:
            return
        flight.errors.append(error)
        flight.tries[slot.name] += 1
        here = error.retry_here and flight.tries[slot.name] <= slot.config.max_retries
        if not here:
            self._bar(flight, slot)
        if committed:
            flight.fail(interrupted(flight, error))
            return
        if flight.live or flight.queued:
            return
        now = self._clock.now()
        if now >= flight.deadline:
            # The edge says so, to everyone who waits.
            return
        here = here and not slot.out_of_service
        others = [
            other
            for other in self._table.slots_of(flight)
            if not other.out_of_service and not flight.tries[other.name]
        ]
        if here and error.retry_after is None:
            # Rather a pause and then whoever is free, than at once the same again.
            others = [other for other in others if other.is_eligible(now)]
        decision = decide(
            self._retries,
            error,
            failures=flight.tries.total(),
            idempotent=self._is_idempotent(flight, slot),
            here=here,
            others=bool(others),
            remaining=flight.deadline - now,
            rng=self._rng,
        )
        if not isinstance(decision, Retry):
            flight.fail(final_error(flight))
        elif decision.delay > 0:
            self._clock.call_later(decision.delay, self._supervisor, RetryDue(flight))
        else:
            self.queue(flight)

    def given_up(self, slot: BackendSlot, record: AttemptRecord, error: ShowcallerError) -> None:
        """Count on an attempt no longer, whatever its seat does."""
        flight = record.flight
        committed = record.state is AttemptState.COMMITTED
        flight.revoke(record)
        if record.seat is not None:
            slot.abandoned.add(record.key)
            slot.workers.abandon(record.seat)
        if error.blames_backend:
            SEAT_ABANDONED.say(slot.name)
            slot.breaker.record_failure(record.epoch, self._clock.now())
        self._free(slot, record, tokens=record.tokens)
        self._after_failure(flight, slot, error, committed=committed)

    def orphaned(self, slot: BackendSlot, record: AttemptRecord, *, in_hand: bool) -> None:
        """The actor that was given an attempt has died.

        What was not claimed goes elsewhere. What was may still answer, and a request that may be repeated
        does not wait for that alone: the first answer wins.
        """
        flight = record.flight
        unclaimed = flight.revoke_unclaimed(record)
        if unclaimed:
            self._free(slot, record, tokens=None)
        elif record.state is not AttemptState.CLAIMED or not self._is_idempotent(flight, slot):
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
            self.queue(flight)
        elif not flight.live:
            flight.fail(final_error(flight))

    def sweep(self, now: float, grace: float) -> list[tuple[BackendSlot, AttemptRecord]]:
        """Let go of what is done or got no reply; the attempts that are overdue by `grace` seconds."""
        self._table.purge()
        overdue = []
        for slot in self._roster.slots.values():
            for record in list(slot.in_flight.values()):
                if not record.dispatched:
                    if now > record.deadline:
                        self.taken_back(slot, record)
                elif now > record.deadline + grace:
                    overdue.append((slot, record))
        return overdue

    @property
    def is_idle(self) -> bool:
        """Is there nothing that a sweep could find?"""
        return not self._table.waiting and not any(slot.in_flight for slot in self._roster.slots.values())

    # --- small things ---

    def _holder(self, record: AttemptRecord) -> BackendSlot | None:
        slot = self._roster.slots.get(record.slot)
        return slot if slot is not None and slot.in_flight.get(record.key) is record else None

    def _bar(self, flight: Flight, slot: BackendSlot) -> None:
        flight.barred |= {slot.name}
        if flight.queued:
            # It waits in the wrong place now.
            self._changed = True

    def _release(self, slot: BackendSlot, record: AttemptRecord) -> None:
        del slot.in_flight[record.key]
        self._table.connections.end(slot.name)

    def _is_idempotent(self, flight: Flight, slot: BackendSlot) -> bool:
        wanted = flight.request.idempotent
        return slot.config.idempotent if wanted is None else wanted
