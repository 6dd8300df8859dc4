"""The quickest answer: half of the least of some fresh seconds, and nothing without them."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from showcaller.actors.policies.quickest_answer import FRESH, LEAST, MARGIN, QuickestAnswer

seconds = st.floats(0.001, 1000.0)


@given(st.lists(st.tuples(st.floats(0.0, 5.0), seconds), max_size=30), seconds)
def test_it_is_the_least_that_is_fresh_with_a_margin(gaps, left):
    """Whatever else was seen; and what the last alone says is never against it."""
    quickest, seen, now = QuickestAnswer(), [], 0.0
    for gap, taken in gaps:
        now += gap
        quickest.observe(taken, now)
        seen.append((now, taken))
        fresh = [one for at, one in seen if now - at <= FRESH]
        expected = MARGIN * min(fresh) if len(fresh) >= LEAST else None
        assert quickest.least(now) == expected
        assert quickest.may_take(left) == (MARGIN * taken <= left)
        assert expected is None or expected <= left or not quickest.may_take(left)


def test_nothing_is_known_when_nothing_was_seen_of_late():
    """Who refuses because of it gets no new evidence: the old must end by itself."""
    quickest = QuickestAnswer()
    assert quickest.least(0.0) is None
    assert not quickest.may_take(1000.0)
    for _ in range(LEAST):
        quickest.observe(4.0, 1.0)
    assert quickest.least(1.0 + FRESH) == 2.0
    assert quickest.least(1.1 + FRESH) is None


def test_one_quick_answer_is_enough_to_hope():
    """A backend that is well again is known as quick at once."""
    quickest = QuickestAnswer()
    for _ in range(10):
        quickest.observe(30.0, 0.0)
    quickest.observe(1.0, 0.5)
    assert quickest.least(0.5) == 0.5
