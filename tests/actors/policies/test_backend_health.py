"""The health of all backends: what is said of each, and which is the healthiest."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from showcaller.actors.enums import BackendState
from showcaller.actors.policies.backend_health import RANKS, BackendHealthMonitor
from showcaller.actors.policies.health_window import HealthThresholds
from showcaller.actors.records import BackendHealthStatus


def monitor_of(**attempts: str) -> BackendHealthMonitor:
    """A monitor of backends with attempts: each a digit, the seconds of a success, or an x."""
    monitor = BackendHealthMonitor()
    for backend, marks in attempts.items():
        for mark in marks:
            if mark == "x":
                monitor.record_failure(backend, 10.0)
            else:
                monitor.record_success(backend, float(mark), 10.0)
    return monitor


def test_the_status_says_what_is_in_the_window():
    """Counts, rate, mean and quantiles of the successes, and when it was last heard of."""
    assert monitor_of(a="1234x").get_status("a", 11.0) == BackendHealthStatus(
        backend="a",
        state=BackendState.HEALTHY,
        last_check=10.0,
        attempts=5,
        success_rate=0.8,
        avg_latency=2.5,
        latency_p50=2.0,
        latency_p95=4.0,
        latency_p99=4.0,
        error_count=1,
    )


def test_of_what_was_never_tried_nothing_is_known():
    """And asking does not make it known."""
    monitor = monitor_of(a="111")
    assert monitor.get_status("b", 1.0) == BackendHealthStatus(backend="b")
    assert not monitor.is_healthy("b", 1.0)
    assert monitor.next_departure("b") is None
    assert set(monitor.get_all_status(1.0)) == {"a"}


def test_time_alone_changes_what_is_said():
    """A window that has emptied is UNKNOWN, and keeps when it was last heard of."""
    monitor = monitor_of(a="xxx")
    assert monitor.next_departure("a") == 310.0
    assert monitor.get_state("a", 309.9) is BackendState.UNHEALTHY
    status = monitor.get_status("a", 310.0)
    assert (status.state, status.attempts, status.error_count) == (BackendState.UNKNOWN, 0, 0)
    assert (status.success_rate, status.latency_p50, status.last_check) == (1.0, None, 10.0)


def test_what_is_forgotten_starts_anew():
    """Also when it was not known."""
    monitor = monitor_of(a="xxx")
    monitor.forget("a")
    monitor.forget("a")
    assert monitor.get_all_status(10.0) == {}
    monitor.record_success("a", 1.0, 10.0)
    assert monitor.get_state("a", 10.0) is BackendState.UNKNOWN


def test_the_thresholds_can_be_set():
    """One attempt is enough where one says so."""
    monitor = BackendHealthMonitor(HealthThresholds(least=1))
    monitor.record_success("a", 1.0, 0.0)
    assert monitor.is_healthy("a", 0.0)


@pytest.mark.parametrize(
    ("attempts", "candidates", "healthiest"),
    [
        ({}, None, None),
        ({"a": "111"}, [], None),
        ({"a": "111xx", "b": "1111x"}, None, "b"),
        ({"a": "xxx", "b": "11xx"}, None, "b"),
        ({"a": "1x", "b": "11xx"}, None, "a"),
        ({"a": "1x", "b": "111"}, None, "b"),
        ({"a": "1111x", "b": "9999"}, None, "b"),
        ({"a": "2222", "b": "1199"}, None, "b"),
        ({"a": "1111", "b": "1111"}, None, "a"),
        ({"a": "1111", "b": "1111"}, ["b", "a"], "b"),
        ({"a": "1111", "b": "xxx"}, ["b"], "b"),
        ({"a": "xxx"}, ["a", "new"], "new"),
        ({"a": "1111"}, ["new", "a"], "a"),
    ],
    ids=str,
)
def test_the_healthiest_is_the_best_by_state_then_rate_then_median(attempts, candidates, healthiest):
    """One that nothing is known of is better than one that is known to fail; of equals it is the first."""
    assert monitor_of(**attempts).get_healthiest(10.0, candidates) == healthiest


@given(st.dictionaries(st.sampled_from("abcd"), st.text("1359x", min_size=1, max_size=8)), st.data())
def test_nobody_has_a_better_state_than_the_healthiest(attempts, data):
    """And the order of the candidates decides only between those that are equal in everything."""
    monitor = monitor_of(**attempts)
    statuses = monitor.get_all_status(10.0)
    best = monitor.get_healthiest(10.0)
    other = monitor.get_healthiest(10.0, data.draw(st.permutations(sorted(attempts))))
    if best is None or other is None:
        assert best is other is None
        assert not attempts
        return
    assert RANKS[statuses[best].state] == min(RANKS[status.state] for status in statuses.values())
    assert statuses[best].success_rate == statuses[other].success_rate
    assert statuses[best].latency_p50 == statuses[other].latency_p50


def test_the_success_rate_alone_is_as_old_as_is_asked() -> None:
    """Without attempts it is 1, and again when all are too old."""
    monitor = BackendHealthMonitor()
    assert monitor.get_success_rate("a", 0.0) == 1.0
    monitor.record_failure("a", 0.0)
    monitor.record_success("a", 0.1, 1.0)
    assert monitor.get_success_rate("a", 2.0) == 0.5
    assert monitor.get_success_rate("a", 1000.0) == 1.0


def test_a_success_that_says_nothing_about_the_speed_is_in_no_latency() -> None:
    """It counts as a success all the same."""
    monitor = BackendHealthMonitor()
    monitor.record_success("a", None, 0.0)
    status = monitor.get_status("a", 0.0)
    assert (status.attempts, status.error_count, status.latency_p50) == (1, 0, None)
    monitor.record_success("a", 2.0, 0.0)
    status = monitor.get_status("a", 0.0)
    assert (status.attempts, status.avg_latency, status.latency_p50) == (2, 2.0, 2.0)


def test_the_last_check_may_be_of_another_clock() -> None:
    """The caller knows when it heard of the attempts."""
    monitor = BackendHealthMonitor()
    monitor.record_success("a", 0.1, 5.0)
    assert monitor.get_status("a", 6.0).last_check == 5.0
    assert monitor.get_status("a", 6.0, heard_at=1_700_000_000.0).last_check == 1_700_000_000.0
