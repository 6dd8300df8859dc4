"""The health of a backend from its last attempts."""

from __future__ import annotations

import math
from fractions import Fraction
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from showcaller.actors.enums import BackendState
from showcaller.actors.errors import ConfigurationError
from showcaller.actors.policies.health_window import HealthThresholds, HealthWindow

HEALTHY, DEGRADED, UNHEALTHY, UNKNOWN = (
    BackendState.HEALTHY,
    BackendState.DEGRADED,
    BackendState.UNHEALTHY,
    BackendState.UNKNOWN,
)
PERIOD = 300.0

THRESHOLDS = st.builds(
    lambda window, least, period, borders, margin: HealthThresholds(
        window=window,
        least=min(least, window),
        period=period,
        healthy=max(borders),
        degraded=min(borders),
        margin=margin,
    ),
    st.integers(1, 12),
    st.integers(1, 5),
    st.sampled_from([1.0, 7.3, 300.0]),
    st.tuples(st.floats(0.05, 1.0), st.floats(0.05, 1.0)),
    st.floats(0.0, 0.3),
)
# The pause before an attempt, whether it was answered, and after how many seconds.
ATTEMPTS = st.lists(
    st.tuples(st.sampled_from([0.0, 0.1, 0.7, 3.65, 299.9]), st.booleans(), st.floats(0.0, 9.0)), max_size=40
)


def add(window: HealthWindow, ok: bool, now: float, latency: float = 1.0) -> None:
    if ok:
        window.record_success(latency, now)
    else:
        window.record_failure(now)


def window_of(oks, thresholds=None, *, step=1.0):
    window = HealthWindow(thresholds or HealthThresholds())
    for number, ok in enumerate(oks):
        add(window, ok, number * step)
    return window


@pytest.mark.parametrize(
    ("successes", "failures", "state"),
    [
        (0, 0, UNKNOWN),
        (2, 0, UNKNOWN),
        (0, 2, UNKNOWN),
        (3, 0, HEALTHY),
        (4, 1, HEALTHY),
        (79, 21, DEGRADED),
        (80, 20, HEALTHY),
        (2, 1, DEGRADED),
        (5, 5, DEGRADED),
        (49, 51, UNHEALTHY),
        (1, 2, UNHEALTHY),
        (0, 3, UNHEALTHY),
    ],
)
def test_the_first_state_follows_the_success_rate(successes, failures, state):
    """Each threshold belongs to the better state; too few attempts say nothing."""
    assert window_of([True] * successes + [False] * failures, step=0.0).state is state


@pytest.mark.parametrize(
    ("first", "then", "states"),
    [
        ([True] * 100, [False] * 26, [HEALTHY] * 25 + [DEGRADED]),
        ([True] * 100, [False] * 56, [HEALTHY] * 25 + [DEGRADED] * 30 + [UNHEALTHY]),
        ([False] * 100, [True] * 55, [UNHEALTHY] * 54 + [DEGRADED]),
        ([False] * 100, [True] * 85, [UNHEALTHY] * 54 + [DEGRADED] * 30 + [HEALTHY]),
        ([True] * 5, [False] * 3, [HEALTHY, HEALTHY, DEGRADED]),
        ([True] * 20, [False] * 5 + [True] * 2, [HEALTHY] * 7),
        ([False] * 3, [True] * 3, [UNHEALTHY, UNHEALTHY, UNHEALTHY]),
    ],
)
def test_a_state_is_left_only_past_the_threshold_by_the_margin(first, then, states):
    """By 0.05, or by one attempt where that is more; a state of more failures needs them all the same."""
    window = window_of(first)
    seen = []
    for number, ok in enumerate(then):
        add(window, ok, 100.0 + number)
        seen.append(window.state)
    assert seen == states


def test_a_window_of_one_kind_needs_no_margin():
    """No failure is HEALTHY and no success UNHEALTHY, however small the window and however wide the margin."""
    window = window_of([True] * 4, HealthThresholds(window=4, margin=0.9))
    states = []
    for ok in [False] * 4 + [True] * 4:
        add(window, ok, 10.0 + len(states))
        states.append(window.state)
    assert (states[3], states[7]) == (UNHEALTHY, HEALTHY)


