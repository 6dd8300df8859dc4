"""Weighted load balancing: exact shares, whatever was eligible before."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from tests.actors.policies.balancers import NAMES, WEIGHTED, balancer, histories, whole_weights


@given(whole_weights, st.integers(1, 3))
def test_weighted_is_exact_over_each_full_cycle(weights, cycles):
    """In as many choices as the weights add up to, each backend is chosen as often as it weighs."""
    lane = balancer(WEIGHTED, weights)
    for _ in range(cycles):
        chosen = Counter(lane.next() for _ in range(sum(weights)))
        assert [chosen[name] for name in lane.backends] == weights


@given(whole_weights)
def test_weighted_is_smooth(weights):
    """At no point of the cycle is a backend a whole turn of the others ahead of, or behind, its share."""
    lane, total = balancer(WEIGHTED, weights), sum(weights)
    chosen = Counter()
    for turn in range(1, total + 1):
        chosen[lane.next()] += 1
        for name, weight in zip(lane.backends, weights, strict=True):
            assert abs(chosen[name] - turn * weight / total) < len(weights)


def test_weighted_is_nginx_s_order():
    """The example of nginx's own commit message: 5, 1, 1 gives a a b a c a a."""
    lane = balancer(WEIGHTED, [5, 1, 1])
    assert "".join(lane.next() for _ in range(14)) == "aabacaa" * 2


@given(whole_weights, histories)
def test_weighted_is_exact_again_after_some_were_ineligible_for_a_while(weights, history):
    """Whatever was eligible before: after it the shares are exact, once what was missed is evened out."""
    lane, total = balancer(WEIGHTED, weights), sum(weights)
    for eligible in history:
        lane.next(eligible)
    missed = Counter(lane.next() for _ in range(len(weights) * total))
    for name, weight in zip(lane.backends, weights, strict=True):
        assert abs(missed[name] - len(weights) * weight) <= len(weights)
    chosen = Counter(lane.next() for _ in range(total))
    assert [chosen[name] for name in lane.backends] == weights


@given(whole_weights, histories, st.data())
def test_weighted_shares_hold_among_those_that_are_eligible(weights, history, data):
    """While the others are away, each of the rest gets its share of the rest."""
    lane = balancer(WEIGHTED, weights)
    for eligible in history:
        lane.next(eligible)
    there = data.draw(st.sets(st.sampled_from(lane.backends), min_size=1))
    share = {name: weight for name, weight in zip(lane.backends, weights, strict=True) if name in there}
    cycle = sum(share.values())
    for _ in range(len(weights) * cycle):
        lane.next(there)
    assert Counter(lane.next(there) for _ in range(cycle)) == share


@given(whole_weights, st.lists(st.sampled_from(NAMES), max_size=60))
def test_a_backend_that_leaves_and_comes_back_gets_its_share(weights, moves):
    """What it was owed or had been given too much when it left does not add up."""
    lane, total = balancer(WEIGHTED, weights), sum(weights)
    share = dict(zip(NAMES, weights, strict=False))
    for name in moves:
        lane.next()
        lane.remove_backend(name)
        if name in share:
            lane.add_backend(name, share[name])
    chosen = Counter(lane.next() for _ in range(2 * total))
    assert all(abs(chosen[name] - 2 * weight) <= 2 for name, weight in share.items())


@given(whole_weights, st.integers(1, 200))
def test_a_backend_that_was_away_for_long_is_not_flooded(weights, turns):
    """It gets its share from now on, not what it has missed."""
    lane, total = balancer(WEIGHTED, weights), sum(weights)
    for _ in range(turns):
        lane.next(set(lane.backends) - {"a"})
    chosen = Counter(lane.next() for _ in range(3 * total))
    assert abs(chosen["a"] - 3 * weights[0]) <= 1


def test_a_new_weight_counts_from_the_next_choice_on():
    """The backend keeps its place; only its share changes."""
    lane = balancer(WEIGHTED, [1, 1])
    lane.next()
    lane.next()
    lane.add_backend("a", 3)
    assert lane.backends == ("a", "b")
    assert Counter(lane.next() for _ in range(4)) == {"a": 3, "b": 1}
