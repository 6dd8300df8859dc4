"""The retry budget and the breakers together: an outage is survived, and a brown-out is not made worse."""

from __future__ import annotations

from typing import Any

import pytest

from showcaller.actors.backend_config import BackendConfig
from showcaller.actors.configuration import RuntimeConfig
from showcaller.actors.route_config import RouteConfig
from showcaller.actors.settings import RuntimeSettings
from showcaller.runtime.testing import faults
from showcaller.runtime.testing.report import Report
from showcaller.runtime.testing.simulation import Simulation


def configuration(strategy: str = "failover", allowed_fails: int = 5, **settings: Any) -> RuntimeConfig:
    """Two backends on one route."""
    backends = [
        BackendConfig(
            name=name, backend_type="openai_compatible", base_url="http://127.0.0.1:9/v1", model="m"
        )
        for name in ("a", "b")
    ]
    route = RouteConfig(
        name="fast", routing_strategy=strategy, targets=["a", "b"], allowed_fails=allowed_fails
    )
    return RuntimeConfig(runtime=RuntimeSettings(model="fast", **settings), backends=backends, routes=[route])


def run(config: RuntimeConfig, *struck: Any, rate: float, duration: float, streams: float = 0.0) -> Report:
    """Traffic, with faults from the fifth second on."""
    with Simulation(config, seed=1) as simulation:
        simulation.traffic(rate=rate, duration=duration, streams=streams)
        for fault in struck:
            simulation.at(5.0, fault)
        report = simulation.run()
    assert report.violations == ()
    return report


@pytest.mark.parametrize("strategy", ["failover", "round_robin"])
@pytest.mark.parametrize(
    "fault",
    [
        faults.outage("a", 120.0),
        faults.errors("a", "unavailable", duration=120.0),
        faults.errors("a", "stalled", duration=120.0),
    ],
    ids=["gone", "503", "silent"],
)
def test_two_minutes_without_one_of_two_backends_are_not_noticed(strategy: str, fault: Any) -> None:
    """Five requests a second: the few that must go elsewhere before the breaker opens can be paid for."""
    report = run(configuration(strategy), fault, rate=5.0, duration=200.0)
    assert report.success_rate > 0.999


def test_of_streams_an_outage_costs_only_what_had_begun() -> None:
    """Nothing else is lost."""
    report = run(configuration(), faults.outage("a", 120.0), rate=5.0, duration=130.0, streams=1.0)
    failed = [request for request in report.requests if request.error is not None]
    assert {request.error for request in failed} == {"StreamInterruptedError"}
    assert all(request.submitted < 5.0 for request in failed)


def amplification(config: RuntimeConfig) -> tuple[int, int]:
    """First attempts and all others in half a minute of a brown-out, once the saved-up retries are spent."""
    struck = [faults.errors(name, "unavailable", duration=45.0) for name in ("a", "b")]
    report = run(config, *struck, rate=20.0, duration=50.0)
    calls = [call for call in report.attempts if 20.0 <= call.started < 50.0]
    first = sum(call.number == 1 for call in calls)
    return first, len(calls) - first


def test_a_brown_out_is_not_made_worse_by_retries() -> None:
    """When everything fails and no breaker helps: a tenth more calls than requests, and one a second."""
    first, others = amplification(configuration(allowed_fails=10_000, num_retries=4))
    assert first > 500
    # What was decided before may be sent in it: as much as comes in 8 s, the longest backoff.
    assert others <= 0.1 * first + 30.0 + 8 * 3
    without = amplification(configuration(allowed_fails=10_000, num_retries=4, retry_budget=4.0))
    assert without[1] > 3 * without[0]


def test_with_breakers_a_brown_out_is_mostly_quiet() -> None:
    """A few probes."""
    first, others = amplification(configuration())
    assert first + others < 50
