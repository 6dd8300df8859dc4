"""Dispatches: what is given to a backend may be given to it now, and what is late changes nothing."""

from __future__ import annotations

from collections import deque

from attrs import evolve, frozen

from showcaller.actors.attempt import AttemptRecord, AttemptState
from showcaller.actors.enums import CircuitState
from showcaller.actors.errors import RateLimitError
from showcaller.actors.flight import Flight
from showcaller.actors.kernel.child import ChildState
from showcaller.actors.messages import AttemptFinished, DrainBackend, Execute
from showcaller.actors.slot import BackendSlot
from showcaller.runtime.testing.errors import Injected
from showcaller.runtime.testing.invariants.findings import Findings
from showcaller.runtime.testing.invariants.view import View

BUG = "its transport raised"
"""What an attempt failed of says so when something raised that should not have."""
EARLY = 1e-6
"""Seconds that are nothing but the rounding of floats."""


@frozen
class _Stay:
    """One stay of a breaker in a state."""

    epoch: int
    state: CircuitState
    open_until: float
    opened: int


@frozen(eq=False)
class _Before:
    """What was so before an AttemptFinished was handled."""

    held: bool
    failures: int
    epoch: int
    not_before: float
    retired: bool
    keys: frozenset[tuple[int, int]]


class DispatchChecks:
    """Watches what the supervisor gives to backends, and what it makes of their answers."""

    def __init__(self, view: View, findings: Findings) -> None:
        self._view = view
        self._findings = findings
        self._drained: set[str] = set()
        self._not_before: dict[str, float] = {}
        self._stays: dict[str, _Stay] = {}
        self._shared: dict[bytes, Flight] = {}
        self._known_to: dict[int, int] = {}
        self._before: _Before | None = None
        self._rested: deque[float] = deque([0.0], maxlen=2)

    def at_rest(self) -> None:
        """Time may go on."""
        self._rested.append(self._view.clock.now())

    # --- an attempt goes to a backend ---

    def execute(self, message: Execute) -> None:
        """An Execute was sent."""
        record, view = message.record, self._view
        view.executed[message.attempt.request_id, message.attempt.number] = record
        slot = view.slot(record.slot)
        if not view.supervisor_acts:
            return
        if slot is None:
            self._findings.say("gone", record.slot, f"was given {_name(record)} after it was removed")
            return
        for kind, text in self._refusals(slot, record):
            self._findings.say(kind, slot.name, f"was given {_name(record)} {text}")
        flight, now = record.flight, view.clock.now()
        deadline = message.attempt.deadline
        if flight.done:
            self._findings.say("done", f"request {flight.id}", f"attempt {record.number} began after its end")
        if deadline > flight.deadline + EARLY:
            self._findings.say(
                "attempt deadline",
                f"request {flight.id}",
                f"attempt {record.number} may go on for {deadline - flight.deadline:.3f} s past its deadline",
            )
        if now > flight.deadline and self._rested[-1] >= flight.deadline:
            self._findings.say(
                "late", f"request {flight.id}", f"attempt {record.number} began after its deadline"
            )
        for other in flight.live:
            if other is not record and other.state is AttemptState.COMMITTED:
                self._findings.say(
                    "second",
                    f"request {flight.id}",
                    f"attempt {record.number} began while {other.number} streams",
                )
        self._check_shared(record)

    def _refusals(self, slot: BackendSlot, record: AttemptRecord) -> list[tuple[str, str]]:
        now, breaker = self._view.clock.now(), slot.breaker
        refusals = []
        if slot.draining or slot.id in self._drained:
            refusals.append(("draining", "while it drains"))
        if slot.child is None or slot.child.state is not ChildState.RUNNING:
            refusals.append(("not running", "although its actor does not run"))
        if slot.retired:
            refusals.append(("retired", "although it is retired"))
        if not slot.config.enabled:
            refusals.append(("disabled", "although it is disabled"))
        if breaker._state is CircuitState.OPEN:
            refusals.append(("open", "while its breaker is open"))
        if now < self._not_before.get(slot.id, 0.0) - EARLY:
            wait = self._not_before[slot.id] - now
            refusals.append(("retry after", f"{wait:.3f} s before its Retry-After has passed"))
        if len(slot.in_flight) > slot.config.max_parallel_requests:
            refusals.append(("full", f"as the {len(slot.in_flight)}th at once"))
        if slot.in_flight.get(record.key) is not record:
            refusals.append(("uncounted", "without counting it"))
        if breaker._state is CircuitState.HALF_OPEN:
            probes = sum(other.epoch == breaker.epoch for other in slot.in_flight.values())
            if probes > breaker._settings.probes:
                refusals.append(("probes", f"as probe {probes} of a half-open breaker"))
        return refusals

    def coalesced(self, flight: Flight, incarnation: int) -> None:
        """An incarnation of the deduplicator has heard of a flight."""
        self._known_to[flight.order] = incarnation

    def _check_shared(self, record: AttemptRecord) -> None:
        """Identical requests make one call, as long as the deduplicator remembers."""
        flight = record.flight
        if flight.key is None:
            return
        other = self._shared.get(flight.key, flight)
        known = self._known_to.get(other.order) == self._known_to.get(flight.order)
        if other is not flight and not other.done and known:
            self._findings.say(
                "shared", f"request {flight.id}", f"is sent although the identical {other.id} is under way"
            )
        self._shared[flight.key] = flight

    # --- the supervisor's own steps ---

    def before_finished(self, message: AttemptFinished) -> None:
        """An AttemptFinished is about to be handled."""
        record, error = message.record, message.error
        if error is not None and BUG in error.message and f"{BUG} {Injected.__name__}" not in error.message:
            self._findings.say("raised", record.slot, f"{_name(record)} failed of a bug: {error.message}")
        slot = self._view.slot(record.slot)
        self._before = None
        if slot is not None:
            self._before = _Before(
                slot.in_flight.get(record.key) is record,
                slot.breaker._failures,
                slot.breaker.epoch,
                slot.not_before,
                slot.retired,
                frozenset(slot.in_flight),
            )

    def after_finished(self, message: AttemptFinished) -> None:
        """It was handled."""
        record, error, before = message.record, message.error, self._before
        slot = self._view.slot(record.slot)
        if slot is None or before is None:
            return
        if slot.in_flight.get(record.key) is record:
            self._findings.say("leaked", slot.name, f"still counts {_name(record)}, which has come back")
        if before.held:
            if isinstance(error, RateLimitError) and error.retry_after is not None:
                until = self._view.clock.now() + error.retry_after
                self._not_before[slot.id] = max(self._not_before.get(slot.id, 0.0), until)
            return
        changed = []
        if not before.keys <= slot.in_flight.keys():
            changed.append("what is in flight")
        if slot.breaker.epoch == before.epoch and slot.breaker._failures != before.failures:
            changed.append("its breaker")
        if slot.not_before != before.not_before:
            changed.append("when it may be tried again")
        if slot.retired != before.retired:
            changed.append("whether it is retired")
        for what in changed:
            self._findings.say(
                "stale", slot.name, f"{what} was changed by {_name(record)}, which had ended before"
            )

    def after_drain(self, message: DrainBackend) -> None:
        """A DrainBackend was handled."""
        slot = self._view.slot(message.backend)
        if slot is not None:
            self._drained.add(slot.id)

    def was_reset(self, slot: BackendSlot, *, certain: bool) -> None:
        """Somebody has given a slot another chance, perhaps: an open breaker lets a probe through from now on."""
        stay = self._stays.get(slot.id)
        if stay is None or stay.state is not CircuitState.OPEN:
            return
        now = self._view.clock.now()
        if slot.breaker.epoch == stay.epoch and slot.breaker._open_until > now:
            if certain:
                self._findings.say("reset", slot.name, "its breaker stays open although it was reset")
            return
        self._stays[slot.id] = evolve(stay, open_until=min(stay.open_until, now), opened=0)

    def after_step(self, finished: AttemptFinished | None) -> None:
        """The supervisor has done something: look at the breakers."""
        tree = self._view.tree
        if tree is None:
            return
        for slot in tree.roster.slots.values():
            breaker = slot.breaker
            stay = self._stays.get(slot.id)
            if stay is None:
                self._stays[slot.id] = _Stay(
                    breaker.epoch, breaker._state, breaker._open_until, breaker._opened
                )
            elif breaker.epoch != stay.epoch:
                self._judge_change(slot, stay, finished)

    def _judge_change(self, slot: BackendSlot, old: _Stay, finished: AttemptFinished | None) -> None:
        now, breaker, settings = self._view.clock.now(), slot.breaker, slot.breaker._settings
        new = breaker._state
        opened = old.opened
        if old.state is CircuitState.OPEN and now < old.open_until - EARLY:
            self._findings.say(
                "early",
                slot.name,
                f"its breaker was left open {old.open_until - now:.3f} s less than it should be",
            )
        if old.state is CircuitState.OPEN and new is CircuitState.CLOSED:
            self._findings.say("closed", slot.name, "its breaker closed without a probe")
        if finished is not None and finished.record.slot == slot.name and finished.record.epoch != old.epoch:
            stale = old.state is not CircuitState.OPEN
            if stale:
                self._findings.say(
                    "stale epoch",
                    slot.name,
                    f"its breaker went from {old.state.value} to {new.value} because of {_name(finished.record)}, "
                    "which belongs to an earlier stay",
                )
        if new is CircuitState.OPEN:
            least = min(max(settings.max_open_time, settings.open_time), settings.open_time * 2.0**opened)
            lasts = breaker._open_until - now
            if not least - EARLY <= lasts <= least * (1 + settings.jitter) + EARLY:
                self._findings.say(
                    "open time",
                    slot.name,
                    f"its breaker opened for {lasts:.3f} s, and {least:.3f} s are the least",
                )
            opened += 1
        elif new is CircuitState.CLOSED:
            opened = 0
        self._stays[slot.id] = _Stay(breaker.epoch, new, breaker._open_until, opened)


def _name(record: AttemptRecord) -> str:
    return f"attempt {record.number} of request {record.flight.id}"
