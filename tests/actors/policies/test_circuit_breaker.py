"""The circuit breaker: nothing to an open one, few probes to a half-open one, and no word from the past."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from showcaller.actors.enums import CircuitState
from showcaller.actors.policies.circuit_breaker import BreakerSettings, CircuitBreaker

CLOSED, OPEN, HALF_OPEN = CircuitState.CLOSED, CircuitState.OPEN, CircuitState.HALF_OPEN

ROUNDING = 1e-6
"""Seconds; times are sums of floats."""

all_settings = st.builds(
    BreakerSettings,
    failures=st.integers(1, 4),
    open_time=st.floats(0.1, 50.0),
    max_open_time=st.floats(0.1, 400.0),
    jitter=st.floats(0.0, 1.0),
    probes=st.integers(1, 3),
)


def bounds(settings, opened):
    """The least and the most seconds of the stay in OPEN that follows so many others."""
    longest = max(settings.open_time, settings.max_open_time)
    least = min(longest, settings.open_time * 2**opened)
    return least - ROUNDING, least * (1 + settings.jitter) + ROUNDING


def opened_breaker(now=0.0, **fields):
    breaker = CircuitBreaker(BreakerSettings(failures=1, **fields), rng=random.Random(1))
    breaker.record_failure(breaker.admit(now), now)
    return breaker


class BreakerMachine(RuleBasedStateMachine):
    """Attempts come and go in any order; a model of few words says what the breaker must be."""

    @initialize(settings=all_settings, seed=st.integers())
    def begin(self, settings, seed):
        self.settings = settings
        self.breaker = CircuitBreaker(settings, rng=random.Random(seed))
        self.now = 0.0
        self.state, self.opened, self.in_a_row = CLOSED, 0, 0
        self.opened_at = 0.0
        self.out, self.stale = [], []

    def leave_for(self, state):
        self.state, self.in_a_row = state, 0
        self.stale += self.out
        self.out = []

    def open(self):
        least, most = bounds(self.settings, self.opened)
        self.leave_for(OPEN)
        self.opened += 1
        assert least <= self.breaker.open_until - self.now <= most
        self.opened_at = self.now

    @rule(seconds=st.floats(0.0, 30.0))
    def pass_time(self, seconds):
        self.now += seconds

    @precondition(lambda self: self.state is OPEN)
    @rule()
    def wait_until_it_is_time(self):
        self.now = max(self.now, self.breaker.open_until)

    @rule()
    def admit(self):
        if self.breaker.is_open(self.now):
            epoch = self.breaker.epoch
            with pytest.raises(ValueError, match="is open"):
                self.breaker.admit(self.now)
            assert self.breaker.epoch == epoch
            return
        if self.state is OPEN:
            least, _ = bounds(self.settings, self.opened - 1)
            assert self.now >= self.opened_at + least
            self.leave_for(HALF_OPEN)
        self.out.append(self.breaker.admit(self.now))
        if self.state is HALF_OPEN:
            assert len(self.out) <= self.settings.probes

    @precondition(lambda self: self.out)
    @rule()
    def succeed(self):
        epoch = self.out.pop()
        self.breaker.record_success(epoch)
        self.in_a_row = 0
        if self.state is HALF_OPEN:
            self.opened = 0
            self.leave_for(CLOSED)

    @precondition(lambda self: self.out)
    @rule()
    def fail(self):
        epoch = self.out.pop()
        self.breaker.record_failure(epoch, self.now)
        self.in_a_row += 1
        if self.state is HALF_OPEN or self.in_a_row >= self.settings.failures:
            self.open()

    @precondition(lambda self: self.out)
    @rule()
    def abandon(self):
        self.breaker.release(self.out.pop())

    @precondition(lambda self: self.stale)
    @rule(data=st.data())
    def hear_from_the_past(self, data):
        epoch = self.stale.pop()
        before = dict(vars(self.breaker))
        word = data.draw(st.sampled_from(["success", "failure", "release"]))
        if word == "success":
            self.breaker.record_success(epoch)
        elif word == "failure":
            self.breaker.record_failure(epoch, self.now)
        else:
            self.breaker.release(epoch)
        assert vars(self.breaker) == before

    @invariant()
    def it_is_what_the_model_says(self):
        waiting = self.state is OPEN and self.now < self.breaker.open_until
        full = self.state is HALF_OPEN and len(self.out) >= self.settings.probes
        shown = OPEN if waiting else HALF_OPEN if self.state is OPEN else self.state
        assert self.breaker.state(self.now) is shown
        assert self.breaker.is_open(self.now) == (waiting or full)
        assert (self.breaker.open_until is None) == (self.state is not OPEN)
        assert all(epoch == self.breaker.epoch for epoch in self.out)


TestBreaker = BreakerMachine.TestCase


@given(all_settings, st.integers(0, 12), st.integers())
def test_the_open_time_doubles_up_to_its_bound(settings, failed_probes, seed):
    """Each failed probe doubles it; jitter only lengthens it."""
    breaker, now = CircuitBreaker(settings, rng=random.Random(seed)), 0.0
    for _ in range(settings.failures):
        breaker.record_failure(breaker.admit(now), now)
    for opened in range(failed_probes):
        least, most = bounds(settings, opened)
        assert least <= breaker.open_until - now
        assert breaker.open_until - now <= most
        now = breaker.open_until
        breaker.record_failure(breaker.admit(now), now)
    least, _ = bounds(settings, failed_probes)
    assert not breaker.is_open(breaker.open_until)
    assert breaker.is_open(now + least * (1 - 1e-6) - ROUNDING)


def test_a_backend_that_stays_away_for_ever_is_probed_for_ever():
    """Thousands of failed probes neither overflow nor lengthen the wait."""
    breaker, now = opened_breaker(jitter=0.0), 0.0
    for _ in range(3000):
        now = breaker.open_until
        breaker.record_failure(breaker.admit(now), now)
    assert breaker.open_until - now == 300.0


def test_a_closed_breaker_starts_again_from_the_first_open_time():
    """A probe that succeeds ends the doubling."""
    breaker = opened_breaker(jitter=0.0)
    for _ in range(3):
        now = breaker.open_until
        breaker.record_failure(breaker.admit(now), now)
    now = breaker.open_until
    breaker.record_success(breaker.admit(now))
    breaker.record_failure(breaker.admit(now), now)
    assert breaker.open_until == now + 5.0


def test_a_configured_open_time_beyond_the_usual_bound_is_kept():
    """Who asks for ten minutes gets ten minutes."""
    breaker = opened_breaker(open_time=600.0, jitter=0.0)
    assert breaker.open_until == 600.0


def test_an_abandoned_probe_makes_room_for_the_next():
    """Without that a probe that says nothing would keep the breaker shut for ever."""
    breaker = opened_breaker(jitter=0.0)
    probe = breaker.admit(5.0)
    assert breaker.is_open(5.0)
    breaker.release(probe)
    assert not breaker.is_open(5.0)
    breaker.record_success(breaker.admit(5.0))
    assert breaker.state(5.0) is CLOSED


def test_an_attempt_that_says_nothing_counts_as_neither_when_closed():
    """Failures in a row stay in a row around it."""
    breaker = CircuitBreaker(BreakerSettings(failures=2), rng=random.Random(1))
    breaker.record_failure(breaker.admit(0.0), 0.0)
    breaker.release(breaker.admit(0.0))
    breaker.record_failure(breaker.admit(0.0), 0.0)
    assert breaker.is_open(0.0)
