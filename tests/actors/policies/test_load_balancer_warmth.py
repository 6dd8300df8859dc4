"""Load balancing during a slow start: who is not warm yet gets a part of its share."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from showcaller.actors.enums import LoadBalanceStrategy
from showcaller.actors.policies.load_balancer import Connections
from tests.actors.policies.balancers import FAILOVER, LATENCY, LEAST, NAMES, ROUND_ROBIN, WEIGHTED, balancer

parts = st.lists(st.floats(0.1, 1.0), min_size=2, max_size=len(NAMES))


@pytest.mark.parametrize("strategy", [ROUND_ROBIN, WEIGHTED])
@given(parts=parts, turns=st.integers(1, 300))
def test_who_starts_slowly_gets_that_part_of_its_share(strategy, parts, turns):
    """Within one choice of the exact share, after any number of choices."""
    lane = balancer(strategy, [1] * len(parts))
    warmth = {name: part for name, part in zip(NAMES, parts, strict=False) if part < 1.0}
    picks = Counter(lane.next(warmth=warmth) for _ in range(turns))
    total = sum(warmth.get(name, 1.0) for name in lane.backends)
    for name in lane.backends:
        assert abs(picks[name] - turns * warmth.get(name, 1.0) / total) <= len(parts)


def test_weighted_counts_a_part_of_the_weight():
    """Three times a third is as much as one."""
    lane = balancer(WEIGHTED, [3, 1])
    assert Counter(lane.next(warmth={"a": 1 / 3}) for _ in range(100)) == {"a": 50, "b": 50}


def test_round_robin_lets_turns_pass_and_then_goes_on_as_ever():
    """One turn in ten, and each in its turn afterwards."""
    lane = balancer(ROUND_ROBIN, [1, 1, 1])
    picks = [lane.next(warmth={"b": 0.1}) for _ in range(42)]
    assert picks.count("b") == 2
    assert picks.index("b") == 19
    after = [lane.next() for _ in range(6)]
    assert after[:3] == after[3:]
    assert sorted(after[:3]) == ["a", "b", "c"]


@pytest.mark.parametrize("strategy", LoadBalanceStrategy)
def test_a_lone_backend_and_equals_are_not_slowed(strategy):
    """There is nobody who could take what it does not get."""
    lane = balancer(strategy, [1, 1])
    assert [lane.next({"b"}, warmth={"b": 0.1}) for _ in range(3)] == ["b"] * 3
    if strategy is not FAILOVER:
        picks = Counter(lane.next(warmth={"a": 0.1, "b": 0.1}) for _ in range(400))
        assert picks["a"] > 100 < picks["b"]


def test_failover_knows_no_slow_start():
    """The first gets everything."""
    lane = balancer(FAILOVER, [1, 1])
    assert lane.next(warmth={"a": 0.1}) == "a"


def test_least_connections_counts_a_part_of_the_weight():
    """Who has a tenth of its weight is taken when the other has more than nine."""
    for others, chosen in ((8, "b"), (10, "a")):
        connections = Connections()
        for _ in range(others):
            connections.start("b")
        assert balancer(LEAST, [1, 1], connections=connections).next(warmth={"a": 0.1}) == chosen


def test_least_latency_counts_a_part_of_the_weight():
    """Who has a tenth of its weight is taken when it is more than ten times as quick."""
    for latency, chosen in ((0.11, "b"), (0.09, "a")):
        known = {"a": latency, "b": 1.0}
        assert balancer(LATENCY, [1, 1]).next(latency=known.get, warmth={"a": 0.1}) == chosen
    connections = Connections()
    connections.start("a")
    connections.start("b")
    assert balancer(LATENCY, [1, 1], connections=connections).next(warmth={"a": 0.1}) == "b"
