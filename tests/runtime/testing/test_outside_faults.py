"""Faults from outside the tree: time, callers, and somebody who changes the configuration."""

from __future__ import annotations

import pytest

from showcaller.actors.errors import (
    BackendUnreachableError,
    DeadlineExceededError,
    RequestCancelledError,
    RuntimeStoppedError,
)
from showcaller.runtime.testing import faults
from showcaller.runtime.testing.simulation import Simulation
from tests.runtime.testing.pair import STEADY, ask, backend, child, config, notes, send, slot


@pytest.mark.parametrize("by", [3600.0, -3600.0])
def test_the_wall_clock_skips_alone(sim, by):
    """In both directions; nothing else is disturbed."""
    before = sim.world.clock.wall()
    sim.at(1.0, faults.wall_skip(by))
    assert ask(sim) == pytest.approx(2.0)
    assert sim.world.clock.wall() - before == pytest.approx(2.0 + by)


def test_a_machine_that_sleeps_fires_its_timers_late(sim):
    """All clocks are further at once; a deadline that passed meanwhile has passed."""
    before = sim.world.clock.wall()
    sim.at(1.0, faults.suspend(60.0))
    sent = send(sim, options={"timeout": 5.0})
    sim.advance(0.9)
    assert sent.completed is None
    sim.advance(0.2)
    assert sim.now == pytest.approx(61.0)
    assert sim.world.clock.wall() - before == pytest.approx(61.0)
    assert isinstance(sent.error, DeadlineExceededError)
    assert sent.completed == sent.submitted + 61.0
    assert ask(sim) == pytest.approx(2.0)


def test_what_begins_late_is_waited_for(sim):
    """A run is not over while a fault goes on that a sleep of the machine has put off."""
    sim.at(0.5, faults.suspend(60.0))
    sim.at(1.0, faults.restart_storm("a", crashes=3, every=20.0))
    sim.run()
    assert child(sim, "a").restarts == 3


@pytest.mark.parametrize(
    ("fault", "given_up"),
    [
        (faults.cancel_everything(), {0, 1, 2, 3}),
        (faults.cancel(), {0, 1, 2, 3}),
        (faults.cancel(nth=2), {1}),
        (faults.cancel(nth=5), set()),
    ],
    ids=str,
)
def test_callers_give_up_what_is_open(sim, fault, given_up):
    """All, or one by its age; what is done stays done."""
    done = send(sim)
    sim.advance(5.0)
    sent = [send(sim) for _ in range(4)]
    sim.at(sim.now + 1.0, fault)
    sim.advance(10.0)
    cancelled = {number for number, one in enumerate(sent) if isinstance(one.error, RequestCancelledError)}
    assert cancelled == given_up
    assert done.ok
    assert sum(one.ok for one in sent) == 4 - len(given_up)


def test_a_share_of_the_callers_gives_up(sim):
    """Within what chance allows."""
    sent = [send(sim) for _ in range(100)]
    sim.at(sim.now + 0.5, faults.cancel(0.3))
    sim.advance(10.0)
    assert 15 <= sum(one.cancelled for one in sent) <= 45


def test_a_backend_is_added_in_the_middle(sim):
    """And gets requests."""
    sim.at(1.0, faults.add(backend("c")))
    sim.advance(1.0)
    assert sim.runtime.ask("one", model="c").backend == "c"
    assert all(reply._done for reply in sim.replies)


@pytest.mark.parametrize("seed", range(8))
def test_a_name_that_is_taken_is_not_added_again(seed):
    """Neither one that is there, nor one that comes at the same moment."""
    with Simulation(config(), seed=seed) as sim:
        for _ in range(2):
            sim.at(1.0, faults.add(backend("c")))
        sim.at(1.0, faults.add(backend("a")))
        sim.advance(2.0)
        assert list(sim.runtime.backends) == ["a", "b", "c"]
        assert sorted(note.partition(":")[0] for note in notes(sim) if "not added" in note) == [
            "a is not added",
            "c is not added",
        ]
        assert [reply.get(timeout=0) for reply in sim.replies] == [None]


def test_a_backend_is_drained_in_the_middle(sim):
    """What it has may end; it stays, and gets nothing."""
    sim.at(1.0, faults.drain("a", 5.0))
    sent = send(sim)
    sim.advance(1.1)
    assert ask(sim) == pytest.approx(2.0)
    assert sent.outcome.response.backend == "a"
    assert len(sim.backends["a"].served) == 1
    assert [reply.get(timeout=0) for reply in sim.replies] == [0]
    assert list(sim.runtime.backends) == ["a", "b"]


