"""Latencies: what a least_latency route believes of its backends, and that it takes the least.

Five things hold of a belief, however it is computed: no answer that was seen is forgotten faster than by its time
constant, a belief that nothing was added to falls by it, who has not answered is not quicker for it, no backend is
quicker than what an attempt of it has been silent for, and the chosen backend is the one for which it is least.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from attrs import frozen

from showcaller.actors.attempt import AttemptRecord, AttemptState
from showcaller.actors.errors import RateLimitError, ServerError, ShowcallerError
from showcaller.actors.flight import Flight
from showcaller.actors.messages import AttemptFinished
from showcaller.actors.slot import BackendSlot
from showcaller.runtime.testing.invariants.findings import Findings
from showcaller.runtime.testing.invariants.view import View

TAU = 30.0
"""Seconds in which a belief falls to a third."""
FIRST_TOKENS = 32
"""So many tokens a plain answer counts for before its first."""
PENALTY = 5.0
"""Seconds to the first token that a failure counts as when nothing else is known."""
ROUNDING = 1e-6

Key = tuple[str, bool]
"""The id of a slot, and whether it is about streams."""


@frozen
class _Point:
    """Seconds that were so at a time."""

    seconds: float
    at: float

    def left(self, now: float) -> float:
        """What is left of them."""
        return self.seconds * math.exp(-(now - self.at) / TAU)


class LatencyChecks:
    """Watches what the supervisor learns from attempts, and what it makes of it."""

    def __init__(self, view: View, findings: Findings) -> None:
        self._view = view
        self._findings = findings
        self._held = False
        self._before: dict[bool, float | None] = {}
        self._answers: dict[Key, _Point] = {}
        self._looks: dict[Key, _Point] = {}
        self._sent: dict[tuple[int, int], float] = {}

    def after_granted(self, record: AttemptRecord) -> None:
        """The supervisor has heard that an attempt is paid for."""
        if record.dispatched:
            self._sent.setdefault(record.key, self._view.clock.now())

    def before_finished(self, message: AttemptFinished) -> None:
        """The supervisor is about to handle the end of an attempt, if it does not die before."""
        self._sent.pop(message.record.key, None)
        slot = self._view.slot(message.record.slot)
        self._held = slot is not None and slot.in_flight.get(message.record.key) is message.record
        self._before = {}
        if slot is not None:
            now = self._view.clock.now()
            self._before = {stream: slot.latency.learnt(stream=stream, now=now) for stream in (True, False)}
            for stream in (True, False):
                self._looks.pop((slot.id, stream), None)

    def after_finished(self, message: AttemptFinished) -> None:
        """It has, or has died of it."""
        record, usage = message.record, message.usage
        slot = self._view.slot(record.slot)
        if slot is None or not self._held or record.key in slot.in_flight:
            return
        if message.error is not None:
            if usage is None and message.first_token is None:
                self._judge_failure(slot, message.error)
            return
        stream = record.flight.stream is not None
        if stream and message.first_token is not None:
            self._note((slot.id, True), message.first_token)
        elif not stream and usage is not None:
            self._note((slot.id, False), message.latency / (FIRST_TOKENS + usage.output_tokens))

    def _judge_failure(self, slot: BackendSlot, error: ShowcallerError) -> None:
        """It has ended without a word of an answer."""
        now = self._view.clock.now()
        for stream, before in self._before.items():
            after = slot.latency.learnt(stream=stream, now=now)
            least = before
            if before is None and isinstance(error, (ServerError, RateLimitError)) and after is not None:
                least = PENALTY / (1 if stream else FIRST_TOKENS)
            if least is not None and (after is None or after < least * (1 - ROUNDING)):
                self._findings.say(
                    "latency", slot.name, f"is believed to be quicker for a {type(error).__name__}"
                )

    def _note(self, key: Key, seconds: float) -> None:
        now, known = self._view.clock.now(), self._answers.get(key)
        self._answers[key] = _Point(max(seconds, 0.0 if known is None else known.left(now)), now)

    def judge(
        self, flight: Flight, chosen: BackendSlot, rivals: Sequence[BackendSlot], weights: dict[str, float]
    ) -> None:
        """A flight was given to a backend, although there were others."""
        stream = flight.stream is not None
        beliefs = {slot.name: self._belief(slot, stream) for slot in (chosen, *rivals)}
        mine, load = beliefs[chosen.name], len(chosen.in_flight)
        for slot in rivals:
            theirs, pending = beliefs[slot.name], len(slot.in_flight) + 1
            if theirs is None:
                better = pending == 1 and (mine is not None or load > 1)
            elif mine is None:
                better = load > 1
            else:
                least = mine * load / weights[chosen.name]
                better = theirs * pending / weights[slot.name] < least * (1 - ROUNDING)
            if better:
                self._findings.say(
                    "latency",
                    f"request {flight.id}",
                    f"went to {chosen.name} although {slot.name} is quicker",
                )

    def _belief(self, slot: BackendSlot, stream: bool) -> float | None:
        learnt, now = self._look(slot, stream), self._view.clock.now()
        if learnt is None:
            return None
        silent = [
            now - self._sent[record.key]
            for record in slot.in_flight.values()
            if record.key in self._sent
            and (record.flight.stream is not None) == stream
            and record.state in (AttemptState.DISPATCHED, AttemptState.CLAIMED)
            and not record.answered
        ]
        return max(learnt, slot.latency.after_silence(max(silent, default=0.0), stream=stream))

    def _look(self, slot: BackendSlot, stream: bool) -> float | None:
        key, now = (slot.id, stream), self._view.clock.now()
        belief = slot.latency.learnt(stream=stream, now=now)
        known, before = self._answers.get(key), self._looks.get(key)
        seconds = 0.0 if belief is None else belief
        if known is not None and seconds < known.left(now) * (1 - ROUNDING):
            self._findings.say("latency", slot.name, "has shown itself slower than it is believed to be")
        if before is not None and seconds > before.left(now) * (1 + ROUNDING):
            # A seat that was given up is the only other news, and is worse than this.
            total = slot.config.timeout.total / (1 if stream else FIRST_TOKENS)
            if seconds < _Point(total, before.at).left(now) * (1 - ROUNDING):
                self._findings.say(
                    "latency", slot.name, "is believed to be slow for longer than it should be"
                )
        if belief is not None:
            self._looks[key] = _Point(belief, now)
        return belief
