"""What the inspector finds when the health monitor is wrong."""

from __future__ import annotations

from typing import Any

import pytest

from showcaller.actors.backend_config import BackendConfig
from showcaller.actors.configuration import RuntimeConfig
from showcaller.actors.health_monitor import HealthBoard, HealthMonitor
from showcaller.actors.messages import Observed
from showcaller.actors.policies.health_window import HealthWindow
from showcaller.actors.settings import RuntimeSettings
from showcaller.runtime.testing import faults
from showcaller.runtime.testing.simulation import Simulation

PERIOD = 300.0


def run(*, idle: float = 0.0, struck: tuple[tuple[float, Any], ...] = ()) -> list[str]:
    """The violations of a backend that is well, then fails, then is well again; with a quiet time after it."""
    backend = BackendConfig(
        name="a", backend_type="openai_compatible", base_url="http://127.0.0.1:9/v1", model="m"
    )
    config = RuntimeConfig(runtime=RuntimeSettings(model="a", timeout=5.0), backends=[backend])
    with Simulation(config, seed=1) as simulation:
        simulation.traffic(rate=8, duration=20)
        simulation.at(5, faults.errors("a", "server_error", 0.7, duration=8.0))
        for time, fault in struck:
            simulation.at(time, fault)
        simulation.run()
        simulation.advance(idle)
        simulation.inspector.at_end()
    return simulation.inspector.violations


def test_a_monitor_that_is_right_has_no_violation() -> None:
    """Also when it dies before and after its work, is too busy to hear, and when its windows empty by time."""
    struck = (
        (3.0, faults.crash("health_monitor", "on_observed", after=True)),
        (8.0, faults.crash("health_monitor", "on_observed")),
        (10.0, faults.overload("health_monitor", 2.0)),
        (15.0, faults.stall("health_monitor", 2.0)),
        (200.0, faults.crash("health_monitor", "on_reassess", after=True)),
    )
    assert run(idle=2 * PERIOD, struck=struck) == []


def test_a_batch_that_is_counted_again_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both accounts are in the sentence."""
    real = HealthBoard.hear

    def hear(self: HealthBoard, message: Observed) -> None:
        self._last = lambda: None
        real(self, message)

    monkeypatch.setattr(HealthBoard, "hear", hear)
    found = run(struck=((3.0, faults.crash("health_monitor", "on_observed", after=True)),))
    assert any(" attempts, and what was observed is healthy by 0 errors in " in one for one in found)


def test_an_attempt_that_counts_too_long_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Time is part of what was observed."""
    real = HealthWindow.next_departure.fget
    assert real is not None

    def next_departure(self: HealthWindow) -> float | None:
        due = real(self)
        return None if due is None else due + PERIOD

    monkeypatch.setattr(HealthWindow, "next_departure", property(next_departure))
    found = run(idle=PERIOD + 50.0)
    assert any(
        " attempts, and what was observed is unknown by 0 errors in 0 attempts" in one for one in found
    )


def test_a_change_by_time_that_is_not_told_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """As is one of which the supervisor does not hear."""
    monkeypatch.setattr(HealthBoard, "seconds_to_departure", lambda self: None)
    found = run(idle=2 * PERIOD)
    assert any("it is unknown, and the supervisor was told last that it is " in one for one in found)


def test_a_change_that_is_told_twice_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """By what it was before."""
    real = HealthMonitor._go_on

    def go_on(self: HealthMonitor) -> None:
        self._board._told.clear()
        real(self)

    monkeypatch.setattr(HealthMonitor, "_go_on", go_on)
    assert "a: the supervisor is told again that it is healthy, at " in run()[0]
