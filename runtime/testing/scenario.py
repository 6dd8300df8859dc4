"""A scenario: a configuration, traffic and faults as plain values, that runs the same every time."""

from __future__ import annotations

from collections.abc import Mapping

from attrs import field, frozen

from showcaller.actors.configuration import RuntimeConfig
from showcaller.runtime.testing.behaviour import Behaviour
from showcaller.runtime.testing.report import Report
from showcaller.runtime.testing.schedule import Schedule
from showcaller.runtime.testing.simulation import Fault, Simulation
from showcaller.runtime.testing.traffic import Traffic


@frozen
class Planned:
    """A fault and when it strikes, in seconds from the beginning."""

    time: float
    fault: Fault


@frozen(kw_only=True)
class Scenario:
    """What happens in a simulation; its repr is code that makes it again.

    Attributes:
        config: the configuration under test.
        seed: decides everything that is random.
        traffic: the requests.
        faults: what goes wrong, and when.
        behaviours: how backends answer, by name.
    """

    config: RuntimeConfig = field(repr=lambda config: "config")
    seed: int = 0
    traffic: tuple[Traffic, ...] = ()
    faults: tuple[Planned, ...] = ()
    behaviours: Mapping[str, Behaviour] = field(factory=dict)

    @property
    def calm_from(self) -> float:
        """When the last fault is over, in seconds from the beginning."""
        return max((planned.time + planned.fault.lasts for planned in self.faults), default=0.0)

    def simulation(self, schedule: Schedule | None = None) -> Simulation:
        """A simulation in which it is planned, not yet begun."""
        simulation = Simulation(self.config, seed=self.seed, behaviours=self.behaviours, schedule=schedule)
        self.plan_in(simulation)
        return simulation

    def plan_in(self, simulation: Simulation) -> None:
        """Plan its traffic and its faults."""
        for traffic in self.traffic:
            simulation.add_traffic(traffic)
        for planned in self.faults:
            simulation.at(planned.time, planned.fault)

    def run(self, schedule: Schedule | None = None) -> Report:
        """Run it from beginning to end.

        Args:
            schedule: who goes on; by default drawn from the seed.
        """
        with self.simulation(schedule) as simulation:
            return simulation.run()
