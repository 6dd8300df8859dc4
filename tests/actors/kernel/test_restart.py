"""Restart intensity and backoff: OTP's rules, for every sequence of crashes."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from showcaller.actors.kernel.restart import GiveUp, Restart, RestartHistory, RestartIntensity

INTENSITIES = st.builds(
    lambda max_restarts, min_backoff, cap, jitter, extra: RestartIntensity(
        max_restarts=max_restarts,
        min_backoff=min_backoff,
        max_backoff=min_backoff * cap,
        jitter=jitter,
        period=max_restarts * min_backoff * cap * (1 + jitter) * 1.01 + extra,
    ),
    st.integers(0, 8),
    st.floats(0.01, 2.0),
    st.floats(1.0, 100.0),
    st.floats(0.0, 1.0),
    st.floats(0.5, 100.0),
)


@given(INTENSITIES, st.lists(st.floats(0.0, 200.0), max_size=40), st.integers())
def test_every_decision_follows_from_the_crashes_in_the_window(intensity, gaps, seed):
    """Backoff doubles from min to max, jitter only lengthens it; one crash too many and it gives up."""
    history, rng, now, window = RestartHistory(intensity), random.Random(seed), 0.0, []
    for gap in gaps:
        now += gap
        window = [at for at in window if at > now - intensity.period]
        decision = history.crashed(now, rng)
        if len(window) >= intensity.max_restarts:
            assert decision == GiveUp(intensity.retry_failed_after)
            window = []
        else:
            assert isinstance(decision, Restart)
            shortest = min(intensity.max_backoff, intensity.min_backoff * 2 ** len(window))
            assert shortest <= decision.delay <= shortest * (1 + intensity.jitter) * (1 + 1e-9)
            window.append(now)


def test_the_last_allowed_restart_and_the_one_after_it():
    """MaxR restarts in the period are allowed, one more is too many; then it starts from the beginning."""
    intensity = RestartIntensity(max_restarts=3, period=60.0)
    history, rng = RestartHistory(intensity), random.Random(1)
    decisions = [history.crashed(float(at), rng) for at in range(5)]
    assert [type(decision) for decision in decisions] == [Restart, Restart, Restart, GiveUp, Restart]
    assert decisions[3].delay == 300.0
    assert decisions[4].delay < 0.2 * 1.2 + 1e-9


def test_crashes_that_are_older_than_the_period_are_forgiven():
    """At exactly the period a crash has left the window."""
    history = RestartHistory(RestartIntensity(max_restarts=1, period=60.0, jitter=0.0))
    rng = random.Random(1)
    assert history.crashed(0.0, rng) == Restart(0.2)
    assert history.crashed(60.0, rng) == Restart(0.2)
    assert history.crashed(119.9, rng) == GiveUp(300.0)


def test_a_period_that_the_backoffs_outlast_is_refused():
    """Or the intensity would never be reached, and a slot crash for ever."""
    with pytest.raises(ValueError, match="period must be longer than the backoffs of 5 restarts"):
        RestartIntensity(max_restarts=5, period=5.0)


@given(st.integers(0, 10**9))
def test_a_backoff_has_no_overflow(restarts):
    """However often a slot may be restarted."""
    assert 0.2 <= RestartIntensity().backoff(restarts) <= 30.0


def test_what_is_cleared_counts_no_more():
    """Neither towards the intensity nor towards the backoff."""
    history, rng = RestartHistory(RestartIntensity(max_restarts=1, jitter=0.0)), random.Random(1)
    history.crashed(0.0, rng)
    history.clear()
    assert history.crashed(0.1, rng) == Restart(0.2)
    assert history.crashed(0.2, rng) == GiveUp(300.0)
