"""The estimate of a latency: a peak counts at once, what is quick only as time passes, and nothing for ever."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from showcaller.actors.policies.peak_ewma import TAU, PeakEwma

THIRD = math.exp(-1.0)

seconds = st.floats(0.001, 100.0)
histories = st.lists(st.tuples(seconds, st.floats(0.0, 30.0)), min_size=1, max_size=30)


def estimate(*observed: tuple[float, float]) -> PeakEwma:
    """What has seen so many seconds, each at a time."""
    ewma = PeakEwma()
    for took, at in observed:
        ewma.observe(took, at)
    return ewma


def test_nothing_is_known_at_first() -> None:
    """And that is not the same as 0 seconds."""
    assert PeakEwma().read(100.0) is None


@pytest.mark.parametrize(
    ("observed", "at", "expected"),
    [
        ([(2.0, 5.0)], 5.0, 2.0),
        ([(2.0, 5.0)], 5.0 + TAU, 2.0 * THIRD),
        ([(1.0, 0.0), (9.0, 0.0)], 0.0, 9.0),
        ([(9.0, 0.0), (1.0, 0.0)], 0.0, 9.0),
        ([(9.0, 0.0), (1.0, TAU)], TAU, 1.0 + 8.0 * THIRD),
        ([(9.0, 0.0), (1.0, TAU), (1.0, 2 * TAU)], 2 * TAU, 1.0 + 8.0 * THIRD**2),
        ([(9.0, 0.0), (1.0, TAU)], 2 * TAU, (1.0 + 8.0 * THIRD) * THIRD),
        ([(2.0, 5.0)], 4.0, 2.0),
    ],
)
def test_an_estimate(observed: list[tuple[float, float]], at: float, expected: float) -> None:
    """Peaks at once; what lies above the present falls to a third in each TAU; no time runs backwards."""
    assert estimate(*observed).read(at) == pytest.approx(expected)


@given(histories)
def test_an_estimate_lies_between_what_came_last_and_the_worst(history: list[tuple[float, float]]) -> None:
    """At the moment of an observation."""
    ewma, now, worst = PeakEwma(), 0.0, 0.0
    for took, pause in history:
        now += pause
        ewma.observe(took, now)
        worst = max(worst, took)
        read = ewma.read(now)
        assert read is not None
        assert took <= read <= worst * (1 + 1e-12)


@given(histories)
def test_each_peak_is_forgotten_by_its_time_and_no_faster(history: list[tuple[float, float]]) -> None:
    """No observation, however many quick ones follow it, counts for less than what time has left of it."""
    ewma, now, seen = PeakEwma(), 0.0, []
    for took, pause in history:
        now += pause
        ewma.observe(took, now)
        seen.append((took, now))
        read = ewma.read(now)
        assert read is not None
        assert all(read >= took * math.exp((at - now) / TAU) * (1 - 1e-9) for took, at in seen)


@given(histories, st.lists(st.floats(0.0, 5.0), max_size=20))
def test_looking_changes_nothing(history: list[tuple[float, float]], looks: list[float]) -> None:
    """However often a route is chosen meanwhile."""
    looked_at, left_alone, now = PeakEwma(), PeakEwma(), 0.0
    for took, pause in history:
        for look in looks:
            looked_at.read(now + look)
        now += pause
        looked_at.observe(took, now)
        left_alone.observe(took, now)
    assert looked_at.read(now + 1.0) == left_alone.read(now + 1.0)


@given(seconds, st.lists(st.floats(0.1, 20.0), min_size=1, max_size=20))
def test_a_peak_gives_way_to_what_is_usual(usual: float, pauses: list[float]) -> None:
    """Each further usual answer brings the estimate closer, and never below."""
    ewma, now = estimate((usual * 10, 0.0)), 0.0
    before = usual * 10
    for pause in pauses:
        now += pause
        ewma.observe(usual, now)
        read = ewma.read(now)
        assert read is not None
        assert usual <= read <= before
        before = read
    assert before - usual <= 9 * usual * math.exp(-now / TAU) * (1 + 1e-6) + 1e-9


def test_the_longest_time_given_up_counts_and_a_short_one_does_not() -> None:
    """Who waited for three seconds in vain knows that it takes three; who waited for one knows nothing new."""
    ewma = estimate((2.0, 0.0))
    ewma.at_least(1.0, 0.0)
    assert ewma.read(0.0) == 2.0
    ewma.at_least(3.0, 0.0)
    assert ewma.read(0.0) == 3.0
    unknown = PeakEwma()
    unknown.at_least(1.0, 0.0)
    assert unknown.read(0.0) == 1.0
