"""Goodput: at twice the capacity as much is answered in time as at capacity, and when it is over all is as before."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from showcaller.actors.backend_config import BackendConfig
from showcaller.actors.configuration import RuntimeConfig
from showcaller.actors.enums import RequestPriority
from showcaller.actors.errors import DeadlineExceededError
from showcaller.actors.policies.admission import Outlook
from showcaller.actors.route_config import RouteConfig
from showcaller.actors.settings import RuntimeSettings
from showcaller.runtime.testing import faults
from showcaller.runtime.testing.assertions import assert_invariants
from showcaller.runtime.testing.backend import Condition, SimulatedBackend
from showcaller.runtime.testing.behaviour import Behaviour
from showcaller.runtime.testing.call import Call
from showcaller.runtime.testing.distributions import Constant
from showcaller.runtime.testing.mishaps import STATUSES, usual
from showcaller.runtime.testing.report import Report
from showcaller.runtime.testing.simulation import Simulation

PHASE = 60.0
"""Seconds at capacity, then as many at twice the capacity, then as many below it."""
CAPACITY = 4.0
"""Answers a second: four places, a second each."""
STEADY = Behaviour(
    connect=Constant(0.0), first_token=Constant(0.5), token_interval=Constant(0.01), answer_tokens=(50, 50)
)
VARIED = Behaviour(answer_tokens=(10, 100))


def crowded(kind: str, places: int, share: float = 1.0) -> Callable[[SimulatedBackend], Condition]:
    """A backend that turns away what comes, or a part of it, while all its places are taken."""
    away = STATUSES[kind].mishap()

    def of(backend: SimulatedBackend) -> Condition:
        def mishap(call: Call) -> Any:
            return away(call) if backend.open > places else usual(call)

        return Condition(mishap=mishap, share=share)

    return of


def run(
    *,
    seed: int,
    names: str = "a",
    seats: int = 4,
    behaviour: Behaviour = STEADY,
    condition: Callable[[SimulatedBackend], Condition] | None = None,
    streams: float = 0.0,
    timeout: float = 4.0,
    **settings: Any,
) -> Report:
    """The three phases; with the retries that are on by default."""
    config = RuntimeConfig(
        runtime=RuntimeSettings(model="fast", timeout=timeout, **settings),
        backends=[
            BackendConfig(
                name=name,
                backend_type="openai_compatible",
                base_url="http://127.0.0.1:9/v1",
                model="m",
                max_parallel_requests=seats,
            )
            for name in names
        ],
        routes=[RouteConfig(name="fast", routing_strategy="least_connections", targets=list(names))],
    )
    with Simulation(config, seed=seed, behaviours=dict.fromkeys(names, behaviour)) as simulation:
        for backend in simulation.backends.values():
            if condition is not None:
                backend.begin(condition(backend))
        for phase, load in enumerate((1.0, 2.0, 0.7)):
            simulation.traffic(rate=load * CAPACITY, duration=PHASE, start=phase * PHASE, streams=streams)
        report = simulation.run()
    assert_invariants(report)
    return report


def goodput(report: Report, phase: int) -> float:
    """Answers a second of a phase, without its first ten seconds."""
    since, until = phase * PHASE + 10.0, (phase + 1) * PHASE
    ends = [request.completed for request in report.requests if request.outcome == "answered"]
    return sum(end is not None and since <= end < until for end in ends) / (until - since)


def served_after(report: Report) -> float:
    """Which part of those is answered that came at least 2 s after the overload."""
    late = [request for request in report.requests if request.submitted >= 2 * PHASE + 2.0]
    return sum(request.outcome == "answered" for request in late) / len(late)


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize(
    "setting",
    [
        {},
        {"timeout": 2.5},
        {"timeout": 10.0},
        {"names": "ab", "seats": 2},
        {"streams": 0.5},
        {"behaviour": VARIED},
        {"behaviour": VARIED, "timeout": 8.0, "streams": 1.0, "names": "ab", "seats": 2},
        {"seats": 6, "condition": crowded("rate_limit", 4)},
        {"num_retries": 4, "retry_budget": 1.0, "seats": 6, "condition": crowded("rate_limit", 4)},
        {"names": "ab", "seats": 3, "condition": crowded("rate_limit", 2)},
        {"names": "ab", "seats": 2, "condition": crowded("unavailable", 1, share=0.2)},
    ],
    ids=lambda setting: ",".join(setting) or "plain",
)
def test_twice_the_capacity_costs_no_goodput(setting: dict[str, Any], seed: int) -> None:
    """Not a tenth of it; and two seconds after the overload nothing is left of it."""
    report = run(seed=seed, **setting)
    assert goodput(report, 1) >= 0.9 * goodput(report, 0)
    assert goodput(report, 0) >= 0.6 * CAPACITY
    # Who is turned away by the backend fails now and then, overload or not.
    assert served_after(report) >= (0.8 if "condition" in setting else 0.95)


def test_without_admission_it_would_collapse(monkeypatch: pytest.MonkeyPatch) -> None:
    """First in, first out: each gets its place when it has hardly any time left."""
    monkeypatch.setattr(Outlook, "refusal", lambda *_: None)
    report = run(seed=0)
    assert goodput(report, 1) < 0.5 * goodput(report, 0)


def test_who_is_refused_is_told_when_to_come_back() -> None:
    """At the door and at once, with hardly anybody who waits in vain."""
    report = run(seed=0)
    early = [request for request in report.requests if request.submitted >= PHASE + 10.0]
    refused = [request for request in early if request.outcome == "refused"]
    assert len(refused) > 100
    assert {request.error for request in refused} == {"OverloadedError"}
    assert sum(request.outcome == "failed" for request in early) < 0.05 * len(early)


def test_a_slow_minute_is_forgotten_when_it_is_over() -> None:
    """Ten times as slow: nearly all is refused; two seconds after it nobody is."""
    with Simulation(
        RuntimeConfig(
            runtime=RuntimeSettings(model="a", timeout=4.0),
            backends=[BackendConfig(name="a", backend_type="simulated", model="m", max_parallel_requests=4)],
        ),
        seed=1,
        behaviours={"a": STEADY},
    ) as simulation:
        simulation.traffic(rate=0.7 * CAPACITY, duration=150.0)
        simulation.at(30.0, faults.slow("a", 10, 60.0))
        report = simulation.run()
    assert_invariants(report)
    late = [request for request in report.requests if request.submitted >= 95.0]
    assert sum(request.outcome == "answered" for request in late) >= 0.95 * len(late)
    during = [request for request in report.requests if 40.0 <= request.submitted < 80.0]
    assert not any(request.outcome == "answered" for request in during)


def test_what_no_backend_can_answer_in_time_is_not_sent() -> None:
    """Answers take a second: with a hundredth of it left no call is made, and the error says why."""
    config = RuntimeConfig(
        runtime=RuntimeSettings(model="a"),
        backends=[BackendConfig(name="a", backend_type="simulated", model="m")],
    )
    with Simulation(config, seed=1, behaviours={"a": STEADY}) as simulation:
        outcomes = simulation.runtime.ask_many(["q"] * 3)
        assert all(outcome.ok for outcome in outcomes)
        calls = len(simulation.backends["a"].served)
        with pytest.raises(DeadlineExceededError, match="was not sent to 'a'") as caught:
            simulation.runtime.ask("q", timeout=0.01)
        assert not caught.value.maybe_executed
        assert len(simulation.backends["a"].served) == calls
        assert simulation.runtime.ask("q", timeout=3.0).content
        simulation.advance(11.0)
        with pytest.raises(DeadlineExceededError, match="had no outcome within"):
            simulation.runtime.ask("q", timeout=0.01)
        assert len(simulation.backends["a"].served) == calls + 2


def test_critical_requests_get_through_an_overload() -> None:
    """A tenth of the traffic is critical: hardly any of it is refused or late, at twice the capacity."""
    config = RuntimeConfig(
        runtime=RuntimeSettings(model="a", timeout=4.0),
        backends=[BackendConfig(name="a", backend_type="simulated", model="m", max_parallel_requests=4)],
    )
    with Simulation(config, seed=1, behaviours={"a": STEADY}) as simulation:
        simulation.traffic(rate=1.8 * CAPACITY, duration=PHASE, priority="low")
        simulation.traffic(rate=0.2 * CAPACITY, duration=PHASE, priority="critical")
        report = simulation.run()
    assert_invariants(report)
    critical = [one for one in report.requests if one.priority is RequestPriority.CRITICAL]
    assert len(critical) > 30
    assert all(one.outcome == "answered" for one in critical)
