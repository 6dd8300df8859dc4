"""What one backend did in a simulation, in numbers."""

from __future__ import annotations

from attrs import frozen


@frozen(kw_only=True)
class BackendReport:
    """One backend; times are seconds.

    Attributes:
        name: its name.
        share: which part of all answered requests it answered.
        calls, errors: attempts at it, and how many of them failed.
        p50, p95, p99: how long its answered attempts took; nan when there is none.
        max_in_flight: the most attempts at once.
        restarts: how often its actor was started again.
    """

    name: str
    share: float
    calls: int
    errors: int
    p50: float
    p95: float
    p99: float
    max_in_flight: int
    restarts: int
