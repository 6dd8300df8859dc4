"""The health of one backend from its last attempts: a window bounded by count and by time, judged with hysteresis.

The state is judged once for each moment, of all that has happened by its end: the order of what is recorded at the same
time does not matter, nor how often it is asked for, and what time alone changes is found out by asking.
"""

from __future__ import annotations

import math
from collections import deque
from typing import Any

from attrs import Attribute, field, frozen

from showcaller.actors.enums import BackendState
from showcaller.actors.validators import number, refuse, whole

ROUNDING = 1e-9
"""A rate that misses a threshold by no more than this meets it: 0.8 + 0.05 is more than 0.85."""

_SHARE = "use a share above 0, up to 1"


@frozen(kw_only=True)
class HealthThresholds:
    """What counts as healthy.

    Attributes:
        window: the most attempts that count: the last ones.
        period: seconds after which an attempt does not count any more.
        least: fewer attempts than these say nothing: UNKNOWN.
        healthy: from this success rate on a backend is HEALTHY.
        degraded: from this success rate on it is DEGRADED, below it UNHEALTHY.
        margin: by so much, or by one attempt of the window if that is more, the rate has to be past a threshold before
            a state that was judged once is left. Only a window of nothing but successes or failures needs no margin.
    """

    window: int = field(default=100, validator=whole("use a whole number, 1 or more", least=1))
    period: float = field(default=300.0, validator=number("use seconds, above 0", above=0))
    least: int = field(default=3)
    healthy: float = field(default=0.8, validator=number(_SHARE, above=0))
    degraded: float = field(default=0.5, validator=number(_SHARE, above=0))
    margin: float = field(default=0.05, validator=number("use a share, 0 or more", least=0))

    @least.validator
    def _check_least(self, attribute: Attribute[Any], value: Any) -> None:
        whole("use a whole number, 1 or more", least=1)(self, attribute, value)
        if value > self.window:
            raise refuse(self, "least", value, f"use no more than window = {self.window}")

    @healthy.validator
    def _check_healthy(self, _attribute: Attribute[Any], value: Any) -> None:
        if value > 1:
            raise refuse(self, "healthy", value, _SHARE)

    @degraded.validator
    def _check_degraded(self, _attribute: Attribute[Any], value: Any) -> None:
        if value > self.healthy:
            raise refuse(self, "degraded", value, f"use no more than healthy = {self.healthy:g}")


class HealthWindow:
    """A sliding window over the last attempts.

    Times are seconds of one clock, whichever; one that is earlier than another before it is taken for that.

    Attributes:
        last_check: when the last attempt was recorded, or None.
    """

    def __init__(self, thresholds: HealthThresholds) -> None:
        self._thresholds = thresholds
        # When it was recorded, whether it was a success, and the seconds that took, if that is of interest.
        self._attempts: deque[tuple[float, bool, float | None]] = deque()
        self._successes = 0
        self._moment = -math.inf
        self._before = BackendState.UNKNOWN
        self.last_check: float | None = None

    def __len__(self) -> int:
        return len(self._attempts)

    def record_success(self, latency: float | None, now: float) -> None:
        """Count an attempt that was answered after `latency` seconds; None: they say nothing about its speed."""
        self._record(latency, now, ok=True)

    def record_failure(self, now: float) -> None:
        """Count an attempt that failed."""
        self._record(None, now, ok=False)

    def _record(self, latency: float | None, now: float, *, ok: bool) -> None:
        self.advance(now)
        if len(self._attempts) == self._thresholds.window:
            self._drop()
        self._attempts.append((self._moment, ok, latency))
        self._successes += ok
        self.last_check = self._moment

    def advance(self, now: float) -> None:
        """Let time pass: what is too old leaves, and each moment at which something left was one to judge at."""
        if now <= self._moment:
            return
        while (due := self.next_departure) is not None and due <= now:
            self._move_to(due)
            self._drop()
        self._move_to(now)

    def _move_to(self, moment: float) -> None:
        if moment > self._moment:
            self._before = self.state
            self._moment = moment

    def _drop(self) -> None:
        _, ok, _ = self._attempts.popleft()
        self._successes -= ok

    @property
    def next_departure(self) -> float | None:
        """When the next attempt will be too old, or None when there is none."""
        return self._attempts[0][0] + self._thresholds.period if self._attempts else None

    @property
    def errors(self) -> int:
        """The failures in the window."""
        return len(self._attempts) - self._successes

    @property
    def success_rate(self) -> float | None:
        """The share of successes in the window, or None when it is empty."""
        return self._successes / len(self._attempts) if self._attempts else None

    @property
    def average_latency(self) -> float | None:
        """Seconds a success took on average, or None when that of none in the window is known."""
        latencies = self._latencies
        return math.fsum(latencies) / len(latencies) if latencies else None

    def quantiles(self, *shares: float) -> list[float | None]:
        """The seconds within which each share (above 0, up to 1) of the successes came; by nearest rank.

        None for each when that of no success in the window is known. They are exact: so few values are sorted at once,
        and a sketch could not let the old ones go.
        """
        latencies = sorted(self._latencies)
        if not latencies:
            return [None] * len(shares)
        return [latencies[max(0, math.ceil(share * len(latencies) - ROUNDING) - 1)] for share in shares]

    @property
    def _latencies(self) -> list[float]:
        return [latency for _, _, latency in self._attempts if latency is not None]

    @property
    def state(self) -> BackendState:
        """What the window says, as of the last record or advance."""
        thresholds, attempts, before = self._thresholds, len(self._attempts), self._before
        if attempts < thresholds.least:
            return BackendState.UNKNOWN
        if self.errors == 0:
            return BackendState.HEALTHY
        if self._successes == 0:
            return BackendState.UNHEALTHY
        # One attempt at least: else a steady share of failures, whose rate is never exact, would go to and fro.
        margin = 0.0 if before is BackendState.UNKNOWN else max(thresholds.margin, 1.0 / attempts)
        healthy = thresholds.healthy + (-margin if before is BackendState.HEALTHY else margin)
        degraded = thresholds.degraded + (margin if before is BackendState.UNHEALTHY else -margin)
        rate = self._successes / attempts + ROUNDING
        if rate >= healthy:
            return BackendState.HEALTHY
        return BackendState.DEGRADED if rate >= degraded else BackendState.UNHEALTHY
