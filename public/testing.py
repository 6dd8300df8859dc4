"""`showcaller.testing`: a configuration in deterministic simulation, with faults, in virtual time.

Each name is imported when it is first asked for; only the strategies need Hypothesis.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from showcaller.runtime.testing import faults
    from showcaller.runtime.testing.assertions import assert_invariants
    from showcaller.runtime.testing.behaviour import Behaviour
    from showcaller.runtime.testing.client import Plan
    from showcaller.runtime.testing.distributions import Constant, HeavyTail, Lognormal
    from showcaller.runtime.testing.errors import DeadlockError, SimulationError
    from showcaller.runtime.testing.report import Report
    from showcaller.runtime.testing.scenario import Planned, Scenario
    from showcaller.runtime.testing.schedule import DrawnSchedule
    from showcaller.runtime.testing.simulation import Simulation
    from showcaller.runtime.testing.strategies import configs, fault_scripts, requests, scenarios, schedules
    from showcaller.runtime.testing.traffic import Traffic

__all__ = [
    "Behaviour",
    "Constant",
    "DeadlockError",
    "DrawnSchedule",
    "HeavyTail",
    "Lognormal",
    "Plan",
    "Planned",
    "Report",
    "Scenario",
    "Simulation",
    "SimulationError",
    "Traffic",
    "assert_invariants",
    "configs",
    "fault_scripts",
    "faults",
    "requests",
    "scenarios",
    "schedules",
]

_HOMES = {
    "showcaller.runtime.testing": "faults",
    "showcaller.runtime.testing.assertions": "assert_invariants",
    "showcaller.runtime.testing.behaviour": "Behaviour",
    "showcaller.runtime.testing.client": "Plan",
    "showcaller.runtime.testing.distributions": "Constant HeavyTail Lognormal",
    "showcaller.runtime.testing.errors": "DeadlockError SimulationError",
    "showcaller.runtime.testing.report": "Report",
    "showcaller.runtime.testing.scenario": "Planned Scenario",
    "showcaller.runtime.testing.schedule": "DrawnSchedule",
    "showcaller.runtime.testing.simulation": "Simulation",
    "showcaller.runtime.testing.strategies": "configs fault_scripts requests scenarios schedules",
    "showcaller.runtime.testing.traffic": "Traffic",
}
_HOME = {name: module for module, names in _HOMES.items() for name in names.split()}


def __getattr__(name: str) -> Any:
    """Import a public name, and keep it."""
    if name not in _HOME:
        raise AttributeError(f"module 'showcaller.testing' has no attribute {name!r}")
    home = _HOME[name]
    value = import_module(f"{home}.{name}") if name == "faults" else getattr(import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """The public names."""
    return sorted(__all__)
