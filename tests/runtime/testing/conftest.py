"""The simulation that faults are tried on."""

from __future__ import annotations

import pytest

from showcaller.runtime.testing.simulation import Simulation
from tests.runtime.testing.pair import STEADY, Seen, config


@pytest.fixture
def sim():
    """Two steady backends, of which the first gets everything as long as it works."""
    with Simulation(config(), seed=7, behaviours={"a": STEADY, "b": STEADY}) as simulation:
        simulation.seen = Seen()
        simulation.world.observers.append(simulation.seen)
        yield simulation
