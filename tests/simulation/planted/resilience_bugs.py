"""Bugs of breakers, the retry budget and backends."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from attrs import evolve

from showcaller.actors import arrivals
from showcaller.actors.arrivals import Arrivals
from showcaller.actors.departures import Departures
from showcaller.actors.enums import (
    CircuitState,
)
from showcaller.actors.policies.circuit_breaker import CircuitBreaker
from showcaller.actors.policies.retry import Stop
from showcaller.actors.policies.retry_budget import RetryBudget
from showcaller.actors.slot import BackendSlot
from showcaller.actors.supervisor import Supervisor
from tests.simulation.planted.bug import planted

# --- breakers ---


@planted
def probe_leaked(patch: pytest.MonkeyPatch) -> None:
    """An attempt that says nothing about its backend does not give its place as a probe back."""
    patch.setattr(CircuitBreaker, "release", lambda self, epoch: None)


@planted
def half_open_floods(patch: pytest.MonkeyPatch) -> None:
    """A half-open breaker admits everything."""

    def is_open(self: CircuitBreaker, now: float) -> bool:
        return self.state(now) is CircuitState.OPEN

    patch.setattr(CircuitBreaker, "is_open", is_open)


@planted
def open_left_early(patch: pytest.MonkeyPatch) -> None:
    """A breaker lets a probe through half a second before its time has passed."""
    real = CircuitBreaker.state
    patch.setattr(CircuitBreaker, "state", lambda self, now: real(self, now + 0.5))


@planted
def rate_ignored(patch: pytest.MonkeyPatch) -> None:
    """A breaker opens by failures in a row alone, however many there are between the successes."""
    patch.setattr(CircuitBreaker, "_fails_too_often", lambda self: False)


@planted
def window_without_end(patch: pytest.MonkeyPatch) -> None:
    """What has left a breaker's window, which is short here, still counts towards the share of failures."""
    real, init = CircuitBreaker._count, CircuitBreaker.__init__

    def count(self: CircuitBreaker, now: float, *, failures: int) -> None:
        began = self._slices[-1].turn * self._settings.window / 10 if self._slices else now
        real(self, began, failures=failures)

    def short(self: CircuitBreaker, settings: Any, **options: Any) -> None:
        init(self, evolve(settings, window=1.0), **options)

    patch.setattr(CircuitBreaker, "__init__", short)
    patch.setattr(CircuitBreaker, "_count", count)


# --- the retry budget ---


@planted
def retried_without_payment(patch: pytest.MonkeyPatch) -> None:
    """Nothing is withdrawn from the retry budget."""
    patch.setattr(RetryBudget, "withdraw", lambda self, now: None)


@planted
def budget_of_each_backend(patch: pytest.MonkeyPatch) -> None:
    """Each backend has a retry budget of its own."""
    real, budgets = Arrivals._after_failure, {}

    def after_failure(self: Arrivals, flight: Any, slot: Any, error: Any, *, committed: bool) -> None:
        shared, settings = self._roster.retry_budget, self._roster.config.runtime
        own = RetryBudget(share=settings.retry_budget, burst=settings.retry_burst)
        self._roster.retry_budget = budgets.setdefault(id(slot), own)
        real(self, flight, slot, error, committed=committed)
        self._roster.retry_budget = shared

    patch.setattr(Arrivals, "_after_failure", after_failure)


@planted
def budget_anew(patch: pytest.MonkeyPatch) -> None:
    """A new supervisor begins with a full retry budget."""
    real = Departures.take_over

    def take_over(self: Departures) -> None:
        settings = self._roster.config.runtime
        self._roster.retry_budget = RetryBudget(share=settings.retry_budget, burst=settings.retry_burst)
        real(self)

    patch.setattr(Departures, "take_over", take_over)


@planted
def starved_with_money_left(patch: pytest.MonkeyPatch) -> None:
    """The retry budget is said to be used up when some is left."""
    real = RetryBudget.can_pay
    patch.setattr(RetryBudget, "can_pay", lambda self, now: real(self, now) and self.level(now) >= 3.0)


@planted
def given_up_at_the_first_failure(patch: pytest.MonkeyPatch) -> None:
    """Nothing is ever tried again."""
    patch.setattr(arrivals, "decide", lambda *args, **kwargs: Stop("no"))


@planted
def cooling_as_long_as_the_last(patch: pytest.MonkeyPatch) -> None:
    """A request is turned away when one of its backends is cooling until after its deadline."""
    real = Departures._in_vain

    def in_vain(self: Departures, flight: Any, slots: Any) -> Any:
        chances = {slot: slot.next_chance(self._clock.now()) or 0.0 for slot in slots}
        last = max(chances, key=chances.__getitem__, default=None)
        return real(self, flight, slots if last is None or last.out_of_service else [last])

    patch.setattr(Departures, "_in_vain", in_vain)


# --- backends ---


@planted
def drained_and_still_picked(patch: pytest.MonkeyPatch) -> None:
    """A draining backend is eligible."""
    eligible, takes = BackendSlot.is_eligible, BackendSlot.takes

    def not_draining(real: Callable[..., bool]) -> Callable[..., bool]:
        def asked(self: BackendSlot, *args: Any) -> bool:
            draining, self.draining = self.draining, False
            try:
                return real(self, *args)
            finally:
                self.draining = draining

        return asked

    patch.setattr(BackendSlot, "is_eligible", not_draining(eligible))
    patch.setattr(BackendSlot, "takes", not_draining(takes))


@planted
def retry_after_ignored(patch: pytest.MonkeyPatch) -> None:
    """What a backend says about when to come back is forgotten."""
    real = Arrivals._judge

    def judge(self: Arrivals, slot: BackendSlot, *args: Any, **options: Any) -> None:
        before = slot.not_before
        real(self, slot, *args, **options)
        slot.not_before = before

    patch.setattr(Arrivals, "_judge", judge)


@planted
def overcommitted(patch: pytest.MonkeyPatch) -> None:
    """A backend gets one attempt more than it may have at once."""
    real = BackendSlot.is_eligible

    def is_eligible(self: BackendSlot, now: float) -> bool:
        flying = self.in_flight
        if len(flying) == self.config.max_parallel_requests:
            self.in_flight = dict(list(flying.items())[1:])
        try:
            return real(self, now)
        finally:
            self.in_flight = flying

    patch.setattr(BackendSlot, "is_eligible", is_eligible)


@planted
def hanging_seat_kept(patch: pytest.MonkeyPatch) -> None:
    """The supervisor never looks for attempts that do not come back."""
    patch.setattr(Departures, "sweep", lambda self, now, grace: [])


@planted
def wake_up_lost(patch: pytest.MonkeyPatch) -> None:
    """Nothing wakes the supervisor when a backend may be tried again."""
    patch.setattr(Supervisor, "_wake_in", lambda self, delay: None)
