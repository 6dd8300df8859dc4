"""Load balancing: no backend starved or favoured, whatever comes and goes meanwhile."""

from __future__ import annotations

import random
from collections import Counter

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from showcaller.actors.enums import LoadBalanceStrategy
from showcaller.actors.policies.load_balancer import Connections, LoadBalancer
from tests.actors.policies.balancers import (
    FAILOVER,
    LEAST,
    NAMES,
    ROUND_ROBIN,
    WEIGHTED,
    balancer,
    histories,
    subsets,
    whole_weights,
)


@pytest.mark.parametrize("strategy", LoadBalanceStrategy)
@given(eligible=subsets, weights=whole_weights)
def test_only_an_eligible_backend_is_chosen(strategy, eligible, weights):
    """Whoever is chosen is eligible, and someone is chosen when anyone is."""
    lane = balancer(strategy, weights)
    for _ in range(5):
        chosen = lane.next(eligible)
        if eligible & set(lane.backends):
            assert chosen in eligible
            assert chosen in lane.backends
        else:
            assert chosen is None


@pytest.mark.parametrize("strategy", LoadBalanceStrategy)
def test_nobody_is_chosen_when_there_is_nobody(strategy):
    """An empty lane, and one from which the last backend was taken out."""
    lane = balancer(strategy, [1])
    assert lane.next() == "a"
    lane.remove_backend("a")
    lane.remove_backend("a")
    assert lane.next() is None
    assert lane.backends == ()


@pytest.mark.parametrize("weight", [0, -1, float("nan"), float("inf")])
def test_a_weight_that_is_no_share_is_refused(weight):
    """Only a finite number greater than 0 is one; the text names backend and value."""
    lane = balancer(WEIGHTED, [])
    with pytest.raises(ValueError, match=r"weight of 'a' is .*finite number greater than 0"):
        lane.add_backend("a", weight)
    assert lane.backends == ()


# --- round robin and failover ---


@given(st.integers(1, 6), histories)
def test_round_robin_serves_nobody_twice_while_another_waits(count, history):
    """Between two turns of one backend, each that is eligible at the second has had a turn."""
    lane = balancer(ROUND_ROBIN, [1] * count)
    turns = []
    for eligible in history:
        chosen = lane.next(eligible)
        if chosen is None:
            continue
        if chosen in turns:
            since = turns[len(turns) - turns[::-1].index(chosen) :]
            assert (eligible & set(lane.backends)) - {chosen} <= set(since)
        turns.append(chosen)


def test_round_robin_begins_with_the_first_and_a_newcomer_is_last():
    """In the order of their adding; who joins waits for its turn."""
    lane = balancer(ROUND_ROBIN, [1, 1, 1])
    assert [lane.next() for _ in range(4)] == ["a", "b", "c", "a"]
    lane.add_backend("d")
    assert [lane.next() for _ in range(5)] == ["b", "c", "a", "d", "b"]


@given(st.permutations(list(NAMES)), histories)
def test_failover_takes_the_first_that_is_eligible(order, history):
    """In the order of their adding, each time anew."""
    lane = LoadBalancer(FAILOVER, rng=random.Random(1))
    for name in order:
        lane.add_backend(name)
    for eligible in history:
        assert lane.next(eligible) == next((name for name in order if name in eligible), None)


# --- the counter ---


@given(st.lists(st.tuples(st.booleans(), st.sampled_from("ab")), max_size=60))
def test_connections_are_counted_and_never_negative(steps):
    """An end without a start is refused and changes nothing."""
    connections, counts = Connections(), Counter()
    for starts, name in steps:
        if starts:
            connections.start(name)
            counts[name] += 1
        elif counts[name]:
            connections.end(name)
            counts[name] -= 1
        else:
            with pytest.raises(ValueError, match=f"{name} has no connection"):
                connections.end(name)
        assert {name: connections[name] for name in "ab"} == {name: counts[name] for name in "ab"}


def test_balancers_that_share_a_counter_see_each_other_s_connections():
    """A backend that one route loads is not the least loaded of another route either."""
    connections = Connections()
    first, second = (balancer(LEAST, [1, 1], connections=connections) for _ in "ab")
    first.mark_connection_start("a")
    assert {second.next() for _ in range(20)} == {"b"}
    second.mark_connection_end("a")
    assert {first.next() for _ in range(40)} == {"a", "b"}


def test_a_balancer_of_its_own_counts_for_itself():
    """Without a shared counter the connections of one balancer are not those of another."""
    first, second = balancer(LEAST, [1]), balancer(LEAST, [1])
    first.mark_connection_start("a")
    with pytest.raises(ValueError, match="no connection"):
        second.mark_connection_end("a")


@given(st.integers(1, 6), st.integers(0, 2**32))
def test_the_same_seed_gives_the_same_choices(count, seed):
    """All randomness comes from the given generator."""
    assume(count > 1)
    runs = []
    for _ in range(2):
        lane = balancer(LEAST, [1] * count, seed)
        runs.append([lane.next() for _ in range(20)])
    assert runs[0] == runs[1]
