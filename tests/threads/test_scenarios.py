"""The random scenarios of the simulation on real threads, which switch as often as the interpreter can."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator

import pytest

from showcaller.runtime.testing.chaos import chaos
from tests.threads.lapse import ThreadSimulation

EPISODES = 30


@pytest.fixture(autouse=True)
def often() -> Iterator[None]:
    """Let the interpreter switch threads at almost every turn."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(before)


@pytest.mark.parametrize("seed", range(EPISODES))
def test_the_same_invariants_hold_on_real_threads(seed: int) -> None:
    """Those of the end: each request one outcome, every account even, nothing left behind."""
    scenario = chaos(seed)
    simulation = ThreadSimulation(scenario.config, seed=scenario.seed, behaviours=scenario.behaviours)
    scenario.plan_in(simulation)
    with simulation:
        report = simulation.run()
    assert report.violations == ()
    account = simulation.runtime.status().account
    assert account.accepted == account.answered + account.failed
    for client in simulation.clients:
        assert len(client.sent.outcomes) == (0 if client.sent.refused else 1)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("showcaller-core")]
