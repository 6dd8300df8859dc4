"""The strategies: what they draw is valid, runs, repeats, and shrinks to what is needed and no more."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import Phase, find, given, settings
from hypothesis import strategies as st

from showcaller import testing
from showcaller.actors.backend_config import BackendConfig
from showcaller.actors.configuration import RuntimeConfig
from showcaller.actors.enums import LoadBalanceStrategy
from showcaller.actors.errors import ConfigurationError
from showcaller.actors.route_config import RouteConfig
from showcaller.actors.settings import RuntimeSettings
from showcaller.runtime.testing.client import Plan
from showcaller.runtime.testing.report import Report
from showcaller.runtime.testing.scenario import Planned, Scenario
from showcaller.runtime.testing.schedule import Schedule
from showcaller.runtime.testing.simulation import Simulation
from showcaller.runtime.testing.strategies import (
    HypothesisDice,
    configs,
    fault_scripts,
    requests,
    scenarios,
    schedules,
)

CHANGES = {"add", "drain", "remove", "replace"}
QUICK = settings(max_examples=20)


def backend(name: str, **options: object) -> BackendConfig:
    """An endpoint that is never called."""
    return BackendConfig(
        name=name,
        backend_type="openai_compatible",
        base_url="http://127.0.0.1:9/v1",
        model=f"model-of-{name}",
        **options,  # type: ignore[arg-type]
    )


def config_of(*backends: BackendConfig, model: str | None = "fast") -> RuntimeConfig:
    """Failover from the first to the last, and a second route the other way round."""
    names = [one.name for one in backends]
    return RuntimeConfig(
        runtime=RuntimeSettings(model=model),
        backends=backends,
        routes=[
            RouteConfig(name="fast", routing_strategy="failover", targets=names),
            RouteConfig(name="back", routing_strategy="failover", targets=names[::-1]),
        ],
    )


CONFIG = config_of(backend("remote"), backend("local", max_parallel_requests=2))


# --- dice ---


@given(st.data())
def test_dice_stay_within_their_bounds(data: st.DataObject) -> None:
    """Whatever the bounds are."""
    dice = HypothesisDice(data.draw)
    least = data.draw(st.floats(0.0, 1e6))
    most = least + data.draw(st.floats(0.0, 1e6))
    assert least <= dice.number(least, most) <= most
    assert 3 <= dice.whole(3, 5) <= 5
    assert dice.pick("abc") in "abc"
    assert not dice.chance(0.0)
    assert dice.chance(1.0)


@pytest.mark.parametrize(
    ("draws", "simplest", "other"),
    [
        (lambda dice: dice.number(0.0, 60.0), 0.0, 59.3),
        (lambda dice: dice.whole(2, 9), 2, 9),
        (lambda dice: dice.pick(["first", "second"]), "first", "second"),
        (lambda dice: dice.chance(0.3), False, True),
        (lambda dice: dice.chance(0.9), True, False),
    ],
)
def test_dice_shrink_towards_what_is_least_first_and_likely(
    draws: Callable[[HypothesisDice], object], simplest: object, other: object
) -> None:
    """And the other values are there too."""

    @st.composite
    def drawn(draw: st.DrawFn) -> object:
        return draws(HypothesisDice(draw))

    assert find(drawn(), lambda value: True) == simplest
    least = find(drawn(), lambda value: value >= other if isinstance(other, float) else value == other)
    assert least == other


# --- configurations and requests ---


@QUICK
@given(configs(), st.integers(0, 99))
def test_a_drawn_configuration_runs(config: RuntimeConfig, seed: int) -> None:
    """Each request that is accepted gets its outcome."""
    with Simulation(config, seed=seed) as simulation:
        simulation.traffic(rate=5, duration=4)
        report = simulation.run()
    assert report.open == 0
    assert report.violations == ()


@pytest.mark.parametrize("strategy", LoadBalanceStrategy)
def test_routes_of_every_strategy_are_drawn(strategy: LoadBalanceStrategy) -> None:
    """None of them is out of reach."""

    def uses_it(config: RuntimeConfig) -> bool:
        return strategy in {route.routing_strategy for route in config.routes}

    assert find(configs(), uses_it, settings=settings(phases=[Phase.generate], database=None))


@QUICK
@given(st.lists(requests(["fast", "back", "local", "nobody"]), min_size=1, max_size=10))
def test_drawn_requests_can_be_sent(plans: list[Plan]) -> None:
    """What is wrong with one is said at the door, and all others get their outcome."""
    with Simulation(CONFIG, seed=1) as simulation:
        for number, plan in enumerate(plans):
            simulation.at(0.1 * number, lambda plan=plan: simulation.send(plan))
        report = simulation.run()
    assert report.open == 0
    assert report.violations == ()
    for request, plan in zip(report.requests, plans, strict=True):
        assert (request.outcome == "refused") == (plan.options.get("model") == "nobody")


def test_the_simplest_request_has_no_options() -> None:
    """What is left in a counterexample matters to it."""
    assert find(requests(["fast"]), lambda plan: True) == Plan(prompt="hello")


# --- faults and scenarios ---


@given(fault_scripts(CONFIG, duration=30.0, max_faults=3))
def test_faults_come_in_order_within_their_time(script: tuple[Planned, ...]) -> None:
    """Nobody changes the configuration unless that was wanted."""
    assert [planned.time for planned in script] == sorted(planned.time for planned in script)
    assert len(script) <= 3
    assert all(0 <= planned.time <= 30 for planned in script)
    assert not CHANGES & {planned.fault.name for planned in script}


@pytest.mark.parametrize("name", sorted(CHANGES))
def test_changes_come_when_they_are_wanted(name: str) -> None:
    """Each of them."""
    script = find(
        fault_scripts(CONFIG, changes=True),
        lambda script: name in {planned.fault.name for planned in script},
        settings=settings(max_examples=5000, database=None),
    )
    assert [planned.fault.name for planned in script] == [name]


@given(fault_scripts(CONFIG, heals=True))
def test_faults_that_do_not_heal_can_be_left_out(script: tuple[Planned, ...]) -> None:
    """For properties of the time after them."""
    assert all(planned.fault.heals for planned in script)


@QUICK
@given(scenarios(CONFIG, duration=10.0))
def test_the_repr_of_a_scenario_is_code_that_makes_it_again(scenario: Scenario) -> None:
    """With the names of `showcaller.testing`; and the reader's own `config`."""
    names = {name: getattr(testing, name) for name in testing.__all__}
    again = eval(repr(scenario), names | {"config": CONFIG})
    assert again == scenario
    assert again.run().digest == scenario.run().digest


