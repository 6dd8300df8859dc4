"""Faults: each does what it says to a real runtime in virtual time, and is over when it says."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from showcaller.actors.configuration import RuntimeConfig
from showcaller.actors.enums import BackendType
from showcaller.actors.errors import (
    BackendUnreachableError,
    ConfigurationError,
    DeadlineExceededError,
    RequestCancelledError,
    RuntimeStoppedError,
)
from showcaller.actors.kernel.child import ChildState
from showcaller.actors.kernel.message import Down
from showcaller.actors.messages import AttemptFinished
from showcaller.actors.settings import BackendConfig, RouteConfig, RuntimeSettings
from showcaller.runtime.testing import faults
from showcaller.runtime.testing.behaviour import Behaviour
from showcaller.runtime.testing.chaos import chaos
from showcaller.runtime.testing.client import Plan
from showcaller.runtime.testing.dice import SeededDice
from showcaller.runtime.testing.distributions import Constant, HeavyTail, Lognormal
from showcaller.runtime.testing.errors import Injected
from showcaller.runtime.testing.simulation import Simulation
from showcaller.runtime.testing.tree_faults import ACTORS, handlers_of
from showcaller.runtime.testing.vocabulary import DRAWINGS, draw_fault

STEADY = Behaviour(
    connect=Constant(0.0),
    first_token=Constant(1.0),
    token_interval=Constant(0.1),
    answer_tokens=(10, 10),
    most_chunks=10,
)
"""Two seconds for an answer, the first of them in silence."""


def backend(name, **options):
    return BackendConfig(
        name=name,
        backend_type="openai_compatible",
        base_url="http://127.0.0.1:9/v1",
        model=f"model-of-{name}",
        **options,
    )


def config(**options):
    return RuntimeConfig(
        runtime=RuntimeSettings(model="fast", timeout=30.0),
        backends=[backend(name, **options) for name in "ab"],
        routes=[RouteConfig(name="fast", routing_strategy="failover", targets=["a", "b"])],
    )


class Seen:
    """Notes what arrives in mailboxes."""

    def __init__(self):
        self.messages = []

    def sent(self, owner, message):
        self.messages.append(message)

    def taken(self, cell, message):
        return

    def handled(self, cell):
        return

    def at_rest(self):
        return

    def of(self, kind):
        return [message for message in self.messages if isinstance(message, kind)]


@pytest.fixture
def sim():
    """Two steady backends, of which the first gets everything as long as it works."""
    with Simulation(config(), seed=7, behaviours={"a": STEADY, "b": STEADY}) as simulation:
        simulation.seen = Seen()
        simulation.world.observers.append(simulation.seen)
        yield simulation


def send(sim, **plan):
    """A request that is sent now."""
    return sim.send(Plan(prompt=f"prompt {len(sim.clients)}", **plan)).sent


def ask(sim, **options):
    """Seconds until there is an answer."""
    began = sim.now
    sim.runtime.ask(f"ask at {began}", **options)
    return sim.now - began


def slot(sim, name):
    return sim.runtime._tree.roster.slots[name]


def child(sim, actor):
    tree = sim.runtime._tree
    return tree.children[actor] if actor in ACTORS else slot(sim, actor).child


def notes(sim):
    return [moment.what for moment in sim.timeline]


# --- backends ---


def test_an_outage_cuts_what_is_in_flight_and_lets_nothing_connect_until_it_is_over(sim):
    """What was cut goes elsewhere, and a works again afterwards."""
    fault = faults.outage("a", duration=10)
    sim.at(0.5, fault)
    sent = send(sim)
    sim.advance(0.6)
    (cut,) = sim.backends["a"].served
    assert cut.ended == cut.started + 0.5
    assert "Connection reset" in cut.error.message
    assert cut.error.maybe_executed
    sim.advance(3.0)
    assert sent.outcome.response.backend == "b"
    assert ask(sim, model="model-of-b") == pytest.approx(2.0)
    sim.advance(1.0)
    assert send(sim).error is None
    sim.advance(0.1)
    assert isinstance(sim.backends["a"].served[-1].error, BackendUnreachableError)
    sim.advance(20.0)
    assert sim.runtime.ask("afterwards").backend == "a"
    assert [(moment.time, moment.what) for moment in sim.timeline if "outage" in moment.what] == [
        (0.5, "outage('a', duration=10)"),
        (10.5, "outage('a', duration=10) is over"),
    ]
    assert fault.lasts == 10


@pytest.mark.parametrize("kind", [kind for kind in faults.KINDS if kind != "hangs"])
def test_errors_of_each_kind_strike_as_long_as_they_last(sim, kind):
    """Nothing is answered meanwhile, and everything by it or another afterwards."""
    sim.at(0.0, faults.errors("a", kind, duration=1.0))
    sim.advance(0.1)
    for _ in range(3):
        send(sim)
    sim.advance(60.0)
    (first, *_) = sim.backends["a"].served
    assert first.ended is not None
    assert not first.answered
    assert sim.runtime.ask("afterwards").backend in (("b",) if kind == "retired" else ("a", "b"))


def test_errors_may_carry_a_retry_after_which_is_kept(sim):
    """The backend is left alone for so long."""
    sim.at(0.0, faults.errors("a", "rate_limit", duration=1.0, retry_after=20))
    sim.advance(0.1)
    assert sim.runtime.ask("one").backend == "b"
    sim.advance(10.0)
    assert sim.runtime.ask("two").backend == "b"
    sim.advance(10.0)
    assert sim.runtime.ask("three").backend == "a"


def test_a_share_strikes_only_so_many():
    """Within what chance allows."""
    with Simulation(config(), seed=7, behaviours={"a": STEADY, "b": STEADY}) as sim:
        sim.at(0.0, faults.errors("a", "content_filter", 0.25, duration=1000.0))
        sim.traffic(rate=2.0, duration=200.0)
        sim.run()
        served = sim.backends["a"].served
        failed = sum(call.error is not None for call in served)
        assert len(served) > 300
        assert 0.17 < failed / len(served) < 0.33


def test_a_slow_backend_takes_so_many_times_as_long(sim):
    """And as long as usual afterwards."""
    sim.at(0.0, faults.slow("a", 3.0, 5.0))
    sim.advance(0.0)
    assert ask(sim) == pytest.approx(6.0)
    assert ask(sim) == pytest.approx(2.0)


def test_a_backend_that_is_slow_for_a_share_has_a_tail(sim):
    """Some take long, the others do not."""
    sim.at(0.0, faults.slow("a", 5.0, 1000.0, share=0.3))
    sim.advance(0.0)
    times = Counter(round(ask(sim)) for _ in range(40))
    assert set(times) == {2, 10}
    assert 4 <= times[10] <= 20


def test_another_latency_is_drawn_while_it_lasts(sim):
    """Of the first token alone."""
    sim.at(0.0, faults.latency("a", Constant(4.0), 1.0))
    sim.advance(0.0)
    assert ask(sim) == pytest.approx(5.0)
    assert ask(sim) == pytest.approx(2.0)


def test_two_conditions_work_together(sim):
    """Each ends by itself."""
    sim.at(0.0, faults.latency("a", Constant(4.0), 1.0))
    sim.at(0.0, faults.slow("a", 2.0, 20.0))
    sim.advance(0.0)
    assert ask(sim) in (pytest.approx(10.0), pytest.approx(6.0))
    assert ask(sim) == pytest.approx(4.0)


def test_a_hang_is_abandoned_after_its_deadline(sim):
    """Its request is answered by another, and the seat never comes back."""
    sim.at(0.0, faults.errors("a", "hangs", duration=0.5))
    sim.advance(0.1)
    sent = send(sim, options={"timeout": 5.0})
    sim.advance(4.9)
    assert sent.completed is None
    sim.advance(5.0)
    assert isinstance(sent.error, DeadlineExceededError)
    assert len(slot(sim, "a").abandoned) == 1
    assert slot(sim, "a").in_flight == {}
    assert sim.runtime.ask("afterwards").backend == "a"
    assert not faults.errors("a", "hangs", duration=0.5).heals


def test_time_does_not_wait_for_a_hang(sim):
    """When nothing else can happen any more, nothing can."""
    sim.at(0.0, faults.errors("a", "hangs", duration=0.5))
    sim.advance(0.1)
    send(sim, options={"timeout": 5.0})
    steps = 0
    while sim.world.step():
        steps += 1
        assert steps < 10_000
    assert sim.now < 1000.0


# --- results ---


def test_a_slow_close_holds_seats_back_as_long_as_it_lasts(sim):
    """The client has its answer at once."""
    sim.at(0.0, faults.slow_close("a", 3.0, 10.0))
    sim.advance(0.0)
    sent = send(sim)
    sim.advance(4.9)
    assert sent.completed == sent.submitted + 2.0
    assert len(slot(sim, "a").in_flight) == 1
    sim.advance(0.2)
    assert slot(sim, "a").in_flight == {}
    sim.advance(10.0)
    ask(sim)
    sim.advance(0.0)
    assert slot(sim, "a").in_flight == {}


@pytest.mark.parametrize(
    ("fault", "arrivals"),
    [
        (faults.late_result("a", 3.0), [5.0, 2.0]),
        (faults.late_result("a", 3.0, times=2), [5.0, 5.0]),
        (faults.duplicate_result("a"), [2.0, 2.0, 2.0]),
        (faults.duplicate_result("a", delay=4.0), [2.0, 6.0, 2.0]),
        (faults.lost_result("a"), [2.0]),
        (faults.late_result("b", 3.0), [2.0, 2.0]),
    ],
    ids=str,
)
def test_results_of_a_backend_come_late_twice_or_never(fault, arrivals):
    """One after the other, and as usual afterwards; no request and no account suffers."""
    with Simulation(config(), seed=7, behaviours={"a": STEADY, "b": STEADY}) as sim:
        came = []

        class Arrivals(Seen):
            def sent(self, owner, message):
                if isinstance(message, AttemptFinished):
                    came.append(round(sim.now - began, 3))

        sim.world.observers.append(Arrivals())
        sim.at(0.0, fault)
        sim.advance(0.0)
        for _ in range(2):
            began = sim.now
            assert ask(sim) == pytest.approx(2.0)
            sim.advance(10.0)
        assert came == arrivals
        sim.advance(60.0)
        assert slot(sim, "a").in_flight == {}
        assert len(slot(sim, "a").abandoned) == (fault.name == "lost_result")


# --- actors ---

EVERYBODY = (*ACTORS, "a")


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


# --- time, callers ---


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


# --- configuration ---


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


# --- what they are ---

EACH = {
    "outage": faults.outage("a", 120),
    "errors": faults.errors("a", "rate_limit", 0.5, duration=30.0, retry_after=3),
    "slow": faults.slow("a", 4.0, 30.0, share=0.1),
    "latency": faults.latency("a", HeavyTail(0.1, 1.2), duration=5),
    "slow_close": faults.slow_close("a", 2.0, 30.0),
    "late_result": faults.late_result("a", 2.0),
    "duplicate_result": faults.duplicate_result("a", times=3),
    "lost_result": faults.lost_result("a"),
    "crash": faults.crash("supervisor", "on_granted", after=True),
    "restart_storm": faults.restart_storm("a", 3, every=1.0),
    "fail_start": faults.fail_start("a", 2),
    "fail_init": faults.fail_init("recorder"),
    "no_thread": faults.no_thread("a", times=2),
    "stall": faults.stall("supervisor", 3.0),
    "slow_actor": faults.slow_actor("recorder", 0.1, 10.0),
    "broken": faults.broken("recorder", OSError, duration=10.0),
    "overload": faults.overload("recorder", 10.0),
    "wall_skip": faults.wall_skip(-3600.0),
    "suspend": faults.suspend(60.0),
    "cancel": faults.cancel(0.5),
    "cancel_everything": faults.cancel_everything(),
    "add": faults.add(backend("c", max_parallel_requests=2, timeout=9.0, api_key="sk-a-credential")),
    "drain": faults.drain("a", timeout=3.0),
    "remove": faults.remove("a"),
    "replace": faults.replace("a", max_parallel_requests=2, idempotent=False),
}
SPACE = {
    "faults": faults,
    "BackendConfig": BackendConfig,
    "BackendType": BackendType,
    "Constant": Constant,
    "HeavyTail": HeavyTail,
    "Lognormal": Lognormal,
}
VALUES = {"ACTORS", "KINDS", "Fault"}


def test_each_fault_is_in_the_tables():
    """Of this file, and of what random scenarios draw."""
    assert set(EACH) == set(faults.__all__) - VALUES
    assert {name.removesuffix("_nth") for name in DRAWINGS} == set(EACH)


@pytest.mark.parametrize("name", EACH)
def test_the_repr_of_a_fault_makes_it_again(name):
    """It is code, and shows no credential."""
    fault = EACH[name]
    text = repr(fault)
    assert "sk-a-credential" not in text
    again = eval(text, {**SPACE, "Timeouts": type(backend("c").timeout)})
    assert repr(again) == text
    assert (again.lasts, again.heals) == (fault.lasts, fault.heals)
    if name != "add":
        assert again == fault


def test_a_repr_is_the_call():
    """As it would be written."""
    assert repr(EACH["outage"]) == "faults.outage('a', duration=120)"
    assert repr(EACH["broken"]) == "faults.broken('recorder', error=OSError, duration=10.0)"
    assert repr(EACH["replace"]) == "faults.replace('a', max_parallel_requests=2, idempotent=False)"


@pytest.mark.parametrize(
    "name",
    [name for name in EACH if name not in ("wall_skip", "suspend", "cancel", "cancel_everything", "add")],
)
def test_a_name_that_does_not_exist_is_refused_when_the_fault_strikes(name, sim):
    """With the names that do."""
    fault = faults.crash("supervisor") if name == "crash" else EACH[name]
    again = getattr(faults, name)(**{**fault.arguments, next(iter(fault.arguments)): "nobody"})
    with pytest.raises(ConfigurationError, match=rf"{name}\.\w+ = 'nobody': no .*(known|mean)"):
        again.apply(sim)


@pytest.mark.parametrize(
    ("make", "field"),
    [
        (lambda: faults.outage("a", -1), "outage.duration"),
        (lambda: faults.outage("a", float("nan")), "outage.duration"),
        (lambda: faults.errors("a", "rate_limits", duration=1), "errors.kind"),
        (lambda: faults.errors("a", "stalled", 0.0, duration=1), "errors.share"),
        (lambda: faults.errors("a", "stalled", 1.1, duration=1), "errors.share"),
        (lambda: faults.errors("a", "stalled", duration=1, retry_after=3), "errors.retry_after"),
        (lambda: faults.errors("a", "rate_limit", duration=1, retry_after=-3), "errors.retry_after"),
        (lambda: faults.errors("a", "truncated", duration=1, after_chunks=-1), "errors.after_chunks"),
        (lambda: faults.slow("a", 0.0, 1.0), "slow.factor"),
        (lambda: faults.slow("a", 2.0, "1"), "slow.duration"),
        (lambda: faults.latency("a", 2.0, 1.0), "latency.distribution"),
        (lambda: faults.slow_close("a", -2.0, 1.0), "slow_close.delay"),
        (lambda: faults.late_result("a", 2.0, 0), "late_result.times"),
        (lambda: faults.duplicate_result("a", True), "duplicate_result.times"),
        (lambda: faults.lost_result("a", 1.5), "lost_result.times"),
        (lambda: faults.crash("supervisor", "on_grant"), "crash.handler"),
        (lambda: faults.crash("a", "on_granted"), "crash.handler"),
        (lambda: faults.restart_storm("a", 0, 1.0), "restart_storm.crashes"),
        (lambda: faults.restart_storm("a", 2, -1.0), "restart_storm.every"),
        (lambda: faults.fail_start("a", 0), "fail_start.times"),
        (lambda: faults.fail_init("a", 0), "fail_init.times"),
        (lambda: faults.no_thread("a", 0), "no_thread.times"),
        (lambda: faults.stall("a", -1), "stall.duration"),
        (lambda: faults.slow_actor("a", -1, 1), "slow_actor.pause"),
        (lambda: faults.broken("a", "OSError", duration=1), "broken.error"),
        (lambda: faults.broken("a", KeyboardInterrupt, duration=1), "broken.error"),
        (lambda: faults.overload("a", -1), "overload.duration"),
        (lambda: faults.wall_skip(float("inf")), "wall_skip.by"),
        (lambda: faults.suspend(-1), "suspend.duration"),
        (lambda: faults.cancel(0), "cancel.share"),
        (lambda: faults.cancel(nth=0), "cancel.nth"),
        (lambda: faults.add("a"), "add.config"),
        (lambda: faults.drain("a", -1), "drain.timeout"),
        (lambda: faults.remove("a", -1), "remove.timeout"),
        (lambda: faults.replace("a", drain_timeout=-1), "replace.drain_timeout"),
        (lambda: faults.replace("a", max_paralel_requests=1), "replace.max_paralel_requests"),
    ],
)
def test_a_value_that_cannot_be_is_refused_when_the_fault_is_made(make, field):
    """By name."""
    with pytest.raises(ConfigurationError, match=field.replace(".", r"\.") + " = "):
        make()


def test_every_actor_has_handlers_to_crash_in():
    """Not those that are Pykka's own, except the stop."""
    for actor in EVERYBODY:
        handlers = handlers_of(actor)
        assert "on_wind_down" in handlers
        assert "on_stop" in handlers
        assert "on_receive" not in handlers
        assert "on_start" not in handlers
    assert "on_execute" in handlers_of("a")
    assert "on_granted" in handlers_of("supervisor")


