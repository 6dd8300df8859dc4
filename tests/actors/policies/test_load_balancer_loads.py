"""Load balancing by what is in flight and by latency: nobody has less to do than the chosen one."""

from __future__ import annotations

import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from showcaller.actors.policies.load_balancer import Connections, LoadBalancer
from tests.actors.policies.balancers import LATENCY, LEAST, NAMES, balancer


@given(st.lists(st.tuples(st.integers(1, 4), st.integers(0, 4)), min_size=1, max_size=6), st.integers())
def test_least_connections_takes_a_minimum(backends, seed):
    """Nobody has fewer attempts for its weight than the chosen one."""
    lane = balancer(LEAST, [weight for weight, _ in backends], seed)
    loads = {}
    for name, (weight, count) in zip(NAMES, backends, strict=False):
        for _ in range(count):
            lane.mark_connection_start(name)
        loads[name] = (count + 1) / weight
    assert loads[lane.next()] == min(loads.values())


def test_what_is_in_flight_is_counted_up_and_down():
    """Each backend's own."""
    connections = Connections()
    counts = []
    for step in (connections.start, connections.start, connections.end, connections.end):
        step("a")
        counts.append((connections["a"], connections["b"]))
    assert counts == [(1, 0), (2, 0), (1, 0), (0, 0)]


def test_ties_are_spread_and_seeded():
    """Among equals each gets its part, and the same seed makes the same choices."""
    choices = ["".join(balancer(LEAST, [1, 1, 1], seed).next() for _ in range(1)) for seed in range(300)]
    assert all(70 < count < 130 for count in Counter(choices).values())
    assert len(set(choices)) == 3
    first, again = ([lane.next() for _ in range(50)] for lane in (balancer(LEAST, [1] * 4, 7) for _ in "ab"))
    assert first == again


@given(st.lists(st.tuples(st.integers(1, 4), st.integers(0, 4)), min_size=1, max_size=6), st.randoms())
def test_the_order_of_the_backends_changes_only_ties(backends, shuffle):
    """With the same loads in another order, the chosen one is as little loaded."""
    connections = Connections()
    entries = list(zip(NAMES, backends, strict=False))
    for name, (_, count) in entries:
        for _ in range(count):
            connections.start(name)
    loads = {name: (count + 1) / weight for name, (weight, count) in entries}
    chosen = []
    for _ in range(2):
        lane = LoadBalancer(LEAST, rng=random.Random(1), connections=connections)
        for name, (weight, _) in entries:
            lane.add_backend(name, weight)
        chosen.append(lane.next())
        shuffle.shuffle(entries)
    assert loads[chosen[0]] == loads[chosen[1]]


# --- least latency ---

known_backends = st.lists(
    st.tuples(st.integers(1, 4), st.integers(0, 4), st.none() | st.sampled_from([0.0, 0.1, 0.3, 1.0, 10.0])),
    min_size=1,
    max_size=6,
)


def lane_of(entries, seed=1):
    """A balancer and latencies of backends with a weight, attempts in flight and a latency each."""
    lane = LoadBalancer(LATENCY, rng=random.Random(seed))
    for name, (weight, pending, _) in entries:
        lane.add_backend(name, weight)
        for _ in range(pending):
            lane.mark_connection_start(name)
    return lane, {name: latency for name, (_, _, latency) in entries}


def rank(weight, pending, latency):
    """Finagle's: the latency times what would be in flight; unknown and at work is worse than anything known."""
    if latency is not None:
        return False, latency * (pending + 1) / weight
    return pending > 0, pending / weight


@pytest.mark.parametrize(
    ("backends", "chosen"),
    [
        ([(1, 0, 0.4), (1, 0, 0.3)], {"b"}),
        ([(1, 0, 0.4), (1, 1, 0.3)], {"a"}),
        ([(1, 2, 0.4), (1, 0, 4.0)], {"a"}),
        ([(1, 9, 0.4), (1, 0, 4.0)], {"a", "b"}),
        ([(1, 10, 0.4), (1, 0, 4.0)], {"b"}),
        ([(1, 0, 0.4), (2, 0, 0.5)], {"b"}),
        ([(1, 0, 0.4), (1, 0, None)], {"b"}),
        ([(1, 9, 4.0), (1, 1, None)], {"a"}),
        ([(1, 2, None), (1, 1, None)], {"b"}),
        ([(1, 2, None), (4, 4, None)], {"b"}),
        ([(1, 0, None), (1, 0, None)], {"a", "b"}),
    ],
)
def test_least_latency(backends, chosen):
    """The quicker and the less loaded; who is not known gets one attempt, and no second before the known ones."""
    entries = list(zip(NAMES, backends, strict=False))
    choices = set()
    for seed in range(20):
        lane, latencies = lane_of(entries, seed)
        choices.add(lane.next(latency=latencies.get))
    assert choices == chosen


@given(known_backends, st.integers())
def test_least_latency_takes_a_minimum(backends, seed):
    """Nobody would answer sooner than the chosen one, as far as is known."""
    entries = list(zip(NAMES, backends, strict=False))
    lane, latencies = lane_of(entries, seed)
    ranks = {name: rank(*backend) for name, backend in entries}
    assert ranks[lane.next(latency=latencies.get)] == min(ranks.values())


@given(known_backends, st.randoms())
def test_the_order_of_the_backends_changes_only_ties_of_latency(backends, shuffle):
    """With the same latencies in another order, the chosen one is as quick."""
    entries = list(zip(NAMES, backends, strict=False))
    ranks = {name: rank(*backend) for name, backend in entries}
    chosen = []
    for _ in range(2):
        lane, latencies = lane_of(entries)
        chosen.append(lane.next(latency=latencies.get))
        shuffle.shuffle(entries)
    assert ranks[chosen[0]] == ranks[chosen[1]]