def test_a_state_can_be_skipped():
    """When more happens in one moment than there are states between."""
    window = window_of([True] * 10)
    for _ in range(100):
        window.record_failure(20.0)
    assert window.state is UNHEALTHY
    for _ in range(100):
        window.record_success(1.0, 21.0)
    assert window.state is HEALTHY


# --- time ---


def test_attempts_leave_by_time_and_the_state_with_them():
    """At the very moment at which they are too old; below `least` nothing is known any more."""
    window = window_of([False] * 3)
    assert (window.state, window.next_departure) == (UNHEALTHY, PERIOD)
    window.advance(PERIOD - 0.001)
    assert (window.state, len(window)) == (UNHEALTHY, 3)
    window.advance(PERIOD)
    assert (window.state, len(window), window.next_departure) == (UNKNOWN, 2, PERIOD + 1)
    window.advance(PERIOD + 10)
    assert (len(window), window.errors, window.success_rate, window.average_latency) == (0, 0, None, None)
    assert (window.next_departure, window.last_check) == (None, 2.0)


def test_a_window_that_was_empty_is_judged_anew():
    """Not by the margin of the state before: 4 of 5 are HEALTHY at first sight, and not after UNHEALTHY."""
    after_a_pause = window_of([False] * 5)
    after_a_pause.advance(PERIOD * 2)
    for ok in [False, True, True, True, True]:
        add(after_a_pause, ok, PERIOD * 2)
    assert after_a_pause.state is HEALTHY
    at_once = window_of([False] * 5, HealthThresholds(window=5))
    for ok in [False, True, True, True, True]:
        add(at_once, ok, 10.0)
    assert at_once.state is DEGRADED


def test_time_that_goes_backwards_stands_still():
    """An attempt of an earlier time counts as one of now."""
    window = window_of([True] * 5)
    window.record_success(1.0, -50.0)
    window.advance(1.0)
    assert (window.last_check, len(window)) == (4.0, 6)
    window.advance(PERIOD + 3)
    assert len(window) == 2


# --- properties ---


@given(THRESHOLDS, ATTEMPTS)
def test_the_window_holds_the_last_attempts_of_the_last_seconds(thresholds, attempts):
    """Never more than its bounds, by count and by time; rate, errors and latencies are those of what it holds."""
    window, now, made = HealthWindow(thresholds), 0.0, []
    for pause, ok, latency in attempts:
        now += pause
        add(window, ok, now, latency)
        made.append((now, ok, latency))
        held = [one for one in made[-thresholds.window :] if now < one[0] + thresholds.period]
        latencies = [latency for _, ok, latency in held if ok]
        assert len(window) == len(held) <= thresholds.window
        assert window.errors == len(held) - len(latencies)
        assert window.success_rate == len(latencies) / len(held)
        if latencies:
            assert window.average_latency == pytest.approx(sum(latencies) / len(latencies))
        else:
            assert window.average_latency is None
        assert (window.state is UNKNOWN) == (len(held) < thresholds.least)


@given(THRESHOLDS, ATTEMPTS, st.lists(st.floats(0.0, 1.0), min_size=3))
def test_asking_changes_nothing(thresholds, attempts, asked):
    """Whoever looks in between, as often as he likes, the state is the same in the end."""
    quiet, watched, now = HealthWindow(thresholds), HealthWindow(thresholds), 0.0
    for pause, ok, latency in attempts:
        for share in sorted(asked):
            watched.advance(now + share * pause)
            assert watched.state in BackendState
        now += pause
        add(quiet, ok, now, latency)
        add(watched, ok, now, latency)
        assert watched.state is quiet.state


@given(st.data(), st.lists(st.lists(st.booleans(), max_size=6), max_size=12))
def test_the_order_within_a_moment_does_not_matter(data, moments):
    """As long as the window is not full, what comes at the same time may come in any order."""
    one, other = HealthWindow(HealthThresholds(period=5.0)), HealthWindow(HealthThresholds(period=5.0))
    for now, oks in enumerate(moments):
        for ok in oks:
            add(one, ok, float(now))
        for ok in data.draw(st.permutations(oks)):
            add(other, ok, float(now))
        assert one.state is other.state
        assert one.success_rate == other.success_rate


