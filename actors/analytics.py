"""Analytics: counts attempts, failures by kind, tokens and time for each backend."""

from __future__ import annotations

import threading
from collections.abc import Mapping

from attrs import frozen

from showcaller.actors.messages import Observation, Observed
from showcaller.actors.tree_actor import TreeActor


@frozen(kw_only=True)
class BackendUsage:
    """What one backend has done.

    Attributes:
        attempts, successes: how many.
        errors: failed attempts by the name of their error.
        input_tokens, output_tokens: counted or estimated, of what was answered, also of answers that were refused.
        seconds: spent in attempts, altogether.
    """

    attempts: int = 0
    successes: int = 0
    errors: Mapping[str, int] = {}
    input_tokens: int = 0
    output_tokens: int = 0
    seconds: float = 0.0


class UsageTable:
    """The counts; written by the actor, read from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._usage: dict[str, BackendUsage] = {}

    def count(self, seen: Observation) -> None:
        """One more attempt."""
        with self._lock:
            before = self._usage.get(seen.backend, BackendUsage())
            errors = before.errors
            if seen.error is not None:
                errors = {**errors, seen.error: errors.get(seen.error, 0) + 1}
            usage = seen.usage
            self._usage[seen.backend] = BackendUsage(
                attempts=before.attempts + 1,
                successes=before.successes + (seen.error is None),
                errors=errors,
                input_tokens=before.input_tokens + (0 if usage is None else usage.input_tokens),
                output_tokens=before.output_tokens + (0 if usage is None else usage.output_tokens),
                seconds=before.seconds + seen.latency,
            )

    def generate_report(self) -> Mapping[str, BackendUsage]:
        """The counts by backend."""
        with self._lock:
            return dict(self._usage)


class Analytics(TreeActor):
    """One incarnation of the analytics aggregator."""

    def __init__(self, table: UsageTable) -> None:
        super().__init__()
        self._table = table

    def on_observed(self, message: Observed) -> None:
        """Attempts have finished."""
        for seen in message.observations:
            self._table.count(seen)
