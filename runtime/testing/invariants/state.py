"""The tree's own state at rest: nothing that is open is lost, and nothing that is over is still counted."""

from __future__ import annotations

from typing import Any

from showcaller.actors.attempt import LIVE
from showcaller.actors.enums import CircuitState
from showcaller.actors.flight import Flight
from showcaller.actors.kernel.child import ChildState
from showcaller.actors.messages import Coalesce, FlightDone, Key, Reserve, RetryDue, Route, Settle
from showcaller.actors.slot import BackendSlot
from showcaller.actors.supervisor import GRACE, SWEEP_SECONDS
from showcaller.runtime.testing.invariants.fallbacks import within_reach
from showcaller.runtime.testing.invariants.findings import Findings
from showcaller.runtime.testing.invariants.view import View

SLACK = 5.0
"""Seconds of delay, beyond what the rules say, that a slow or restarted supervisor may cause."""
ROUNDING = 1e-6


class StateChecks:
    """Looks at everything, when nothing can happen without time passing."""

    def __init__(self, view: View, findings: Findings) -> None:
        self._view = view
        self._findings = findings
        self._arrived: set[int] = set()
        self._overdue: dict[Key, float] = {}
        self._hurried: dict[int, float] = {}

    def arrived(self, flight: Flight) -> None:
        """A flight has come into an actor's mailbox."""
        self._arrived.add(flight.order)

    def look(self) -> None:
        """See that all is as it should be."""
        view = self._view
        self._check_calls()
        self._check_deduplicator()
        supervisor = view.actor("supervisor")
        if supervisor is None or supervisor._stopping or view.waiting("supervisor"):
            return
        timers = [timer for _, _, timer in view.clock.timers._heap if timer.recipient is not None]
        self._check_flights(supervisor, timers)
        self._check_slots(supervisor)
        self._check_queues(supervisor, timers)
        self._check_timers(supervisor, timers)
        self._check_reservations()

    # --- flights ---

    def _check_flights(self, supervisor: Any, timers: list[Any]) -> None:
        tree = self._view.tree
        assert tree is not None
        flights = list(tree.flights._flights.values())
        if not flights:
            return
        held = {id(record) for slot in tree.roster.slots.values() for record in slot.in_flight.values()}
        retried = {id(t.message.flight): t for t in timers if isinstance(t.message, RetryDue)}
        lanes = supervisor._departures._table._lanes.values()
        queues = [queue for lane in lanes for queue in lane.queues.values()]
        queued = {id(item) for queue in queues for heap in queue._heaps for _, item in heap}
        for flight in flights:
            if flight.done:
                self._say(flight, "over", "is over, and still in the table of open flights")
            elif not flight.admitted:
                self._check_arrival(flight)
            elif flight.queued:
                if id(flight) not in queued:
                    self._say(flight, "lost", "is lost: it is said to be queued, and is in no queue")
            elif id(flight) in retried:
                due = retried[id(flight)].at
                if due > flight.deadline + ROUNDING and flight.key is None:
                    late = due - flight.deadline
                    self._say(flight, "late", f"is to be tried again {late:.3f} s after its deadline")
            elif not any(id(record) in held for record in flight.live):
                self._say(flight, "lost", "is lost: no attempt, no backoff and no queue has it")

    def _check_arrival(self, flight: Flight) -> None:
        if flight.order not in self._arrived or self._view.actor("deduplicator") is None:
            return
        waiting = self._view.waiting("deduplicator")
        if not any(isinstance(m, Coalesce | Route) and m.flight is flight for m in waiting):
            self._say(flight, "lost", "is lost on its way to the supervisor")

    def _say(self, flight: Flight, kind: str, text: str) -> None:
        self._findings.say(kind, f"request {flight.id}", text)

    # --- backends ---

    def _check_slots(self, supervisor: Any) -> None:
        view, tree = self._view, self._view.tree
        assert tree is not None
        now, connections = view.clock.now(), supervisor._departures._table.connections
        patient = not view.hindered("supervisor")
        overdue: dict[Key, float] = {}
        for slot in tree.roster.slots.values():
            flying = slot.in_flight
            if connections[slot.name] != len(flying):
                self._found(
                    slot, "connections", f"counts {connections[slot.name]} connections, and has {len(flying)}"
                )
            if len(flying) > slot.config.max_parallel_requests:
                self._found(slot, "full", f"has {len(flying)} attempts in flight")
            self._check_breaker(slot)
            self._check_seats(slot)
            if slot.drains and not flying:
                self._found(slot, "drain", "is empty, and those who drain it are not told")
            self._check_orphans(slot)
            for record in flying.values():
                if now > record.deadline:
                    overdue[record.key] = since = self._overdue.get(record.key, now)
                    if patient and now - since > SWEEP_SECONDS + GRACE + SLACK:
                        self._found(
                            slot,
                            "overdue",
                            f"still counts attempt {record.number} of request {record.flight.id}, "
                            f"{now - record.deadline:.3f} s after its deadline",
                        )
        self._overdue = overdue

    def _check_orphans(self, slot: BackendSlot) -> None:
        """What an incarnation was given and had not begun when it died is not counted any more."""
        alive = slot.child is not None and slot.child.state is ChildState.RUNNING
        for record in slot.in_flight.values():
            if (
                record.dispatched
                and record.seat is None
                and not (alive and record.generation == slot.generation)
            ):
                self._found(
                    slot,
                    "orphan",
                    f"still counts attempt {record.number} of request {record.flight.id}, which died with "
                    f"incarnation {record.generation}",
                )

    def _check_breaker(self, slot: BackendSlot) -> None:
        breaker = slot.breaker
        if breaker._state is CircuitState.HALF_OPEN:
            probes = sum(record.epoch == breaker.epoch for record in slot.in_flight.values())
            if probes != breaker._probes:
                self._found(
                    slot, "probes", f"its breaker counts {breaker._probes} probes, and there are {probes}"
                )

    def _check_seats(self, slot: BackendSlot) -> None:
        waiting = getattr(slot.workers, "_waiting", ())
        if waiting and not self._view.meddled:
            self._found(slot, "seats", f"{len(waiting)} attempts wait for one of its seats")

    def _found(self, slot: BackendSlot, kind: str, text: str) -> None:
        self._findings.say(kind, slot.name, text)

    def _check_calls(self) -> None:
        """Nobody works for an attempt that cannot answer any more, unless it was told and does not listen."""
        for backend in self._view.simulation.made:
            for call in backend._open.values():
                attempt = call.attempt
                record = self._view.executed.get((attempt.request_id, attempt.number))
                if record is None or attempt.cancel.cancelled or record.scope is not attempt.cancel:
                    continue
                if record.flight.done or record.state not in LIVE:
                    self._findings.say(
                        "call",
                        backend.config.name,
                        f"still works on attempt {record.number} of request {record.flight.id}, which nobody waits for",
                    )

    # --- queues and timers ---

    def _check_queues(self, supervisor: Any, timers: list[Any]) -> None:
        departures, now = supervisor._departures, self._view.clock.now()
        table, closed_until, tree = departures._table, departures._closed_until, self._view.tree
        assert tree is not None
        closed, patient = now < closed_until, not self._view.hindered("supervisor")
        needed, hurried = [], dict[int, float]()
        for lane in table._lanes.values():
            for queue in lane.queues.values():
                waiting = [item for heap in queue._heaps for _, item in heap if not item.done]
                flight = min(waiting, key=lambda one: queue.urgency(one, now), default=None)
                if flight is None:
                    continue
                slots = table.slots_of(flight)
                if all(slot.out_of_service for slot in slots):
                    self._say(flight, "vain", "waits for backends of which none is in service")
                chances = [at for slot in slots if (at := slot.next_chance(now)) is not None]
                able = within_reach(flight, tree, now)
                if able and not closed:
                    self._say(flight, "idle", f"waits although {able[0]} could take it")
                elif able or chances:
                    needed.append(max(closed_until, min(chances, default=now)) if closed else min(chances))
                # Not only the first: who has less time may not have to wait for what the others wait for.
                hasty = min(waiting, key=lambda one: one.deadline)
                if not able and not closed and (free := within_reach(hasty, tree, now)):
                    hurried[hasty.order] = since = self._hurried.get(hasty.order, now)
                    # Those who join and leave a request change its deadline, which is looked at with each sweep.
                    if patient and now - since > SWEEP_SECONDS + ROUNDING:
                        self._say(hasty, "idle", f"waits although {free[0]} could take it")
        self._hurried = hurried
        if needed:
            wakes = [timer.at for timer in timers if type(timer.message).__name__ == "Wake"]
            if min(wakes, default=float("inf")) > min(needed) + ROUNDING:
                self._findings.say(
                    "wake", "the supervisor", "nothing will wake it when a backend can be tried again"
                )

    def _check_timers(self, supervisor: Any, timers: list[Any]) -> None:
        tree = self._view.tree
        assert tree is not None
        kinds = {type(timer.message).__name__ for timer in timers}
        if len(tree.roster.outbox) and "Flush" not in kinds:
            self._findings.say("flush", "the supervisor", "nothing will send what is in its outbox")
        if not supervisor._departures.is_idle and "Sweep" not in kinds:
            self._findings.say("sweep", "the supervisor", "nothing will look for attempts that hang")

    # --- reservations, and the deduplicator ---

    def _check_reservations(self) -> None:
        view, tree = self._view, self._view.tree
        assert tree is not None
        book = tree.quotas
        self._check_ledgers()
        if view.actor("quota_manager") is None or view.waiting("quota_manager"):
            return
        held = {
            record.key: record for slot in tree.roster.slots.values() for record in slot.in_flight.values()
        }
        owed = {settlement.key for settlement in tree.roster.outbox._settlements}
        for key in book._whole._open:
            if key not in held and key not in owed and key not in view.forgiven:
                self._findings.say("reserved", f"the attempt {key}", "its reservation was never settled")
        for key, record in held.items():
            if record.dispatched and key not in book._whole._open:
                self._findings.say(
                    "unpaid",
                    f"request {record.flight.id}",
                    f"attempt {record.number} is under way without a reservation",
                )

    def _check_ledgers(self) -> None:
        tree = self._view.tree
        assert tree is not None
        for name, ledger in (("all backends", tree.quotas._whole), *tree.quotas._backends.items()):
            for window in ledger._windows:
                if not 0 <= window.used <= window.limit:
                    self._findings.say(
                        "window",
                        name,
                        f"{window.used} requests are counted, and {window.name} = {window.limit}",
                    )
            bucket = ledger._requests
            if bucket is not None and not -ROUNDING <= bucket.level <= bucket.capacity + ROUNDING:
                self._findings.say("bucket", name, f"its requests a minute are at {bucket.level:.3f}")

    def _check_deduplicator(self) -> None:
        actor = self._view.actor("deduplicator")
        if actor is None:
            return
        waiting = None
        for flight in actor._open.values():
            if not flight.done:
                continue
            if waiting is None:
                waiting = {
                    id(m.flight) for m in self._view.waiting("deduplicator") if isinstance(m, FlightDone)
                }
            if id(flight) not in waiting:
                self._say(flight, "key", "is over, and still the one that identical requests are given to")

    def at_end(self) -> None:
        """Everything has had its time to end."""
        tree = self._view.tree
        assert tree is not None
        if not self._view.edge._open and len(tree.flights):
            for flight in tree.flights.in_order():
                self._say(flight, "left", "is still in the table of open flights")
        quiet = not any(slot.in_flight for slot in tree.roster.slots.values())
        if quiet:
            waiting = [m for m in self._view.waiting("quota_manager") if isinstance(m, Settle | Reserve)]
            owed = {settlement.key for settlement in tree.roster.outbox._settlements}
            left = len(tree.quotas._whole._open.keys() - self._view.forgiven - owed)
            if left and not waiting and self._view.actor("quota_manager") is not None:
                self._findings.say("outstanding", "the quotas", f"{left} reservations are left")