# --- what is drawn ---


def drawn(count, **options):
    dice = SeededDice(random.Random(7))
    return [draw_fault(dice, config(), **options) for _ in range(count)]


def test_every_fault_and_every_kind_of_error_is_drawn():
    """Sooner or later, and each can be written down and made again."""
    seen = drawn(3000)
    assert {fault.name for fault in seen} == set(EACH)
    assert {fault.arguments["kind"] for fault in seen if fault.name == "errors"} == set(faults.KINDS)
    for fault in seen:
        assert repr(eval(repr(fault), dict(SPACE))) == repr(fault)
        assert 0 <= fault.lasts <= 60


def test_only_what_heals_is_drawn_when_that_is_wanted():
    """So that everything must work again in the end."""
    assert all(fault.heals for fault in drawn(2000, heals=True))
    assert not all(fault.heals for fault in drawn(2000))


@pytest.mark.parametrize("seed", range(12))
def test_whatever_is_drawn_no_actor_dies_of_anything_else(seed):
    """Every death in a random scenario is one that a fault has caused."""
    scenario = chaos(seed)
    with scenario.simulation() as sim:
        seen = Seen()
        sim.world.observers.append(seen)
        sim.run()
        crashes = [down.crash for down in seen.of(Down) if down.crash is not None]
    assert [str(crash) for crash in crashes if not isinstance(crash.error, Injected | RuntimeError)] == []