@given(
    st.integers(1, 40).flatmap(lambda d: st.tuples(st.integers(0, d), st.just(d))),
    st.floats(0.0, 1.0),
    st.integers(3, 30),
    st.integers(3, 6),
    st.tuples(st.sampled_from([0.4, 0.5, 0.8, 0.95, 1.0]), st.sampled_from([0.4, 0.5, 0.8])),
    st.sampled_from([0.0, 0.05]),
)
def test_a_steady_share_of_failures_does_not_flap(share, phase, window, least, borders, margin):
    """Once it was judged, each threshold is passed at most once, whichever the share and even without a margin."""
    rate = Fraction(*share)
    thresholds = HealthThresholds(
        window=max(window, least), least=least, healthy=max(borders), degraded=min(borders), margin=margin
    )
    one = HealthWindow(thresholds)
    offset, states = Fraction(phase).limit_denominator(1000), []
    for number in range(150):
        # As evenly spread as can be: after n attempts there are n * rate successes, rounded down.
        ok = math.floor((number + 1) * rate + offset) > math.floor(number * rate + offset)
        add(one, ok, float(number) / 10)
        states.append(one.state)
    known = [state for state in states if state is not UNKNOWN]
    for better in ({HEALTHY}, {HEALTHY, DEGRADED}):
        passed = [(a in better) != (b in better) for a, b in pairwise(known)]
        assert sum(passed) <= 1


@given(st.lists(st.booleans(), min_size=1, max_size=300), st.sampled_from([20, 50]))
def test_a_state_that_was_left_is_not_back_within_twice_the_margin(oks, size):
    """Whatever comes, with a full window: so many attempts as the two margins are wide lie between."""
    thresholds = HealthThresholds(window=size, margin=0.1)
    window = window_of([True] * size, thresholds)
    changes = [(0, HEALTHY)]
    for number, ok in enumerate(oks):
        add(window, ok, 100.0 + number / 10)
        if window.state is not changes[-1][1]:
            changes.append((number, window.state))
    for (_, before), (left, _), (back, after) in zip(changes, changes[1:], changes[2:], strict=False):
        if before is after:
            assert back - left >= round(2 * 0.1 * size)


# --- latencies ---


@given(st.lists(st.floats(0.0, 100.0), min_size=1, max_size=100), st.floats(0.01, 1.0))
def test_a_quantile_is_the_least_latency_that_covers_its_share(latencies, share):
    """One of the values: enough of them are not above it, and of no smaller one that is so."""
    window = HealthWindow(HealthThresholds())
    for latency in latencies:
        window.record_success(latency, 1.0)
    (found,) = window.quantiles(share)
    enough = share * len(latencies) - 1e-6
    assert found in latencies
    assert sum(one <= found for one in latencies) >= enough
    below = [one for one in latencies if one < found]
    assert not below or sum(one <= max(below) for one in latencies) < share * len(latencies) + 1e-6


def test_quantiles_of_a_hundred_are_exact_and_without_successes_none():
    """Failures have no latency."""
    window = HealthWindow(HealthThresholds())
    window.record_failure(0.0)
    assert window.quantiles(0.5, 0.99) == [None, None]
    for latency in range(100, 0, -1):
        window.record_success(float(latency), 1.0)
    assert window.quantiles(0.01, 0.5, 0.95, 0.99, 1.0) == [1.0, 50.0, 95.0, 99.0, 100.0]


# --- thresholds ---


@pytest.mark.parametrize(
    "wrong",
    [
        {"window": 0},
        {"period": 0.0},
        {"period": math.inf},
        {"least": 0},
        {"least": 101},
        {"healthy": 1.01},
        {"healthy": 0.0},
        {"degraded": 0.81},
        {"degraded": 0.0},
        {"margin": -0.1},
    ],
)
def test_thresholds_that_contradict_themselves_are_refused(wrong):
    """By the name of the field."""
    with pytest.raises(ConfigurationError, match=f"HealthThresholds.{next(iter(wrong))} = "):
        HealthThresholds(**wrong)
