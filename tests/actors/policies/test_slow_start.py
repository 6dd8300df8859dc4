"""Slow start: which part of a weight counts."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from showcaller.actors.policies.slow_start import LEAST_SHARE, warmth

SECONDS = st.floats(0.0, 1e6)


@pytest.mark.parametrize(
    ("elapsed", "window", "part"),
    [
        (0.0, 30.0, 0.1),
        (2.9, 30.0, 0.1),
        (3.0, 30.0, 0.1),
        (15.0, 30.0, 0.5),
        (29.0, 30.0, 29 / 30),
        (30.0, 30.0, 1.0),
        (1e9, 30.0, 1.0),
        (0.0, 0.0, 1.0),
    ],
)
def test_the_part_grows_with_the_time_from_a_tenth_to_all(elapsed: float, window: float, part: float) -> None:
    """Envoy's formula, with an aggression of 1; a window of 0 is none."""
    assert warmth(elapsed, window) == pytest.approx(part)


@given(SECONDS, SECONDS, SECONDS)
def test_it_never_falls_and_keeps_its_bounds(one: float, other: float, window: float) -> None:
    """Later is never less, and the end is all."""
    sooner, later = sorted((one, other))
    assert LEAST_SHARE <= warmth(sooner, window) <= warmth(later, window) <= 1.0
    assert warmth(window, window) == 1.0
