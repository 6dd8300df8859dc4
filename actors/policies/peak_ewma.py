"""A moving average of latencies that jumps to each peak at once and forgets it slowly.

Finagle's peak EWMA (com.twitter.finagle.loadbalancer.PeakEwma), with one change: looking at it does not move it,
so that the same answers give the same estimate however often a route has been chosen meanwhile.
"""

from __future__ import annotations

import math

TAU = 30.0
"""Seconds in which what lies above the present falls to a third (1/e). Finagle has 10, for calls of milliseconds: one
slow answer of a model takes as long as that, and is forgotten before it has kept anyone away. docs/least-latency.md
has the figures."""


class PeakEwma:
    """One estimate, in seconds; nothing is known until something was observed.

    Args:
        tau: seconds of its memory.
    """

    def __init__(self, tau: float = TAU) -> None:
        self._tau = tau
        self._peak: float | None = None
        self._at = 0.0

    def observe(self, seconds: float, now: float) -> None:
        """Something took so long: a longer one counts at once and in full, a shorter one as time passes."""
        above = 0.0 if self._peak is None else max(0.0, self._peak - seconds)
        self._peak = seconds + above * self._weight(now)
        self._at = max(self._at, now)

    def at_least(self, seconds: float, now: float) -> None:
        """Something took longer than that, nobody knows how much: counts only when it makes the estimate worse."""
        known = self.read(now)
        if known is None or seconds > known:
            self.observe(seconds, now)

    def read(self, now: float) -> float | None:
        """The estimate; it falls towards 0 while nothing is observed, so that who was slow is tried again."""
        return None if self._peak is None else self._peak * self._weight(now)

    def _weight(self, now: float) -> float:
        return math.exp(-max(0.0, now - self._at) / self._tau)
