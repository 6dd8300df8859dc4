"""When backends are probed."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from showcaller.actors.policies.probe_schedule import JITTER, ProbeSchedule

INTERVAL = 30.0


def schedule(seed: int = 0) -> ProbeSchedule:
    """One that nobody is watched by."""
    return ProbeSchedule(INTERVAL, random.Random(seed))


def test_without_backends_nothing_is_due() -> None:
    """There is no time to wait for."""
    probes = schedule()
    assert probes.next_due is None
    assert probes.take_due(1e9) == []


def test_who_is_watched_is_due_an_interval_later_and_again() -> None:
    """Each within the jitter, and not before."""
    probes = schedule()
    probes.watch(["a"], 100.0)
    now = 100.0
    for _ in range(20):
        due = probes.next_due
        assert due is not None
        assert INTERVAL * (1 - JITTER) <= due - now <= INTERVAL * (1 + JITTER)
        assert probes.take_due(due - 0.001) == []
        assert probes.take_due(due) == ["a"]
        now = due


def test_who_was_heard_of_is_not_probed_until_an_interval_after_that() -> None:
    """News that is fresh enough puts it off; old news does not."""
    probes = schedule()
    probes.watch(["a"], 0.0)
    probes.heard("a", 20.0)
    first = probes.next_due
    assert first is not None
    assert probes.take_due(first) == []
    second = probes.next_due
    assert second is not None
    assert INTERVAL * (1 - JITTER) <= second - 20.0 <= INTERVAL * (1 + JITTER)
    assert probes.take_due(second) == ["a"]
    probes.heard("a", second + 1.0)
    assert probes.take_due(second + 10 * INTERVAL) == ["a"]


def test_backends_that_were_heard_of_together_are_not_probed_together() -> None:
    """What puts them off is jittered too: traffic that ends for all at once ends for all at once."""
    probes = schedule()
    slots = [str(number) for number in range(20)]
    probes.watch(slots, 0.0)
    for slot in slots:
        probes.heard(slot, 25.0)
    assert probes.take_due(25.0 + INTERVAL * (1 - JITTER) - 0.001) == []
    probes.take_due(25.0 + INTERVAL * (1 - JITTER))
    assert len(set(probes._due.values())) == len(slots)


def test_who_is_gone_is_forgotten_and_who_stays_keeps_its_time() -> None:
    """Also what was heard of it: a slot that comes later is another."""
    probes = schedule()
    probes.watch(["a", "b"], 0.0)
    probes.heard("b", 1.0)
    dues = dict(probes._due)
    probes.watch(["a"], 10.0)
    assert probes._due == {"a": dues["a"]}
    assert probes._heard == {}


@given(st.integers(0, 2**32), st.lists(st.floats(0.0, 100.0), min_size=1, max_size=40))
def test_two_probes_of_a_backend_are_never_closer_than_an_interval(seed: int, steps: list[float]) -> None:
    """Less the jitter, whenever it is asked and whatever is heard."""
    probes, rng = schedule(seed), random.Random(seed)
    probes.watch(["a", "b"], 0.0)
    now, last = 0.0, {"a": 0.0, "b": 0.0}
    for step in steps:
        now += step
        if rng.random() < 0.3:
            probes.heard("a", now)
        for slot in probes.take_due(now):
            assert now - last[slot] >= INTERVAL * (1 - JITTER)
            last[slot] = now
