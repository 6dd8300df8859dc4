"""Faults of actors: each does what it says to a real runtime, and is over when it says."""

from __future__ import annotations

import pytest

from showcaller.actors.kernel.child import ChildState
from showcaller.actors.kernel.message import Down
from showcaller.runtime.testing import faults
from showcaller.runtime.testing.errors import Injected
from tests.runtime.testing.pair import EVERYBODY, ask, child, send


@pytest.mark.parametrize("actor", EVERYBODY)
@pytest.mark.parametrize("base", [False, True])
def test_a_crash_kills_an_actor_once_also_an_idle_one(sim, actor, base):
    """It is restarted, and what is asked meanwhile is answered."""
    sim.at(1.0, faults.crash(actor, base=base))
    sent = [send(sim, options={"timeout": 20.0}) for _ in range(3)]
    sim.advance(1.05)
    assert child(sim, actor).state is ChildState.RESTARTING
    sim.advance(15.0)
    assert child(sim, actor).state is ChildState.RUNNING
    assert child(sim, actor).restarts == 1
    (down,) = sim.seen.of(Down)
    assert isinstance(down.crash.error, Injected)
    assert isinstance(down.crash.error, Exception) is not base
    assert all(one.ok for one in sent)
    assert sim.saboteur.injected == 1


@pytest.mark.parametrize("after", [False, True])
def test_a_crash_in_a_handler_waits_for_its_chance(sim, after):
    """Before the handler has done its work, or after."""
    sim.at(0.0, faults.crash("supervisor", "on_granted", after=after))
    sim.advance(5.0)
    assert child(sim, "supervisor").restarts == 0
    sent = send(sim)
    sim.advance(0.1)
    assert sim.backends["a"].open == after
    assert child(sim, "supervisor").last_crash.startswith("InjectedCrashError in on_granted")
    sim.advance(5.0)
    assert sent.ok
    assert child(sim, "supervisor").restarts == 1


def test_an_actor_may_crash_when_it_is_stopped(sim):
    """It is stopped all the same."""
    sim.at(0.0, faults.crash("a", "on_stop"))
    sim.at(1.0, faults.remove("a"))
    sim.advance(2.0)
    (down,) = sim.seen.of(Down)
    assert down.crash.phase == "on_stop"
    assert list(sim.runtime.backends) == ["b"]


@pytest.mark.parametrize("actor", EVERYBODY)
@pytest.mark.parametrize(("make", "phase"), [(faults.fail_start, "on_start"), (faults.fail_init, "__init__")])
def test_an_actor_fails_to_start_so_many_times(sim, actor, make, phase):
    """And works afterwards."""
    sim.at(1.0, make(actor, 2))
    sim.advance(1.0)
    sent = send(sim)
    sim.advance(20.0)
    downs = sim.seen.of(Down)
    assert [down.crash.phase for down in downs[1:]] == [phase, phase]
    assert all(isinstance(down.crash.error, Injected) for down in downs)
    assert child(sim, actor).state is ChildState.RUNNING
    assert child(sim, actor).restarts == 3
    assert sent.ok


@pytest.mark.parametrize("actor", ["recorder", "supervisor"])
def test_no_thread_can_be_started_for_an_actor(sim, actor):
    """So many times, and then there is one."""
    sim.at(1.0, faults.no_thread(actor, 2))
    sim.advance(20.0)
    downs = sim.seen.of(Down)
    assert [down.crash.phase for down in downs[1:]] == ["start of its thread"] * 2
    assert child(sim, actor).state is ChildState.RUNNING


def test_no_thread_can_be_started_for_the_seats_of_a_backend(sim):
    """The attempt goes elsewhere, and the backend's actor lives."""
    sim.at(0.0, faults.no_thread("a"))
    sim.advance(0.0)
    assert sim.runtime.ask("one").attempts == 2
    assert len(sim.backends["a"].served) + len(sim.backends["b"].served) == 1
    assert child(sim, "a").restarts == 0
    assert sim.runtime.ask("two").attempts == 1


def test_a_restart_storm_is_so_many_crashes(sim):
    """Spread over time."""
    fault = faults.restart_storm("recorder", 3, 5.0)
    sim.at(1.0, fault)
    sim.advance(8.0)
    assert child(sim, "recorder").restarts == 2
    sim.advance(10.0)
    assert child(sim, "recorder").restarts == 3
    assert fault.lasts == 10.0
    assert fault.heals


def test_a_restart_storm_may_be_too_much(sim):
    """Then the actor is given up."""
    fault = faults.restart_storm("recorder", 6, 8.0)
    sim.at(1.0, fault)
    sim.advance(50.0)
    assert child(sim, "recorder").state is ChildState.FAILED
    assert not fault.heals


def test_an_actor_that_stalls_does_nothing_for_a_while(sim):
    """Then everything that waited for it goes on."""
    sim.at(0.0, faults.stall("quota_manager", 4.0))
    sim.advance(1.0)
    assert ask(sim) == pytest.approx(3.0 + 2.0)
    assert ask(sim) == pytest.approx(2.0)


def test_a_slow_actor_takes_its_time_for_each_message(sim):
    """As long as it lasts."""
    sim.at(0.0, faults.slow_actor("quota_manager", 0.5, 3.0))
    sim.advance(0.0)
    assert ask(sim) == pytest.approx(0.5 + 2.0)
    sim.advance(5.0)
    assert ask(sim) == pytest.approx(2.0)
    sim.at(sim.now, faults.slow_actor("quota_manager", 0.5, 3.0))
    sim.advance(0.0)
    assert ask(sim) == pytest.approx(0.5 + 2.0)


def test_a_broken_actor_cannot_do_its_work_until_it_is_mended(sim):
    """It dies of an error of that kind, which is marked as injected, and nobody else notices."""
    sim.at(0.0, faults.broken("recorder", OSError, duration=5.0))
    sim.advance(0.0)
    ask(sim)
    sim.advance(2.0)
    downs = sim.seen.of(Down)
    assert downs
    for down in downs:
        assert isinstance(down.crash.error, OSError)
        assert isinstance(down.crash.error, Injected)
        assert "No space left" in str(down.crash.error)
    sim.advance(10.0)
    before = len(sim.runtime._tree.recordings.get_recordings())
    ask(sim)
    sim.advance(2.0)
    assert len(sim.runtime._tree.recordings.get_recordings()) == before + 1


def test_a_share_of_the_work_may_be_broken(sim):
    """With another error, too."""
    sim.at(0.0, faults.broken("analytics", ValueError, duration=1000.0, share=0.3))
    sim.advance(0.0)
    for _ in range(20):
        ask(sim)
        sim.advance(20.0)
    assert sim.seen.of(Down)
    # What it dies of it gets once more.
    assert sim.runtime._tree.usage.generate_report()["a"].attempts >= 10
    assert all(isinstance(down.crash.error, ValueError) for down in sim.seen.of(Down))


def test_an_overloaded_actor_is_told_no_telemetry(sim):
    """What may be refused is dropped and counted, also by its next incarnation; the rest arrives."""
    sim.at(0.0, faults.overload("recorder", 10.0))
    sim.at(0.5, faults.crash("recorder"))
    sim.advance(1.0)
    ask(sim)
    sim.advance(1.0)
    address = child(sim, "recorder").address
    assert sim.runtime._tree.recordings.get_recordings() == []
    assert address.lost == 1
    assert sim.runtime._tree.usage.generate_report()["a"].attempts == 1
    sim.advance(10.0)
    ask(sim)
    sim.advance(1.0)
    assert len(sim.runtime._tree.recordings.get_recordings()) == 1
    assert address.lost == 1
