"""Batches: what was added leaves in time and in order, and gets one outcome by its deadline."""

from __future__ import annotations

from showcaller.runtime.testing.batching import Batching
from showcaller.runtime.testing.invariants.findings import Findings
from showcaller.runtime.testing.invariants.view import View

ROUNDING = 1e-6


class BatchChecks:
    """Watches the batchers of a simulation's callers."""

    def __init__(self, view: View, findings: Findings) -> None:
        self._view = view
        self._findings = findings

    def look(self) -> None:
        """Nobody waits who should have left, and nobody is under way beyond the bound."""
        for number, batching in enumerate(self._view.simulation.batches, 1):
            self._look_at(f"batcher {number}", batching)

    def _look_at(self, name: str, batching: Batching) -> None:
        batcher, now = batching.batcher, self._view.clock.now()
        open_ones = [one for one in batching.added if not one.pending.done()]
        for one in open_ones:
            if one.deadline < now - ROUNDING:
                self._findings.say(
                    "batch deadline", name, f"{one.pending.request_id} has no outcome at its deadline"
                )
        items = batcher._open
        lost = [one for one in open_ones if one.pending.request_id not in items]
        waiting = [one for one in open_ones if one not in lost and items[one.pending.request_id].sent is None]
        under_way = len(open_ones) - len(lost) - len(waiting)
        if lost:
            self._findings.say("batch lost", name, f"has forgotten {lost[0].pending.request_id}")
        if under_way > batcher._max_concurrency:
            self._findings.say("batch concurrency", name, f"has {under_way} requests under way")
        policy = batcher._batcher
        due = len(waiting) >= policy._max_size or (
            bool(waiting) and waiting[0].at + policy._max_wait < now - ROUNDING
        )
        if due and under_way < batcher._max_concurrency:
            self._findings.say(
                "batch due",
                name,
                f"holds {len(waiting)} requests, the oldest for {now - waiting[0].at:.3f} s, and only "
                f"{under_way} are under way",
            )

    def at_end(self) -> None:
        """Whoever has an outcome has its own."""
        for number, batching in enumerate(self._view.simulation.batches, 1):
            for one in batching.added:
                outcome = one.pending.outcome
                if outcome is not None and outcome.request_id != one.pending.request_id:
                    self._findings.say(
                        "batch outcome",
                        f"batcher {number}",
                        f"gave {one.pending.request_id} the outcome of {outcome.request_id}",
                    )
