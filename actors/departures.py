"""Departures: from the queue to a reservation, and from the grant to a backend.

Half of the supervisor's state; Arrivals is the other. An attempt that is reserved is held by its slot until
it ends in exactly one of `take_back`, `Arrivals.finished` and `Arrivals.given_up`; each settles its reservation
and its breaker.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

from pykka import ActorDeadError

from showcaller.actors.attempt import AttemptRecord
from showcaller.actors.enums import FallbackCause
from showcaller.actors.errors import BudgetExceededError, ShowcallerError
from showcaller.actors.flight import Flight
from showcaller.actors.kernel.message import Recipient
from showcaller.actors.kernel.system import ActorSystem
from showcaller.actors.limit_pauses import LimitPauses
from showcaller.actors.messages import Execute, Refused, Reserve, Settlement
from showcaller.actors.policies.retry import cause_of
from showcaller.actors.reasons import doomed, final_error, nothing_in_service, too_late
from showcaller.actors.roster import Roster
from showcaller.actors.routing import Departure, RoutingTable, may_have
from showcaller.actors.slot import BackendSlot
from showcaller.actors.transport import Attempt

ANSWER_TOKENS = 1024
"""What an answer is reserved at when the request sets no max_tokens."""
RESERVE_SECONDS = 5.0
"""An attempt that was neither granted nor refused after that time is taken back."""


class Departures:
    """See the module's text.

    Args:
        system: clock and randomness.
        roster: slots, open flights and outbox.
        quota: who grants reservations.
    """

    def __init__(self, system: ActorSystem, roster: Roster, quota: Recipient) -> None:
        self._clock = system.clock
        self._roster = roster
        self._quota = quota
        self._table = RoutingTable(roster, system.rng)
        self._closed_until = 0.0
        self._closed_by: str | None = None
        self._changed = False
        self._cooled = False
        self._unsorted = False
        self._pauses = LimitPauses(system.clock, roster.config.runtime.ageing)

    def take_over(self) -> None:
        """Rebuild from the roster: what is in flight is waited for, the rest begun anew in its old order."""
        for slot in self._roster.slots.values():
            self._pauses.end(slot)
            for record in list(slot.in_flight.values()):
                self._table.connections.start(slot.name)
                if record.flight.revoke_unclaimed(record) or record.is_void:
                    self.free(slot, record, tokens=None)
        for flight in self._roster.flights.in_order():
            flight.queued = False
            if flight.admitted and not flight.live:
                self.queue(flight)

    def admit(self, flight: Flight) -> None:
        """A flight comes in; a second time changes nothing."""
        if not flight.admitted:
            flight.admitted = True
            self.queue(flight)
            if flight.queued:
                self._table.admission(flight.lane).arrived()

    def queue(self, flight: Flight) -> None:
        """Let a flight wait for a backend, or fail it when waiting is in vain."""
        if flight.done or flight.queued:
            return
        slots = self._table.slots_of(flight)
        self._pauses.end_for(flight, slots)
        vain = self._in_vain(flight, slots)
        if vain is None:
            self._table.enqueue(flight, slots)
        elif not flight.live:
            flight.fail(vain)

    def _in_vain(self, flight: Flight, slots: Sequence[BackendSlot]) -> ShowcallerError | None:
        in_service = [slot for slot in slots if not slot.out_of_service]
        if not in_service:
            if flight.barred:
                return final_error(flight)
            return nothing_in_service(flight, self._table.slots_in_reach(flight))
        now = self._clock.now()
        earliest = min([slot.next_chance(now) or now for slot in in_service])
        limit = self._closed_by if earliest < self._closed_until else None
        earliest = max(earliest, self._closed_until)
        if earliest > now and earliest >= flight.deadline:
            return too_late(flight, earliest - now, limit, slots, now)
        return None

    def _requeue_all(self) -> None:
        """The backends have changed: let every waiting flight find its lane again."""
        for flight in self._table.reroute():
            self.queue(flight)

    def changed(self) -> None:
        """A backend went out of service, perhaps: who waits for it in vain is told so."""
        self._changed = True

    def cooled(self) -> None:
        """A backend takes nothing for a while: who has less time than that is told so with the next sweep."""
        self._cooled = True

    def _tell_in_vain(self) -> None:
        for flight in self._table.queued():
            vain = self._in_vain(flight, self._table.slots_of(flight))
            if vain is not None and not flight.live:
                flight.fail(vain)

    def resort(self) -> None:
        """Priorities have changed: nobody leaves in the old order."""
        self._unsorted = True

    def pump(self) -> float | None:
        """Let every flight go that can; seconds until time alone may free another, or None."""
        if self._changed:
            self._changed = False
            self._requeue_all()
        now = self._clock.now()
        self._pauses.end_idle()
        # Not before somebody can leave: thousands may become more urgent while all backends are busy.
        if self._unsorted and any(slot.is_eligible(now) for slot in self._roster.slots.values()):
            self._regroup()
        while now >= self._closed_until and (departure := self._table.next_departure(now)):
            if not self._is_doomed(departure, now):
                self._reserve(departure, now)
        self._table.look_out(now)
        if not self._table.waiting:
            return None
        chances = [at for slot in self._roster.slots.values() if (at := slot.next_chance(now)) is not None]
        if now < self._closed_until:
            chances.append(self._closed_until)
        return min(chances) - now if chances else None

    def _is_doomed(self, departure: Departure, now: float) -> bool:
        """Can no backend of its lane answer it in time, as far as is known? Then it ends here, without a call."""
        flight = departure.flight
        if departure.slot.latency.may_take(flight.deadline - now):
            return False
        least = self._table.least_time(departure.able, now)
        if least is None or now + least <= flight.deadline:
            return False
        return bool(flight.live) or flight.fail(doomed(flight, least, now), expired_by=now + least)

    def answered(self, flight: Flight, seconds: float) -> None:
        """An attempt of a flight has answered after so many seconds."""
        self._table.admission(flight.lane).answered(seconds, self._clock.now())

    def _reserve(self, departure: Departure, now: float) -> None:
        flight, slot, lane, _ = departure
        request = flight.request
        tokens = request.input_tokens_estimate + (request.max_tokens or ANSWER_TOKENS)
        epoch = slot.breaker.admit(now)
        record = flight.next_attempt(
            slot.name,
            generation=slot.generation,
            epoch=epoch,
            tokens=tokens,
            deadline=now + RESERVE_SECONDS,
            lane=lane,
        )
        if record is None:
            slot.breaker.release(epoch)
            return
        slot.in_flight[record.key] = record
        self._table.connections.start(slot.name)
        self._quota.tell(Reserve(record, slot.name, tokens))

    def granted(self, record: AttemptRecord) -> None:
        """The attempt is paid for: look again, and let it go or give the money back."""
        slot = self.holder(record)
        if slot is None:
            self._roster.outbox.settle(Settlement(key=record.key, backend=record.slot, tokens=None))
            return
        if record.dispatched:
            # Granted twice, because the one who granted it or dispatched it has died in between.
            return
        flight, now = record.flight, self._clock.now()
        own_time = now + slot.config.timeout.total
        deadline = min(flight.deadline, own_time)
        # Another attempt may have shown meanwhile that it can be cured elsewhere only.
        astray = record.lane not in flight.lanes or not may_have(slot, flight)
        if astray or not slot.takes(record, now) or not flight.dispatched(record, deadline):
            self.take_back(slot, record)
            return
        record.hurried = deadline < own_time
        self._pauses.end_of(flight)
        slot.latency.sent(record, now, stream=flight.stream is not None)
        if flight.dispatches == 1:
            self._roster.retry_budget.deposit(now)
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
        slot = self.holder(record)
        if slot is None:
            return
        flight, until = record.flight, self._clock.now() + message.retry_after
        if message.backend is None:
            if until > self._closed_until:
                self._closed_until, self._closed_by = until, message.limit
                self._changed = True
        elif until < flight.deadline:
            if self._pauses.begin(slot, flight, until):
                self._table.regroup(slot)
        else:
            # It alone cannot wait so long; what is there may do for a smaller one.
            self.bar(flight, slot)
            flight.errors.append(
                BudgetExceededError(
                    f"{slot.name}: its limit {message.limit} has no room for request {flight.id} for "
                    f"{message.retry_after:.0f} s more; raise the limit or the timeout",
                    backend=slot.name,
                    retry_after=message.retry_after,
                )
            )
        self.take_back(slot, record)

    def take_back(self, slot: BackendSlot, record: AttemptRecord) -> None:
        """An attempt that was not begun: everything as before, and its flight back in the queue."""
        record.flight.revoke(record)
        self.free(slot, record, tokens=None)
        self.queue(record.flight)

    def free(self, slot: BackendSlot, record: AttemptRecord, *, tokens: int | None) -> None:
        """Nothing is known of the backend from this attempt, which spent `tokens` or was not carried out."""
        self.release(slot, record)
        slot.breaker.release(record.epoch)
        self._roster.outbox.settle(Settlement(key=record.key, backend=slot.name, tokens=tokens))

    def _regroup(self) -> None:
        self._unsorted = False
        self._table.regroup()

    def sweep(self, now: float, grace: float) -> list[tuple[BackendSlot, AttemptRecord]]:
        """Let go of what is done or got no reply; the attempts that are overdue by `grace` seconds."""
        self._regroup()
        if self._cooled:
            self._cooled = False
            self._tell_in_vain()
        overdue = []
        for slot in self._roster.slots.values():
            for record in list(slot.in_flight.values()):
                if not record.dispatched:
                    if now > record.deadline:
                        self.take_back(slot, record)
                elif now > record.deadline + grace:
                    overdue.append((slot, record))
        return overdue

    @property
    def is_idle(self) -> bool:
        """Is there nothing that a sweep could find?"""
        return not self._table.waiting and not any(slot.in_flight for slot in self._roster.slots.values())

    def candidates(self, flight: Flight) -> list[BackendSlot]:
        """The slots in service that a flight may be given to, now or later."""
        return [slot for slot in self._table.slots_of(flight) if not slot.out_of_service]

    def can_go_on(self, flight: Flight, now: float) -> bool:
        """Can a flight go to a backend now that it has not tried?"""
        return self._table.can_go_on(flight, now)

    def divert(self, record: AttemptRecord, slot: BackendSlot, error: ShowcallerError) -> None:
        """An attempt has failed of what only one kind of fallback can cure: nothing else is left to its flight."""
        flight, cause = record.flight, cause_of(error)
        if cause is FallbackCause.FAILURE:
            return
        lanes_of = self._roster.config.lanes_of
        flight.lanes = tuple(dict.fromkeys([*lanes_of(record.lane, cause), *lanes_of(flight.lane, cause)]))
        if cause is FallbackCause.CONTEXT_WINDOW:
            flight.needs = flight.needs.too_long_for(slot.config.context_window)

    def holder(self, record: AttemptRecord) -> BackendSlot | None:
        """The slot that holds an attempt; None when it has ended, or the slot is gone."""
        slot = self._roster.slots.get(record.slot)
        return slot if slot is not None and slot.in_flight.get(record.key) is record else None

    def bar(self, flight: Flight, slot: BackendSlot) -> None:
        """Give a flight to this slot no more."""
        flight.barred |= {slot.id}
        if flight.queued:
            # It waits in the wrong place now.
            self._changed = True

    def release(self, slot: BackendSlot, record: AttemptRecord) -> None:
        """The slot holds an attempt no longer."""
        slot.latency.ended(record, stream=record.flight.stream is not None)
        # The seat holds the record: a reference cycle, which only the garbage collector would free.
        record.seat = None
        del slot.in_flight[record.key]
        self._table.connections.end(slot.name)

    def settle(self, slot: BackendSlot, record: AttemptRecord, settlement: Settlement) -> None:
        """An attempt has spent what it has; who was refused may ask again when something was given back."""
        self._roster.outbox.settle(settlement)
        now = self._clock.now()
        if settlement.tokens is not None and settlement.tokens >= record.tokens:
            return
        if slot.quota_until > now:
            self._pauses.end(slot)
            self._roster.outbox.flush()
        if settlement.tokens is None and self._closed_until > now:
            self._closed_until = 0.0
            self._roster.outbox.flush()
