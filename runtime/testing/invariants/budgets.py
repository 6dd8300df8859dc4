"""The retry budget: retries never exceed what requests and time have brought; judged by an account of its own."""

from __future__ import annotations

from typing import Any

from attrs import frozen

from showcaller.actors.attempt import AttemptRecord
from showcaller.actors.errors import BackendUnreachableError, ShowcallerError
from showcaller.actors.flight import Flight
from showcaller.actors.messages import AttemptFinished, DrainDue, Granted, RetryDue, Sweep
from showcaller.actors.models import Errored
from showcaller.actors.slot import BackendSlot
from showcaller.actors.supervisor import GRACE
from showcaller.runtime.testing.invariants.findings import Findings
from showcaller.runtime.testing.invariants.view import View

ROUNDING = 1e-6
USED_UP = "the retry budget"
"""An outcome says so when the budget is why there was no other attempt."""


@frozen(eq=False)
class _End:
    """An attempt that the supervisor is about to take as failed; of `error`, or because it hangs or is drained."""

    record: AttemptRecord
    slot: BackendSlot
    error: ShowcallerError | None = None


class BudgetChecks:
    """Watches what the supervisor tries again."""

    def __init__(self, view: View, findings: Findings) -> None:
        self._view = view
        self._findings = findings
        self._level: float | None = None
        self._at = 0.0
        self._ends: list[_End] = []
        self._alone: dict[int, _End] = {}
        self._granted: tuple[Flight, int] | None = None
        self._had: dict[int, float] = {}

    def before_step(self, message: Any) -> None:
        """The supervisor is about to handle a message."""
        self._ends, self._alone, self._granted = [], {}, None
        tree = self._view.tree
        if tree is None:
            return
        match message:
            case Granted():
                flight = message.attempt.flight
                self._granted = flight, flight.dispatches
            case AttemptFinished(error=ShowcallerError()):
                slot = self._view.slot(message.record.slot)
                if slot is not None:
                    self._ends = [_End(message.record, slot, message.error)]
            case DrainDue():
                self._ends = [_End(record, message.slot) for record in message.slot.in_flight.values()]
            case Sweep():
                now = self._view.clock.now()
                self._ends = [
                    _End(record, slot)
                    for slot in tree.roster.slots.values()
                    for record in slot.in_flight.values()
                    if record.dispatched and now > record.deadline + GRACE
                ]
        self._ends = [end for end in self._ends if end.slot.in_flight.get(end.record.key) is end.record]
        ending = {id(end.record) for end in self._ends}
        for end in self._ends:
            flight = end.record.flight
            others = [other for other in flight.live if id(other) not in ending]
            if not flight.done and not flight.queued and not others:
                # Of several that end at once the last decides what follows.
                self._alone[flight.order] = end

    def after_step(self) -> None:
        """It was handled, or the supervisor has died of it."""
        tree = self._view.tree
        if tree is None:
            return
        now, settings = self._view.clock.now(), self._view.simulation.config.runtime
        burst = settings.retry_burst
        level = burst if self._level is None else min(burst, self._level + now - self._at)
        if self._granted is not None:
            flight, dispatches = self._granted
            if dispatches == 0 and flight.dispatches:
                level = min(burst, level + settings.retry_budget)
        there, ended = tree.roster.retry_budget.level(now), 0
        for end in self._alone.values():
            flight = end.record.flight
            if end.slot.in_flight.get(end.record.key) is end.record:
                continue
            if flight.done:
                self._had[flight.order] = level
                ended += 1
            elif not self._is_free(end):
                level -= 1.0
                if level < -ROUNDING:
                    self._findings.say(
                        "budget",
                        f"request {flight.id}",
                        f"is tried again, and the retry budget had only {level + 1:.3f} tokens",
                    )
        paid_in_vain = round(level - there)
        if 0 < paid_in_vain <= ended:
            # They were to be tried again, and then no backend could have answered in time.
            level -= paid_in_vain
        self._level, self._at = max(0.0, level), now
        self._ends, self._alone, self._granted = [], {}, None
        if abs(there - self._level) > ROUNDING:
            self._findings.say(
                "account", "the retry budget", f"has {there:.3f} tokens, and should have {self._level:.3f}"
            )

    def _is_free(self, end: _End) -> bool:
        """Was nothing sent, and does it go elsewhere, at once?"""
        if not isinstance(end.error, BackendUnreachableError) or end.error.maybe_executed:
            return False
        timers = (timer.message for _, _, timer in self._view.clock.timers._heap)
        return not any(isinstance(m, RetryDue) and m.flight is end.record.flight for m in timers)

    def at_end(self) -> None:
        """Who was not tried again for want of it could not have been."""
        for sent in self._view.simulation.door.requests:
            outcome = sent.decided
            if not isinstance(outcome, Errored) or USED_UP not in outcome.error.message:
                continue
            flight = sent.flight
            had = None if flight is None else self._had.get(flight.order)
            if flight is not None and had is not None and had >= 1.0 + ROUNDING:
                self._findings.say(
                    "budget",
                    f"request {flight.id}",
                    f"was not tried again, and the retry budget had {had:.3f}",
                )
