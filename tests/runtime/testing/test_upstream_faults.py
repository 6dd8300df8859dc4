"""Faults of backends and of their results: each does what it says, and is over when it says."""

from __future__ import annotations

from collections import Counter

import pytest

from showcaller.actors.errors import (
    BackendUnreachableError,
    DeadlineExceededError,
)
from showcaller.actors.messages import AttemptFinished
from showcaller.runtime.testing import faults
from showcaller.runtime.testing.distributions import Constant
from showcaller.runtime.testing.simulation import Simulation
from tests.runtime.testing.pair import STEADY, Seen, ask, config, send, slot


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
