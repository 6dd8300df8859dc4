"""What a simulation has shown: requests, attempts, latencies, shares, restarts, and what did not hold.

Two runs of the same seed have equal reports: what depends on the computer, which is `real_seconds`, is not
compared and not written.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterable, Mapping
from time import perf_counter
from typing import TYPE_CHECKING, Any, Self

import attrs
from attrs import field, frozen

from showcaller.actors.enums import RequestPriority
from showcaller.actors.errors import ConfigurationError
from showcaller.actors.validators import is_number, nearest, shown
from showcaller.runtime.testing.attempt_report import AttemptReport
from showcaller.runtime.testing.backend_report import BackendReport
from showcaller.runtime.testing.calls import report_calls
from showcaller.runtime.testing.request_report import RequestOutcome, RequestReport
from showcaller.runtime.testing.timeline import Moment

if TYPE_CHECKING:
    from showcaller.runtime.testing.simulation import Simulation

MEASURES = ("latency", "first_token", "attempt_latency")
DIGITS = 6
"""To so many digits after the point numbers are written."""


@frozen(kw_only=True)
class Report:
    """One run; times are virtual seconds since its beginning.

    Attributes:
        seed, digest: which run it was; the same seed gives the same digest.
        steps: how many things happened.
        duration: how long it was.
        real_seconds: how long the computer took.
        backends: the names of all backends there have been.
        requests: what was sent, in that order.
        attempts: every call of a backend, in the order of their beginnings.
        restarts: how often each actor was started again, backends by their names.
        timeline: what happened that one wants to see.
        violations: the invariants that did not hold, in words.
        trace: the last things that happened.
    """

    seed: int
    digest: str
    steps: int
    duration: float
    real_seconds: float = field(default=0.0, eq=False)
    backends: tuple[str, ...]
    requests: tuple[RequestReport, ...] = field(default=(), repr=False)
    attempts: tuple[AttemptReport, ...] = field(default=(), repr=False)
    restarts: Mapping[str, int] = field(factory=dict)
    timeline: tuple[Moment, ...] = field(default=(), repr=False)
    violations: tuple[str, ...] = ()
    trace: tuple[str, ...] = field(default=(), repr=False)

    @classmethod
    def of(cls, simulation: Simulation) -> Self:
        """The report of a simulation that has run."""
        world = simulation.world
        requests, attempts = report_calls(
            simulation.door.requests,
            [served for backend in simulation.made for served in backend.served],
            (simulation.runtime._tree.roster.config, simulation.config),
        )
        status = simulation.runtime.status()
        restarts: Counter[str] = Counter()
        for actor in (*status.actors, *(backend.actor for backend in status.backends)):
            restarts[actor.name] += actor.restarts
        return cls(
            seed=simulation.seed,
            digest=world.trace.digest,
            steps=world.steps,
            duration=simulation.now,
            real_seconds=perf_counter() - simulation.began,
            backends=tuple(simulation.backends),
            requests=requests,
            attempts=attempts,
            restarts=dict(restarts),
            timeline=tuple(simulation.timeline),
            violations=tuple(simulation.inspector.violations),
            trace=world.trace.tail(),
        )

    # --- counts ---

    @property
    def steps_per_second(self) -> float:
        """Steps in a second of real time."""
        return self.steps / self.real_seconds if self.real_seconds > 0 else 0.0

    @property
    def accepted(self) -> int:
        """Requests that were not refused."""
        return len(self.requests) - self.refused

    @property
    def answered(self) -> int:
        """Requests with an answer."""
        return self._count("answered")

    @property
    def failed(self) -> int:
        """Accepted requests with an error, without those that were cancelled."""
        return self._count("failed")

    @property
    def cancelled(self) -> int:
        """Requests that their callers gave up."""
        return self._count("cancelled")

    @property
    def refused(self) -> int:
        """Requests that were not accepted."""
        return self._count("refused")

    @property
    def open(self) -> int:
        """Requests without an outcome."""
        return self._count("open")

    def _count(self, outcome: RequestOutcome) -> int:
        return sum(request.outcome == outcome for request in self.requests)

    @property
    def success_rate(self) -> float:
        """Answered / (answered + failed + refused); 1.0 when that is 0 / 0. What a caller gave up does not count."""
        wanted = self.answered + self.failed + self.refused
        return self.answered / wanted if wanted else 1.0

    @property
    def errors(self) -> Counter[str]:
        """The error types of requests that failed or were refused, by name."""
        return Counter(
            request.error
            for request in self.requests
            if request.error is not None and request.outcome in ("failed", "refused")
        )

    @property
    def attempt_errors(self) -> Counter[str]:
        """The error types of attempts that failed, by name."""
        return Counter(
            attempt.error
            for attempt in self.attempts
            if attempt.error is not None and attempt.outcome == "failed"
        )

    # --- latencies ---

    def quantile(self, what: str, q: float, backend: str | None = None) -> float:
        """Seconds within which a share `q` of the values lies, by the nearest rank.

        Args:
            what: "latency", from submission to answer of the requests that were answered; "first_token", from
                the start of an attempt to its first token; "attempt_latency", of the attempts that were answered.
            q: 0.0 to 1.0.
            backend: only what this one did; None: all.

        Returns:
            nan when there is no value, so that every comparison with it fails.

        Raises:
            ConfigurationError: there is no such measure or backend, or `q` is out of range.
        """
        if what not in MEASURES:
            raise ConfigurationError(f"quantile: there is no measure {what!r}{nearest(what, MEASURES)}")
        if not is_number(q) or not 0 <= q <= 1:
            raise ConfigurationError(f"quantile: q = {shown(q)}: use a number from 0 to 1")
        if backend is not None:
            self._refuse_unknown(backend)
        ordered = sorted(value for value in self._values(what, backend) if value is not None)
        return ordered[max(0, math.ceil(q * len(ordered)) - 1)] if ordered else math.nan

    def p50(self, what: str, backend: str | None = None) -> float:
        """The median; see quantile."""
        return self.quantile(what, 0.5, backend)

    def p95(self, what: str, backend: str | None = None) -> float:
        """See quantile."""
        return self.quantile(what, 0.95, backend)

    def p99(self, what: str, backend: str | None = None) -> float:
        """See quantile."""
        return self.quantile(what, 0.99, backend)

    def _values(self, what: str, backend: str | None) -> Iterable[float | None]:
        if what == "latency":
            return (
                request.latency
                for request in self.requests
                if request.outcome == "answered" and backend in (None, request.backend)
            )
        attempts = (attempt for attempt in self.attempts if backend in (None, attempt.backend))
        if what == "first_token":
            return (attempt.first_token_latency for attempt in attempts)
        return (attempt.latency for attempt in attempts if attempt.outcome == "answered")

    # --- backends ---

    def share(self) -> Mapping[str, float]:
        """Which part of the answered requests each backend answered; 0.0 for all when none was."""
        answers = Counter(request.backend for request in self.requests if request.outcome == "answered")
        return {name: answers[name] / max(1, answers.total()) for name in self.backends}

    def max_in_flight(self, backend: str) -> int:
        """The most attempts that were under way at a backend at once.

        One that begins at the very moment at which another ends is not at once with it.

        Raises:
            ConfigurationError: there is no such backend.
        """
        self._refuse_unknown(backend)
        changes: list[tuple[float, int, float, int]] = []
        for place, attempt in enumerate(self.attempts):
            if attempt.backend == backend:
                changes.append((attempt.started, 1, place, 1))
                if attempt.ended is not None:
                    # What took no time at all was there all the same, until the next began.
                    at_once = attempt.ended == attempt.started
                    changes.append((attempt.ended, 1 if at_once else 0, place + 0.5, -1))
        most = now = 0
        for *_, change in sorted(changes):
            now += change
            most = max(most, now)
        return most

    def backend(self, name: str) -> BackendReport:
        """What one backend did.

        Raises:
            ConfigurationError: there is no such backend.
        """
        self._refuse_unknown(name)
        attempts = [attempt for attempt in self.attempts if attempt.backend == name]
        return BackendReport(
            name=name,
            share=self.share()[name],
            calls=len(attempts),
            errors=sum(attempt.outcome == "failed" for attempt in attempts),
            p50=self.p50("attempt_latency", name),
            p95=self.p95("attempt_latency", name),
            p99=self.p99("attempt_latency", name),
            max_in_flight=self.max_in_flight(name),
            restarts=self.restarts.get(name, 0),
        )

    def _refuse_unknown(self, backend: str) -> None:
        if backend not in self.backends:
            raise ConfigurationError(
                f"report: no backend is named {backend!r}{nearest(backend, self.backends)}"
            )

    # --- as plain data ---

    def as_dict(self) -> dict[str, Any]:
        """What JSON can say: the counts and everything behind them, the same for every run of the same seed."""
        plain: dict[str, Any] = _plain(
            {
                "seed": self.seed,
                "digest": self.digest,
                "steps": self.steps,
                "duration": self.duration,
                "accepted": self.accepted,
                "answered": self.answered,
                "failed": self.failed,
                "cancelled": self.cancelled,
                "refused": self.refused,
                "open": self.open,
                "success_rate": self.success_rate,
                **{what: {f"p{q}": self.quantile(what, q / 100) for q in (50, 95, 99)} for what in MEASURES},
                "errors": dict(self.errors.most_common()),
                "attempt_errors": dict(self.attempt_errors.most_common()),
                "backends": {name: attrs.asdict(self.backend(name)) for name in self.backends},
                "restarts": self.restarts,
                "timeline": [attrs.asdict(moment) for moment in self.timeline],
                "violations": self.violations,
                "trace": self.trace,
                "requests": [_with_latency(request) for request in self.requests],
                "attempts": [_with_latency(attempt) for attempt in self.attempts],
            }
        )
        return plain

    def to_json(self) -> str:
        """The same as one JSON object on one line."""
        return json.dumps(self.as_dict(), ensure_ascii=False, allow_nan=False)


def _with_latency(report: RequestReport | AttemptReport) -> dict[str, Any]:
    return {**attrs.asdict(report, recurse=False), "latency": report.latency}


def _plain(value: Any) -> Any:
    match value:
        case float():
            return round(value, DIGITS) if math.isfinite(value) else None
        case RequestPriority():
            return value.name.lower()
        case Mapping():
            return {key: _plain(one) for key, one in value.items()}
        case list() | tuple():
            return [_plain(one) for one in value]
    return value