@QUICK
@given(scenarios(config_of(backend("a"), backend("b"), model=None)))
def test_without_a_default_each_kind_of_traffic_names_its_model(scenario: Scenario) -> None:
    """A request that names none would only be refused."""
    assert all("model" in traffic.options for traffic in scenario.traffic)


@given(scenarios(CONFIG, duration=5.0, max_requests=30))
def test_a_scenario_keeps_to_its_bounds(scenario: Scenario) -> None:
    """In time and in number."""
    assert all(traffic.start + traffic.duration <= 5.0 for traffic in scenario.traffic)
    assert sum(traffic.rate * traffic.duration for traffic in scenario.traffic) <= 3 * 50 * 1.0


def test_a_path_is_read_at_once(tmp_path: Path) -> None:
    """What is wrong with the file is said where the strategy is made, not at its first example."""
    path = tmp_path / "showcaller.toml"
    path.write_text('[backends.local]\ntype = "embedded"\n', encoding="utf-8")
    found = find(scenarios(path), lambda scenario: True)
    assert [backend.name for backend in found.config.backends] == ["local"]
    path.write_text("[backends.local]\n", encoding="utf-8")
    with pytest.raises(ConfigurationError, match="type"):
        scenarios(path)


# --- shrinking ---


def smallest(is_wrong: Callable[[Report], bool]) -> Scenario:
    """The smallest scenario whose report a property does not allow."""
    return find(
        scenarios(CONFIG, duration=5.0, max_requests=30, max_faults=2),
        lambda scenario: is_wrong(scenario.run()),
        # Without the phase that explains, which traces every line of the runtime.
        settings=settings(
            max_examples=500, database=None, derandomize=True, phases=[Phase.generate, Phase.shrink]
        ),
    )


def test_a_wrong_property_of_traffic_shrinks_to_a_little_traffic_without_faults() -> None:
    """Never more than one at once? It takes one kind of plain traffic."""
    scenario = smallest(lambda report: report.max_in_flight("remote") > 1)
    assert scenario.faults == ()
    (traffic,) = scenario.traffic
    assert traffic.options == {}
    assert (traffic.start, traffic.streams, traffic.cancels) == (0.0, 0.0, 0.0)
    assert len(scenario.run().requests) <= 30


def test_a_wrong_property_of_faults_shrinks_to_one_fault() -> None:
    """It can always be reached? It takes one fault, early and short, and a request meanwhile."""
    scenario = smallest(lambda report: report.attempt_errors["BackendUnreachableError"] > 0)
    assert len(scenario.traffic) == 1
    (planned,) = scenario.faults
    assert planned.time <= 2.0
    assert planned.fault.lasts <= 2.0


class Noted:
    """A schedule that remembers what another chose."""

    def __init__(self, schedule: Schedule) -> None:
        self.chosen: list[int] = []
        self._schedule = schedule

    def choose(self, candidates: int) -> int:
        """As the other does."""
        self.chosen.append(self._schedule.choose(candidates))
        return self.chosen[-1]


def test_a_failing_schedule_shrinks_to_the_few_choices_that_matter() -> None:
    """Who sends first is served first? Not of two who send at the same moment."""
    last: list[Noted] = []

    @settings(database=None, derandomize=True, phases=[Phase.generate, Phase.shrink])
    @given(schedules())
    def first_come_first_served(schedule: Schedule) -> None:
        noted = Noted(schedule)
        last[:] = [noted]
        with Simulation(CONFIG, schedule=noted) as simulation:
            for prompt in ("first", "second"):
                simulation.at(1.0, lambda prompt=prompt: simulation.send(Plan(prompt=prompt)))
            simulation.run()
            served = [call.request_id for call in simulation.backends["remote"].served]
        assert served == [
            client.sent.request_id
            for client in sorted(simulation.clients, key=lambda client: str(client.sent.plan.prompt))
        ]

    with pytest.raises(AssertionError):
        first_come_first_served()
    assert 1 <= sum(last[0].chosen) <= 4 < len(last[0].chosen)


def test_after_so_many_choices_a_schedule_draws_no_more() -> None:
    """A long run has a bound on what Hypothesis has to shrink."""

    @settings(database=None, max_examples=10)
    @given(schedules(limit=3))
    def chosen(schedule: Schedule) -> None:
        assert [schedule.choose(2) for _ in range(10)][3:] == [0] * 7

    chosen()
