"""Load balancers for tests, and what may be eligible while they choose."""

from __future__ import annotations

import random

from hypothesis import strategies as st

from showcaller.actors.enums import LoadBalanceStrategy
from showcaller.actors.policies.load_balancer import LoadBalancer

NAMES = "abcdef"
ROUND_ROBIN, LEAST, WEIGHTED, FAILOVER, LATENCY = (
    LoadBalanceStrategy.ROUND_ROBIN,
    LoadBalanceStrategy.LEAST_CONNECTIONS,
    LoadBalanceStrategy.WEIGHTED,
    LoadBalanceStrategy.FAILOVER,
    LoadBalanceStrategy.LEAST_LATENCY,
)

whole_weights = st.lists(st.integers(1, 9), min_size=1, max_size=len(NAMES))
subsets = st.sets(st.sampled_from(NAMES))
histories = st.lists(subsets, max_size=60)


def balancer(strategy, weights, seed=1, connections=None):
    made = LoadBalancer(strategy, rng=random.Random(seed), connections=connections)
    for name, weight in zip(NAMES, weights, strict=False):
        made.add_backend(name, weight)
    return made
