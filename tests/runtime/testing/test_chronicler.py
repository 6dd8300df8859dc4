"""The timeline: what happens to actors and breakers is on it, once and in order."""

from __future__ import annotations

import re

from showcaller.actors.backend_config import BackendConfig
from showcaller.actors.configuration import RuntimeConfig
from showcaller.actors.route_config import RouteConfig
from showcaller.actors.settings import RuntimeSettings
from showcaller.runtime.testing import faults
from showcaller.runtime.testing.simulation import Simulation

CONFIG = RuntimeConfig(
    runtime=RuntimeSettings(model="fast"),
    backends=[
        BackendConfig(name=name, backend_type="openai", base_url="http://127.0.0.1:9/v1", model=f"m-{name}")
        for name in ("a", "b")
    ],
    routes=[RouteConfig(name="fast", targets=["a", "b"], allowed_fails=2, cooldown_time=4.0)],
)


def timeline(sim: Simulation) -> list[str]:
    """What is on it, without numbers and without what the faults say of themselves."""
    return [re.sub(r"\d+\.\d", "N", one.what) for one in sim.timeline if "(" not in one.what]


def test_nothing_is_on_it_when_nothing_happens() -> None:
    """The start of a tree is no news."""
    with Simulation(CONFIG) as sim:
        sim.traffic(rate=3.0, duration=10.0)
        assert sim.run().timeline == ()


def test_a_death_and_a_restart_are_told_each_once() -> None:
    """Of a backend's actor and of one of the tree's own, with what it died of."""
    with Simulation(CONFIG) as sim:
        sim.at(1.0, faults.crash("a"))
        sim.at(5.0, faults.crash("supervisor"))
        sim.run()
        sim.advance(10.0)
    died = [what.partition(" at ")[0] for what in timeline(sim)]
    assert died == [
        "a died: InjectedCrashError in on_provoke",
        "a is started again",
        "supervisor died: InjectedCrashError in on_provoke",
        "supervisor is started again",
    ]


def test_an_actor_that_dies_too_often_is_told_to_stay_down() -> None:
    """Until it is tried again."""
    with Simulation(CONFIG) as sim:
        sim.at(1.0, faults.restart_storm("a", 6, 8.0))
        sim.advance(60.0)
        assert timeline(sim)[-1] == "a has died too often, and stays down for a while"
        assert sum("died:" in what for what in timeline(sim)) == 6
        sim.advance(300.0)
    assert timeline(sim)[-1] == "a is started again"


def test_a_breaker_is_told_when_it_opens_and_when_it_closes() -> None:
    """A failed probe opens it again, for longer; only the end is told as the end."""
    with Simulation(CONFIG) as sim:
        sim.at(1.0, faults.outage("a", 12.0))
        sim.traffic(rate=5.0, duration=60.0)
        sim.run()
    told = timeline(sim)
    opened = "a is left alone for N s: its breaker is open"
    assert told[-1] == "a gets requests again: its breaker is closed"
    assert set(told[:-1]) == {opened}
    seconds = [float(found[1]) for one in sim.timeline if (found := re.search(r"for (\d+\.\d) s", one.what))]
    assert len(seconds) >= 2
    assert seconds == sorted(seconds)
    assert 4.0 <= seconds[0] < 6.0
