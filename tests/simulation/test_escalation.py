"""Restart intensity, escalation and reset, as the runtime's owner sees them, in virtual time."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from showcaller.actors.enums import CircuitState
from showcaller.actors.kernel.child import Child, ChildState
from showcaller.actors.kernel.restart import RestartIntensity
from showcaller.runtime.testing import faults
from showcaller.runtime.testing.simulation import Simulation
from tests.runtime.live import config_of

RULES = RestartIntensity()
ROUNDING = 1e-6


def child_of(simulation: Simulation) -> Child:
    """That of the first backend."""
    child = simulation.runtime._tree.roster.slots["a"].child
    assert child is not None
    return child


def crash(simulation: Simulation) -> None:
    """Let it die now."""
    faults.crash("a").apply(simulation)
    simulation.advance(0.0)


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    steps=st.lists(st.tuples(st.booleans(), st.floats(0.0, 25.0)), min_size=6, max_size=14),
)
def test_one_restart_too_many_escalates_and_a_reset_starts_anew(
    seed: int, steps: list[tuple[bool, float]]
) -> None:
    """Against a model of the crashes in the last minute; each step is a crash, or a reset, and a pause."""
    with Simulation(config_of(["a", "b"]), seed=seed) as simulation:
        clock, child = simulation.world.clock, child_of(simulation)
        crashes: list[float] = []
        failed = 0
        for is_crash, pause in steps:
            if not is_crash:
                simulation.runtime.backends.reset("a")
                crashes = []
                assert child.state is ChildState.RUNNING
            elif child.state is ChildState.RUNNING:
                now = clock.now()
                crashes = [at for at in crashes if at > now - RULES.period]
                crash(simulation)
                assert child.next_start is not None
                delay = child.next_start - now
                if len(crashes) == RULES.max_restarts:
                    failed += 1
                    crashes = []
                    assert child.state is ChildState.FAILED
                    assert delay == pytest.approx(RULES.retry_failed_after)
                else:
                    least = RULES.backoff(len(crashes))
                    crashes.append(now)
                    assert child.state is ChildState.RESTARTING
                    assert least - ROUNDING <= delay <= least * (1 + RULES.jitter) + ROUNDING
            assert len(simulation.escalations) == failed
            simulation.advance(pause)
        assert simulation.inspector.violations == []


def test_what_failed_is_tried_again_after_five_minutes() -> None:
    """Not earlier, and what happens meanwhile goes elsewhere."""
    with Simulation(config_of(["a", "b"])) as simulation:
        simulation.at(0.0, faults.restart_storm("a", 6, 4.5))
        simulation.advance(25.0)
        (escalation,) = simulation.escalations
        assert (escalation.actor, escalation.restarts) == ("a", 5)
        (status, _) = simulation.runtime.status().backends
        assert status.actor.next_start_in == pytest.approx(297.5)
        assert simulation.runtime.ask("q").backend == "b"
        assert simulation.backends["a"].served == []
        next_start = child_of(simulation).next_start
        assert next_start is not None
        simulation.advance(next_start - 1.0 - simulation.world.clock.now())
        assert child_of(simulation).state is ChildState.FAILED
        simulation.advance(1.1)
        assert child_of(simulation).state is ChildState.RUNNING
        assert simulation.runtime.ask("q", model="a").backend == "a"


def test_a_reset_lets_an_open_breaker_s_next_request_be_its_probe() -> None:
    """And the retry budget and the time of the probe are in the status."""
    with Simulation(
        config_of(["a"], route={"allowed_fails": 1, "cooldown_time": 100.0}, settings={"num_retries": 0})
    ) as simulation:
        simulation.at(0.0, faults.errors("a", "server_error", duration=1.0))
        simulation.advance(0.0)
        simulation.runtime.submit("q")
        simulation.advance(2.0)
        before = simulation.runtime.status()
        (backend,) = before.backends
        assert backend.circuit is CircuitState.OPEN
        assert backend.half_open_in is not None
        assert 97.0 < backend.half_open_in <= 120.0
        assert (before.retry_budget.left, before.retry_budget.burst) == (100.0, 100.0)
        simulation.runtime.backends.reset("a")
        (backend,) = simulation.runtime.status().backends
        assert (backend.circuit, backend.half_open_in) == (CircuitState.HALF_OPEN, None)
        assert simulation.runtime.ask("q").backend == "a"
        simulation.advance(0.1)
        assert simulation.runtime.status().backends[0].circuit is CircuitState.CLOSED


def test_a_new_supervisor_reports_what_its_predecessor_did_not_live_to() -> None:
    """The backend's last death comes while the supervisor is away."""
    with Simulation(config_of(["a", "b"])) as simulation:
        for _ in range(5):
            crash(simulation)
            simulation.advance(5.0)
        simulation.at(simulation.now, faults.crash("supervisor", "on_down"))
        simulation.advance(0.0)
        crash(simulation)
        simulation.advance(2.0)
        assert child_of(simulation).state is ChildState.FAILED
        assert [escalation.actor for escalation in simulation.escalations] == ["a"]
