"""Breakers: each opens when its results say so, and only then; judged by a list of results of its own."""

from __future__ import annotations

from collections import deque
from typing import Any

from attrs import define, field, frozen

from showcaller.actors.attempt import AttemptRecord
from showcaller.actors.enums import CircuitState
from showcaller.actors.errors import (
    BackendDrainedError,
    BackendError,
    BackendTimeoutError,
    ContentPolicyViolationError,
    ContextWindowExceededError,
    InvalidRequestError,
    RateLimitError,
    StreamInterruptedError,
)
from showcaller.actors.messages import AttemptFinished, Granted, Sweep
from showcaller.actors.slot import BackendSlot
from showcaller.actors.supervisor import GRACE
from showcaller.runtime.testing.invariants.findings import Findings
from showcaller.runtime.testing.invariants.view import View

BLAMELESS = (
    BackendDrainedError,
    ContentPolicyViolationError,
    ContextWindowExceededError,
    InvalidRequestError,
    RateLimitError,
    StreamInterruptedError,
)
"""What does not speak against the backend, although it is what its attempt failed of."""
GRAIN = 10
"""A result's age is told in tenths of the window."""


@define
class _Stay:
    """What was heard in one stay of a breaker in a state."""

    epoch: int
    state: CircuitState
    results: deque[tuple[float, bool]] = field(factory=deque)
    in_a_row: int = 0


@frozen(eq=False)
class _Word:
    """An attempt that the supervisor is about to judge, and whether it will have failed."""

    record: AttemptRecord
    slot: BackendSlot
    failed: bool


class BreakerChecks:
    """Watches what the supervisor makes of the ends of attempts."""

    def __init__(self, view: View, findings: Findings) -> None:
        self._view = view
        self._findings = findings
        self._stays: dict[str, _Stay] = {}
        self._words: list[_Word] = []
        self._granted: dict[tuple[int, int], float] = {}

    def before_step(self, message: Any) -> None:
        """The supervisor is about to handle a message."""
        self._words = []
        if isinstance(message, AttemptFinished):
            self._hear(message)
        elif isinstance(message, Granted):
            if not message.attempt.dispatched:
                self._granted[message.attempt.key] = self._view.clock.now()
        elif isinstance(message, Sweep) and self._view.tree is not None:
            now = self._view.clock.now()
            for slot in self._view.tree.roster.slots.values():
                for record in slot.in_flight.values():
                    # Of one that has answered it is not the backend that does not come back.
                    if record.dispatched and not record.answered and now > record.deadline + GRACE:
                        self._words.append(_Word(record, slot, failed=True))

    def _hear(self, message: AttemptFinished) -> None:
        record, error = message.record, message.error
        slot = self._view.slot(record.slot)
        if slot is None or slot.in_flight.get(record.key) is not record:
            return
        if error is None or message.usage is not None:
            # Whole answers, also those that were refused: only they are counted by the token.
            if message.begun:
                self._words.append(_Word(record, slot, failed=False))
            return
        # Who was not given the whole of its timeout has not shown anything.
        begun = self._granted.get(record.key, self._view.clock.now())
        hurried = record.deadline < begun + slot.config.timeout.total
        deadline = record.deadline if hurried else record.flight.deadline
        impatient = isinstance(error, BackendTimeoutError) and message.ended >= deadline
        if isinstance(error, BackendError) and not isinstance(error, BLAMELESS) and not impatient:
            self._words.append(_Word(record, slot, failed=True))

    def after_step(self) -> None:
        """It was handled, or the supervisor has died of it."""
        tree = self._view.tree
        if tree is None:
            return
        due: dict[str, str] = {}
        for word in self._words:
            slot = word.slot
            stay = self._stays.get(slot.id)
            judged = slot.in_flight.get(word.record.key) is not word.record
            if stay is not None and judged and word.record.epoch == stay.epoch and slot.id not in due:
                reason = self._weigh(slot, stay, word)
                if reason is not None:
                    due[slot.id] = reason
        self._words = []
        for slot in tree.roster.slots.values():
            self._compare(slot, due.get(slot.id))

    def _weigh(self, slot: BackendSlot, stay: _Stay, word: _Word) -> str | None:
        """Why it should open now; None: it should not."""
        now, settings = self._view.clock.now(), slot.breaker._settings
        stay.results.append((now, word.failed))
        stay.in_a_row = stay.in_a_row + 1 if word.failed else 0
        oldest = int(now * (GRAIN / settings.window)) - GRAIN
        while int(stay.results[0][0] * (GRAIN / settings.window)) <= oldest:
            stay.results.popleft()
        if not word.failed:
            return None
        if stay.state is CircuitState.HALF_OPEN:
            return "its probe failed"
        if stay.in_a_row >= settings.failures:
            return f"{stay.in_a_row} attempts failed in a row"
        results, failures = len(stay.results), sum(failed for _, failed in stay.results)
        if results >= settings.min_results and failures >= settings.failure_rate * results:
            return f"{failures} of {results} attempts failed within {settings.window:g} s"
        return None

    def _compare(self, slot: BackendSlot, due: str | None) -> None:
        breaker = slot.breaker
        stay = self._stays.get(slot.id)
        if stay is None:
            self._stays[slot.id] = _Stay(breaker.epoch, breaker._state)
            return
        if due is not None and breaker.epoch == stay.epoch:
            self._findings.say("not opened", slot.name, f"its breaker did not open although {due}")
        if breaker.epoch == stay.epoch:
            return
        if due is None and breaker._state is CircuitState.OPEN:
            results, failures = len(stay.results), sum(failed for _, failed in stay.results)
            self._findings.say(
                "opened",
                slot.name,
                f"its breaker opened after {failures} failures of {results} results, {stay.in_a_row} in a row",
            )
        self._stays[slot.id] = _Stay(breaker.epoch, breaker._state)
