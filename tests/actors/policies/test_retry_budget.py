"""The retry budget: never more than what requests and time have brought, in any stretch of time."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from showcaller.actors.policies.retry_budget import RetryBudget

ROUNDING = 1e-6

steps = st.lists(
    st.tuples(st.sampled_from(["deposit", "retry"]), st.sampled_from([0.0, 0.0, 0.1, 1.0, 30.0])),
    max_size=150,
)


@given(st.floats(0.0, 2.0), st.integers(0, 12), steps)
def test_retries_never_exceed_what_came_in(share, burst, steps):
    """In every stretch of time: the burst, a share of the first attempts, and one a second; and no fewer than that."""
    budget, now, level = RetryBudget(share=share, burst=burst), 0.0, float(burst)
    spent = []
    for word, seconds in steps:
        now += seconds
        level = min(burst, level + seconds)
        if word == "deposit":
            budget.deposit(now)
            level = min(burst, level + share)
            spent.append((now, share, 0))
        elif budget.can_pay(now):
            budget.withdraw(now)
            assert level >= 1.0 - ROUNDING
            level -= 1.0
            spent.append((now, 0.0, 1))
        else:
            assert level < 1.0 + ROUNDING
    for first in range(len(spent)):
        came, retries = float(burst), 0
        for at, deposit, retry in spent[first:]:
            came += deposit
            retries += retry
            assert retries <= came + (at - spent[first][0]) + ROUNDING


def test_it_begins_with_its_burst():
    """A runtime that has just started may retry."""
    budget = RetryBudget(share=0.1, burst=3)
    for _ in range(3):
        budget.withdraw(5.0)
    assert not budget.can_pay(5.0)


def test_an_empty_budget_pays_for_nothing():
    """It has to be asked first."""
    budget = RetryBudget(burst=0)
    budget.deposit(100.0)
    with pytest.raises(ValueError, match="used up"):
        budget.withdraw(200.0)


def test_ten_requests_or_one_second_pay_for_a_retry():
    """Ten tenths are a whole, whatever floats say."""
    budget = RetryBudget(burst=1)
    budget.withdraw(10.0)
    for _ in range(10):
        assert not budget.can_pay(10.0)
        budget.deposit(10.0)
    assert budget.can_pay(10.0)
    budget.withdraw(10.0)
    assert not budget.can_pay(10.9)
    assert budget.can_pay(11.0)


def test_a_quiet_day_saves_up_no_more_than_the_burst():
    """Neither do many requests."""
    budget = RetryBudget(burst=5)
    budget.withdraw(0.0)
    assert budget.level(86_400.0) == 5.0
    for _ in range(1000):
        budget.deposit(86_400.0)
    assert budget.level(86_400.0) == 5.0


def test_a_clock_that_stands_or_goes_back_brings_nothing():
    """Time counts once."""
    budget = RetryBudget(burst=5)
    for _ in range(5):
        budget.withdraw(10.0)
    budget.deposit(8.0)
    assert budget.level(8.0) == pytest.approx(0.1)
    assert budget.level(10.0) == pytest.approx(0.1)
