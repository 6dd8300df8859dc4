"""Load balancing: exact shares, no backend starved or favoured, whatever comes and goes meanwhile."""

from __future__ import annotations

import random
from collections import Counter

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from showcaller.actors.enums import LoadBalanceStrategy
from showcaller.actors.errors import ConfigurationError
from showcaller.actors.policies.load_balancer import Connections, LoadBalancer
from showcaller.actors.strategy import Candidate

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


# --- weighted ---


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


# --- least connections ---


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


# --- a strategy of the user's ---


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


# --- slow start ---

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
