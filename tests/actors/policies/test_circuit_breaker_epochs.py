"""A breaker's epochs: what belongs to an earlier stay says nothing about this one, and an open one admits nothing."""

from __future__ import annotations

import random

import pytest

from showcaller.actors.enums import CircuitState
from showcaller.actors.policies.circuit_breaker import BreakerSettings, CircuitBreaker


def half_open() -> CircuitBreaker:
    """One that was opened at 0, and has let its one probe through since."""
    breaker = CircuitBreaker(BreakerSettings(failures=1, jitter=0.0), rng=random.Random(1))
    breaker.record_failure(breaker.admit(0.0), 0.0)
    breaker.admit(10.0)
    return breaker


def test_an_open_breaker_admits_nothing() -> None:
    """Who does not ask first is told so."""
    breaker = CircuitBreaker(BreakerSettings(failures=1), rng=random.Random(1))
    breaker.record_failure(breaker.admit(0.0), 0.0)
    with pytest.raises(ValueError, match="ask is_open first"):
        breaker.admit(1.0)


def test_a_success_of_an_earlier_stay_does_not_close_it() -> None:
    """It was sent before the backend failed."""
    breaker = half_open()
    breaker.record_success(breaker.epoch - 1, 11.0)
    assert breaker.state(11.0) is CircuitState.HALF_OPEN


def test_a_failure_of_an_earlier_stay_does_not_open_it_again() -> None:
    """It is what opened it the first time; only the probe decides."""
    breaker = half_open()
    breaker.record_failure(breaker.epoch - 1, 11.0)
    assert breaker.state(11.0) is CircuitState.HALF_OPEN
    breaker.record_success(breaker.epoch, 11.0)
    assert breaker.state(11.0) is CircuitState.CLOSED
