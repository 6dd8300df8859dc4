"""The health of one backend from its last attempts: success rate and average latency over a window of counts."""

from __future__ import annotations

from collections import deque

from attrs import frozen

from showcaller.actors.enums import BackendState


@frozen(kw_only=True)
class HealthThresholds:
    """What counts as healthy.

    Attributes:
        window: the number of last attempts that count.
        least: fewer attempts than these say nothing: UNKNOWN.
        healthy: from this success rate on a backend is HEALTHY.
        degraded: from this success rate on it is DEGRADED, below it UNHEALTHY.
    """

    window: int = 100
    least: int = 3
    healthy: float = 0.8
    degraded: float = 0.5


class HealthWindow:
    """A sliding window over the last attempts."""

    def __init__(self, thresholds: HealthThresholds) -> None:
        self._thresholds = thresholds
        self._attempts: deque[tuple[bool, float]] = deque(maxlen=thresholds.window)
        self.last_check: float | None = None
        self.errors = 0

    def record(self, ok: bool, latency: float, now: float) -> None:
        """Count an attempt of `latency` seconds that ended at `now`."""
        self._attempts.append((ok, latency))
        self.errors += not ok
        self.last_check = now

    @property
    def success_rate(self) -> float | None:
        """The share of successes in the window, or None when it is empty."""
        if not self._attempts:
            return None
        return sum(ok for ok, _ in self._attempts) / len(self._attempts)

    @property
    def average_latency(self) -> float | None:
        """Seconds a successful attempt took on average, or None when there is none in the window."""
        latencies = [latency for ok, latency in self._attempts if ok]
        return sum(latencies) / len(latencies) if latencies else None

    @property
    def state(self) -> BackendState:
        """What the window says."""
        rate = self.success_rate
        if rate is None or len(self._attempts) < self._thresholds.least:
            return BackendState.UNKNOWN
        if rate >= self._thresholds.healthy:
            return BackendState.HEALTHY
        return BackendState.DEGRADED if rate >= self._thresholds.degraded else BackendState.UNHEALTHY
