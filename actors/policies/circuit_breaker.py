"""A circuit breaker: after too many failures nothing is sent for a while, then one probe decides.

Too many is so many in a row, or too great a share of the last seconds' results. Each stay in a state has
an epoch; a result that belongs to an earlier epoch changes nothing. Every attempt that was admitted is
settled by exactly one of record_success, record_failure and release.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from attrs import define, frozen

from showcaller.actors.enums import CircuitState

if TYPE_CHECKING:
    import random


MAX_DOUBLINGS = 64
"""After that many even a millisecond has outgrown every bound."""
SLICES = 10
"""The window of the rate is kept in so many counts, as Polly's: its size does not grow with the traffic."""


@frozen(kw_only=True)
class BreakerSettings:
    """When a breaker opens, and for how long.

    Attributes:
        failures: consecutive failures that open it.
        failure_rate: the share of failures among the results of the last `window` seconds that opens it too.
        min_results: with fewer results in the window the share says nothing.
        window: seconds that a result counts towards the share, less up to a tenth.
        open_time: seconds it stays open the first time; doubled each time a probe fails.
        max_open_time: where the doubling ends, in seconds; an open_time that is longer is kept.
        jitter: the open time is multiplied by a random number of 1 to 1 + jitter.
        probes: attempts admitted at a time when half-open.
    """

    failures: int = 5
    failure_rate: float = 0.5
    min_results: int = 10
    window: float = 30.0
    open_time: float = 5.0
    max_open_time: float = 300.0
    jitter: float = 0.2
    probes: int = 1


@define
class _Slice:
    """The results of a tenth of the window; `turn` counts the tenths since the clock's origin."""

    turn: int
    results: int = 0
    failures: int = 0


class CircuitBreaker:
    """The breaker of one backend slot."""

    def __init__(self, settings: BreakerSettings, *, rng: random.Random) -> None:
        self._settings = settings
        self._rng = rng
        self._state = CircuitState.CLOSED
        self._failures = 0
        self._slices: deque[_Slice] = deque()
        self._opened = 0
        self._open_until = 0.0
        self._probes = 0
        self.epoch = 0

    @property
    def open_until(self) -> float | None:
        """When it will let a probe through, in seconds of the caller's clock; None when it is not open."""
        return self._open_until if self._state is CircuitState.OPEN else None

    def state(self, now: float) -> CircuitState:
        """The state at `now`; an open breaker whose time has passed is half-open."""
        if self._state is CircuitState.OPEN and now >= self._open_until:
            return CircuitState.HALF_OPEN
        return self._state

    def is_open(self, now: float) -> bool:
        """Would an attempt be turned away now?"""
        if self._state is CircuitState.HALF_OPEN:
            return self._probes >= self._settings.probes
        return self.state(now) is CircuitState.OPEN

    def admit(self, now: float) -> int:
        """Admit an attempt; the epoch to hand back with its result.

        Raises:
            ValueError: the breaker is open.
        """
        if self.is_open(now):
            raise ValueError("the circuit breaker is open; ask is_open first")
        if self._state is CircuitState.OPEN:
            self._enter(CircuitState.HALF_OPEN)
        if self._state is CircuitState.HALF_OPEN:
            self._probes += 1
        return self.epoch

    def let_probe(self, now: float) -> None:
        """When it is open, let a probe through from `now` on, and open as briefly as the first time if that fails."""
        if self._state is CircuitState.OPEN:
            self._open_until = min(self._open_until, now)
            self._opened = 0

    def record_success(self, epoch: int, now: float) -> None:
        """An attempt of that epoch succeeded: a half-open breaker closes."""
        if epoch != self.epoch:
            return
        self._failures = 0
        self._count(now, failures=0)
        if self._state is CircuitState.HALF_OPEN:
            self._opened = 0
            self._enter(CircuitState.CLOSED)

    def record_failure(self, epoch: int, now: float) -> None:
        """An attempt of that epoch failed: one probe, enough in a row, or too great a share open the breaker."""
        if epoch != self.epoch:
            return
        settings = self._settings
        self._failures += 1
        self._count(now, failures=1)
        in_a_row = self._failures >= settings.failures
        if self._state is CircuitState.HALF_OPEN or in_a_row or self._fails_too_often():
            # Bounded, because a backend that is away for days would make a number that no float can hold.
            doubled = settings.open_time * 2.0 ** min(self._opened, MAX_DOUBLINGS)
            seconds = min(max(settings.max_open_time, settings.open_time), doubled)
            self._opened += 1
            self._open_until = now + seconds * (1 + settings.jitter * self._rng.random())
            self._enter(CircuitState.OPEN)

    def release(self, epoch: int) -> None:
        """An attempt of that epoch ended without saying anything about the backend's health."""
        if epoch == self.epoch and self._state is CircuitState.HALF_OPEN:
            self._probes -= 1

    def _count(self, now: float, *, failures: int) -> None:
        turn = int(now * (SLICES / self._settings.window))
        slices = self._slices
        if not slices or slices[-1].turn != turn:
            slices.append(_Slice(turn))
            while slices[0].turn <= turn - SLICES:
                slices.popleft()
        slices[-1].results += 1
        slices[-1].failures += failures

    def _fails_too_often(self) -> bool:
        results = sum(one.results for one in self._slices)
        failures = sum(one.failures for one in self._slices)
        settings = self._settings
        return results >= settings.min_results and failures >= settings.failure_rate * results

    def _enter(self, state: CircuitState) -> None:
        self._state = state
        self._failures = 0
        self._slices.clear()
        self._probes = 0
        self.epoch += 1
