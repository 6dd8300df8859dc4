"""The health of all backends, by name: one window for each, and which of them does best."""

from __future__ import annotations

import math
from collections.abc import Iterable

from showcaller.actors.enums import BackendState
from showcaller.actors.policies.health_window import HealthThresholds, HealthWindow
from showcaller.actors.records import BackendHealthStatus

RANKS = {
    BackendState.HEALTHY: 0,
    BackendState.UNKNOWN: 1,
    BackendState.DEGRADED: 2,
    BackendState.UNHEALTHY: 3,
}
"""The better state first. Of what is unknown the best is assumed, or a new backend would never be tried."""


class BackendHealthMonitor:
    """Pure, and for one owner; `runtime.health` is the thread-safe form.

    `now` is seconds of one clock, whichever; `last_check` is of that clock too.

    Args:
        thresholds: what counts as healthy.
    """

    def __init__(self, thresholds: HealthThresholds | None = None) -> None:
        self._thresholds = thresholds or HealthThresholds()
        self._windows: dict[str, HealthWindow] = {}

    def record_success(self, backend: str, latency: float | None, now: float) -> None:
        """Count an attempt that was answered after `latency` seconds; None: they say nothing about its speed."""
        self._window(backend).record_success(latency, now)

    def record_failure(self, backend: str, now: float) -> None:
        """Count an attempt that failed, if the failure speaks against the backend."""
        self._window(backend).record_failure(now)

    def forget(self, backend: str) -> None:
        """Know nothing of a backend any more."""
        self._windows.pop(backend, None)

    def is_healthy(self, backend: str, now: float) -> bool:
        """Is it HEALTHY? One that is not known well enough is not."""
        return self.get_state(backend, now) is BackendState.HEALTHY

    def get_state(self, backend: str, now: float) -> BackendState:
        """The state alone."""
        window = self._windows.get(backend)
        if window is None:
            return BackendState.UNKNOWN
        window.advance(now)
        return window.state

    def get_success_rate(self, backend: str, now: float) -> float:
        """The share of successes alone; 1 when nothing counts."""
        window = self._windows.get(backend)
        if window is None:
            return 1.0
        window.advance(now)
        return 1.0 if window.success_rate is None else window.success_rate

    def get_status(self, backend: str, now: float, *, heard_at: float | None = None) -> BackendHealthStatus:
        """What is known of a backend; UNKNOWN when that is nothing.

        Args:
            backend: its name.
            now: the time.
            heard_at: the `last_check` to give, when that is of another clock.
        """
        window = self._windows.get(backend)
        if window is None:
            return BackendHealthStatus(backend=backend)
        window.advance(now)
        p50, p95, p99 = window.quantiles(0.5, 0.95, 0.99)
        return BackendHealthStatus(
            backend=backend,
            state=window.state,
            last_check=window.last_check if heard_at is None else heard_at,
            attempts=len(window),
            success_rate=self.get_success_rate(backend, now),
            avg_latency=window.average_latency or 0.0,
            latency_p50=p50,
            latency_p95=p95,
            latency_p99=p99,
            error_count=window.errors,
        )

    def get_all_status(self, now: float) -> dict[str, BackendHealthStatus]:
        """What is known of every backend of which something was recorded."""
        return {backend: self.get_status(backend, now) for backend in self._windows}

    def get_healthiest(self, now: float, candidates: Iterable[str] | None = None) -> str | None:
        """The best by state, then by success rate, then by median latency; the first of those that are equal.

        Args:
            now: the time.
            candidates: of which backends; None: of all of which something was recorded.

        Returns:
            its name, or None when there are no candidates.
        """
        names = self._windows if candidates is None else candidates
        return min(names, key=lambda name: self._badness(name, now), default=None)

    def next_departure(self, backend: str) -> float | None:
        """When the next attempt leaves the backend's window by its age, or None when that is empty."""
        window = self._windows.get(backend)
        return None if window is None else window.next_departure

    def _badness(self, backend: str, now: float) -> tuple[int, float, float]:
        status = self.get_status(backend, now)
        latency = math.inf if status.latency_p50 is None else status.latency_p50
        return RANKS[status.state], -status.success_rate, latency

    def _window(self, backend: str) -> HealthWindow:
        window = self._windows.get(backend)
        if window is None:
            window = self._windows[backend] = HealthWindow(self._thresholds)
        return window