def test_a_backend_is_removed_in_the_middle(sim):
    """What is in flight after the timeout is cancelled, and its transport is closed."""
    sim.at(1.0, faults.remove("a", 0.5))
    sent = send(sim)
    sim.advance(1.6)
    assert list(sim.runtime.backends) == ["b"]
    assert [reply.get(timeout=0) for reply in sim.replies] == [1]
    assert sim.backends["a"]._closed
    sim.advance(5.0)
    assert sent.outcome.response.backend == "b"
    sim.at(sim.now, faults.remove("a"))
    sim.advance(0.0)
    assert "a is not there" in notes(sim)


def test_a_backend_is_replaced_by_one_of_another_configuration(sim):
    """Under the same name, and whatever is wrong with the endpoint stays wrong."""
    sim.at(0.5, faults.outage("a", 10.0))
    sim.at(1.0, faults.replace("a", drain_timeout=3.0, max_parallel_requests=3))
    sim.advance(2.0)
    assert slot(sim, "a").config.max_parallel_requests == 3
    assert slot(sim, "a").config.model == "model-of-a"
    sent = send(sim, options={"model": "a", "timeout": 5.0})
    sim.advance(5.0)
    assert isinstance(sim.backends["a"].served[0].error, BackendUnreachableError)
    assert not sent.ok
    sim.advance(60.0)
    assert sim.runtime.ask("afterwards", model="a").backend == "a"


def test_a_stop_in_the_middle_answers_who_drains():
    """Nobody waits for ever."""
    with Simulation(config(), seed=7, behaviours={"a": STEADY, "b": STEADY}) as sim:
        send(sim)
        sim.at(0.5, faults.drain("a", 100.0))
        sim.at(0.5, faults.add(backend("c")))
        sim.advance(0.5)
        sim.runtime.stop(0.0)
        sim.at(sim.now, faults.remove("b"))
        sim.at(sim.now, faults.add(backend("d")))
        sim.advance(5.0)
        assert len(sim.replies) == 2
        assert all(reply._done for reply in sim.replies)


def test_a_stop_answers_those_whom_the_supervisor_has_not_answered():
    """As it does with who waits for it in earnest."""
    with Simulation(config(), seed=7) as sim:
        sim.at(0.5, faults.stall("supervisor", 1000.0))
        sim.at(1.0, faults.add(backend("c")))
        sim.at(1.0, faults.drain("a"))
        sim.advance(2.0)
        assert not any(reply._done for reply in sim.replies)
        sim.runtime.stop(0.0)
        for reply in sim.replies:
            assert isinstance(reply.get(timeout=0), RuntimeStoppedError)


@pytest.mark.parametrize("make", [faults.crash, faults.stall, faults.overload, faults.slow_actor])
def test_a_fault_of_a_backend_that_is_gone_changes_nothing(sim, make):
    """A random scenario may remove it first."""
    arguments = {faults.crash: (), faults.slow_actor: (1.0, 1.0)}.get(make, (1.0,))
    sim.at(0.0, faults.remove("a"))
    sim.at(1.0, make("a", *arguments))
    sim.advance(5.0)
    assert sim.saboteur.injected == 0
    assert sim.runtime.ask("one").backend == "b"


def test_a_batch_is_a_caller_s_that_uses_a_batcher(sim):
    """One request after the other; what is left leaves with its time."""
    sim.at(1.0, faults.batch(5, max_size=2, max_wait=3.0, pause=0.5))
    sim.advance(3.5)
    (batching,) = sim.batches
    assert len(batching.added) == 5
    assert batching.batcher.pending_count == 1
    sim.advance(10.0)
    assert all(one.pending.outcome.ok for one in batching.added)


def test_a_batcher_s_refusals_are_noted(sim):
    """As when the runtime stops meanwhile."""
    sim.at(1.0, faults.batch(2, pause=1.0))
    sim.advance(1.5)
    sim.runtime.stop(0.0)
    sim.advance(1.0)
    assert any("a batcher refuses: RuntimeStoppedError" in note for note in notes(sim))


def test_a_reset_starts_what_has_failed(sim):
    """What is not there is left alone."""
    sim.at(0.0, faults.restart_storm("a", 6, 4.5))
    sim.advance(25.0)
    assert slot(sim, "a").child.state.value == "failed"
    sim.at(sim.now, faults.reset("a"))
    sim.advance(0.1)
    assert slot(sim, "a").child.state.value == "running"
    assert sim.runtime.ask("q", model="a").backend == "a"
    sim.at(sim.now, faults.remove("b"))
    sim.at(sim.now + 40.0, faults.reset("b"))
    sim.advance(60.0)
    assert "b" not in sim.runtime.backends
