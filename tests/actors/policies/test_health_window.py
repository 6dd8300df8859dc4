"""The health of a backend from its last attempts."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from showcaller.actors.enums import BackendState
from showcaller.actors.policies.health_window import HealthThresholds, HealthWindow

HEALTHY, DEGRADED, UNHEALTHY, UNKNOWN = (
    BackendState.HEALTHY,
    BackendState.DEGRADED,
    BackendState.UNHEALTHY,
    BackendState.UNKNOWN,
)


def window_of(attempts, thresholds=None):
    window = HealthWindow(thresholds or HealthThresholds())
    for number, ok in enumerate(attempts):
        window.record(ok, 1.0, float(number))
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
def test_the_state_follows_the_success_rate(successes, failures, state):
    """Each threshold belongs to the better state; too few attempts say nothing."""
    assert window_of([True] * successes + [False] * failures).state is state


def test_the_thresholds_can_be_set():
    """Two of two is enough where one says so."""
    thresholds = HealthThresholds(least=2, healthy=1.0, degraded=0.9)
    assert window_of([True, True], thresholds).state is HEALTHY
    assert window_of([True] * 9 + [False], thresholds).state is DEGRADED
    assert window_of([True, False], thresholds).state is UNHEALTHY


@given(st.lists(st.tuples(st.booleans(), st.floats(0.0, 100.0)), max_size=40), st.integers(1, 10))
def test_only_the_last_attempts_count(attempts, size):
    """Rate and latency are those of the window; the errors are counted for ever."""
    window = HealthWindow(HealthThresholds(window=size))
    for now, (ok, latency) in enumerate(attempts):
        window.record(ok, latency, float(now))
    last = attempts[-size:]
    latencies = [latency for ok, latency in last if ok]
    assert window.errors == sum(not ok for ok, _ in attempts)
    assert window.success_rate == (len(latencies) / len(last) if last else None)
    if latencies:
        assert window.average_latency == pytest.approx(sum(latencies) / len(latencies))
    else:
        assert window.average_latency is None
    assert window.last_check == (float(len(attempts) - 1) if attempts else None)


def test_a_backend_recovers_as_its_failures_leave_the_window():
    """From unhealthy over degraded to healthy."""
    window = window_of([False] * 10, HealthThresholds(window=10))
    states = []
    for _ in range(10):
        window.record(True, 0.5, 1.0)
        states.append(window.state)
    assert states == [UNHEALTHY] * 4 + [DEGRADED] * 3 + [HEALTHY] * 3
