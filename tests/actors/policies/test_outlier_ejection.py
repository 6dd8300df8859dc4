"""Outlier ejection: who is left out, and how many at most."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from showcaller.actors.policies.outlier_ejection import ejected


@pytest.mark.parametrize(
    ("unhealthy", "of", "out"),
    [
        ({}, 3, set()),
        ({"a": 0.1}, 1, set()),
        ({"a": 0.1}, 2, {"a"}),
        ({"a": 0.1, "b": 0.1}, 2, {"b"}),
        ({"a": 0.0, "b": 0.4}, 2, {"a"}),
        ({"a": 0.4, "b": 0.0}, 3, {"b"}),
        ({"a": 0.3, "b": 0.1, "c": 0.2}, 4, {"b", "c"}),
        ({"a": 0.3, "b": 0.1, "c": 0.2, "d": 0.2}, 4, {"b", "d"}),
        ({"a": 0.3, "b": 0.1}, 5, {"a", "b"}),
    ],
)
def test_the_worst_are_left_out_up_to_half(unhealthy: dict[str, float], of: int, out: set[str]) -> None:
    """Of those that are equal the last; a lone backend stays."""
    assert ejected(unhealthy, of) == out


@given(st.dictionaries(st.text("abcdefgh", min_size=1, max_size=3), st.floats(0.0, 0.5)), st.integers(0, 9))
def test_nobody_stays_who_is_worse_than_one_left_out(unhealthy: dict[str, float], well: int) -> None:
    """As many as may be, and no others."""
    of = len(unhealthy) + well
    out = ejected(unhealthy, of)
    assert out <= set(unhealthy)
    assert len(out) == min(len(unhealthy), of // 2)
    for name in out:
        assert all(unhealthy[name] <= unhealthy[other] for other in set(unhealthy) - out)
