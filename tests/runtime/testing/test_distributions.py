"""Distributions: seconds from a seeded source, with the shapes that they are named after."""

from __future__ import annotations

import random
import statistics

import pytest

from showcaller.actors.errors import ConfigurationError
from showcaller.runtime.testing.distributions import Constant, HeavyTail, Lognormal, Scaled


def draws(distribution, count=4000):
    rng = random.Random(7)
    return [distribution.draw(rng) for _ in range(count)]


def test_a_constant_is_always_the_same():
    """Also nothing at all."""
    assert set(draws(Constant(0.25), 10)) == {0.25}
    assert set(draws(Constant(0.0), 10)) == {0.0}


def test_half_of_a_lognormal_is_below_its_median():
    """And the tail is to the right."""
    values = draws(Lognormal(0.4, 0.5))
    assert statistics.median(values) == pytest.approx(0.4, rel=0.05)
    assert statistics.mean(values) > 0.42
    assert min(values) > 0


def test_a_lognormal_without_spread_is_its_median():
    """Sigma is what makes the tail."""
    assert max(draws(Lognormal(2.0, 0.0), 10)) == pytest.approx(2.0)


def test_a_heavy_tail_has_a_least_a_most_and_outliers():
    """Now and then a hundred times the least."""
    values = draws(HeavyTail(0.1, alpha=1.0, most=50.0))
    assert min(values) >= 0.1
    assert max(values) == 50.0
    assert statistics.median(values) == pytest.approx(0.2, rel=0.1)
    assert sum(value > 10.0 for value in values) > 10


def test_a_scaled_distribution_is_the_other_one_so_many_times():
    """Draw by draw."""
    assert draws(Scaled(Lognormal(0.4), 3.0), 20) == [3.0 * value for value in draws(Lognormal(0.4), 20)]


def test_the_same_seed_draws_the_same():
    """Nothing but the given source is asked."""
    for distribution in (Lognormal(1.0), HeavyTail(1.0), Scaled(Lognormal(1.0), 2.0)):
        assert draws(distribution, 5) == draws(distribution, 5)


@pytest.mark.parametrize(
    ("make", "field"),
    [
        (lambda: Constant(-1.0), "seconds"),
        (lambda: Constant("1"), "seconds"),
        (lambda: Lognormal(0.0), "median"),
        (lambda: Lognormal(1.0, -0.1), "sigma"),
        (lambda: HeavyTail(0.0), "least"),
        (lambda: HeavyTail(1.0, alpha=0.0), "alpha"),
        (lambda: HeavyTail(1.0, most=float("inf")), "most"),
        (lambda: Scaled(Constant(1.0), 0.0), "factor"),
    ],
)
def test_what_no_duration_can_be_drawn_from_is_refused(make, field):
    """By the field's name."""
    with pytest.raises(ConfigurationError, match=rf"\.{field} = "):
        make()
