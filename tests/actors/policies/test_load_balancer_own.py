"""Load balancing by a strategy of the user's: what it sees, and what it may return."""

from __future__ import annotations

import pytest

from showcaller.actors.errors import ConfigurationError
from showcaller.actors.strategy import Candidate
from tests.actors.policies.balancers import balancer


class Own:
    """Does what a test says, and keeps what it was given."""

    def __init__(self, do):
        self.do = do
        self.seen = []

    def choose(self, candidates, rng):
        self.seen.append(candidates)
        return self.do(candidates, rng)


def test_a_strategy_of_ones_own_sees_the_eligible_and_chooses():
    """With weight, attempts in flight and latency, in the order of the targets."""
    strategy = Own(lambda candidates, rng: candidates[-1].name)
    lane = balancer(strategy, [1, 2, 3])
    lane.mark_connection_start("c")
    assert lane.next({"a", "c"}, latency={"c": 0.5}.get) == "c"
    assert strategy.seen == [
        (
            Candidate(name="a", weight=1, in_flight=0, latency=None),
            Candidate(name="c", weight=3, in_flight=1, latency=0.5),
        )
    ]
    assert lane.next(set()) is None
    assert len(strategy.seen) == 1


def test_a_strategy_of_ones_own_draws_from_the_seed():
    """So that a simulation repeats it."""

    def draws(seed):
        lane = balancer(Own(lambda candidates, rng: rng.choice(candidates).name), [1] * 4, seed)
        return [lane.next() for _ in range(20)]

    assert draws(1) == draws(1)
    assert draws(1) != draws(2)


@pytest.mark.parametrize(
    "returned", ["d", "b", None, 7, ["a"], Candidate(name="a", weight=1, in_flight=0, latency=None)]
)
def test_what_is_no_candidate_is_refused(returned):
    """Whatever it is, and also a backend that is not eligible; the text names the strategy and the choice."""
    lane = balancer(Own(lambda candidates, rng: returned), [1, 1, 1])
    with pytest.raises(ConfigurationError, match=r"the routing_strategy Own returned .*; use one of a, c$"):
        lane.next({"a", "c"})


@pytest.mark.parametrize("error", [ZeroDivisionError("oops"), ValueError(), SystemExit(3)])
def test_a_strategy_that_raises_is_named(error):
    """With what it raised, whatever that was, and its place for the log."""

    def choose(candidates, rng):
        raise error

    lane = balancer(Own(choose), [1])
    with pytest.raises(
        ConfigurationError, match=f"the routing_strategy Own raised {type(error).__name__}"
    ) as caught:
        lane.next()
    assert caught.value.__cause__ is error
    lane.strategy.do = lambda candidates, rng: "a"
    assert lane.next() == "a"


def test_an_interrupt_by_the_keyboard_is_not_the_strategy_s():
    """Who simulates on the main thread may end it."""

    def choose(candidates, rng):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        balancer(Own(choose), [1]).next()


def test_a_strategy_of_ones_own_sees_the_weight_as_it_counts_now():
    """A tenth of it, at the start."""
    seen = []

    class First:
        def choose(self, candidates, rng):
            seen.append({one.name: one.weight for one in candidates})
            return candidates[0].name

    lane = balancer(First(), [4, 2])
    lane.next(warmth={"a": 0.1})
    lane.next(warmth={})
    assert seen == [{"a": pytest.approx(0.4), "b": 2}, {"a": 4, "b": 2}]
