"""What runs put into the report of a simulation: which attempt is whose, and how every request ended."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import pytest

from showcaller.actors.backend_config import BackendConfig
from showcaller.actors.configuration import RuntimeConfig
from showcaller.actors.enums import RequestPriority
from showcaller.actors.errors import (
    BackendUnreachableError,
    RequestCancelledError,
    ServerError,
    UnknownModelError,
)
from showcaller.actors.messages import Provoke
from showcaller.actors.models import ChatRequest, RequestContext
from showcaller.actors.route_config import RouteConfig
from showcaller.actors.settings import RuntimeSettings
from showcaller.runtime.testing import faults
from showcaller.runtime.testing.backend import Served
from showcaller.runtime.testing.behaviour import Behaviour
from showcaller.runtime.testing.calls import report_calls
from showcaller.runtime.testing.client import Plan, Sent
from showcaller.runtime.testing.clock import START
from showcaller.runtime.testing.distributions import Constant
from showcaller.runtime.testing.simulation import Simulation

ONE_SECOND = Behaviour(
    connect=Constant(0.0),
    first_token=Constant(0.4),
    token_interval=Constant(0.1),
    answer_tokens=(6, 6),
)


def backend(name: str, **options: Any) -> BackendConfig:
    """An endpoint that is never called."""
    return BackendConfig(
        name=name,
        backend_type="openai",
        base_url="http://127.0.0.1:9/v1",
        model=f"model-of-{name}",
        **options,
    )


def config(*backends: BackendConfig) -> RuntimeConfig:
    """A route "fast" over these, which is what requests go to."""
    return RuntimeConfig(
        runtime=RuntimeSettings(model="fast"),
        backends=backends,
        routes=[RouteConfig(name="fast", targets=[one.name for one in backends])],
    )


def simulation(*names: str, seed: int = 1, **options: Any) -> Simulation:
    """Backends that take exactly a second for an answer."""
    return Simulation(
        config(*(backend(name, **options) for name in names)),
        seed=seed,
        behaviours=dict.fromkeys(names, ONE_SECOND),
    )


# --- which attempt is whose ---


def sent(request_id: str, submitted: float) -> Sent:
    """A request that is open."""
    return Sent(Plan(prompt="x"), START + submitted, request_id=request_id)


def served(request_id: str, started: float, **fields: Any) -> Served:
    """A call of a."""
    return Served("a", request_id, 1, START + started, START + 60, False, **fields)


def test_an_id_that_is_used_again_belongs_to_the_request_of_its_time() -> None:
    """It may be, once its first request has ended."""
    requests, attempts = report_calls(
        [sent("r", 0.0), sent("r", 5.0), sent("other", 6.0)],
        [served("r", 6.0), served("r", 1.0), served("r", 2.0), served("unknown", 0.5)],
        [config(backend("a"))],
    )
    assert [one.attempts for one in requests] == [2, 1, 0]
    assert [one.started for one in attempts] == [0.5, 1.0, 2.0, 6.0]
    assert [one.route for one in attempts] == [None, "fast", "fast", "fast"]


@pytest.mark.parametrize(
    ("fields", "outcome", "error"),
    [
        ({}, "open", None),
        ({"ended": START + 2, "answered": True}, "answered", None),
        ({"ended": START + 2, "error": ServerError("x")}, "failed", "ServerError"),
        ({"ended": START + 2, "error": RequestCancelledError("x")}, "cancelled", "RequestCancelledError"),
        ({"ended": START + 2, "dropped": True}, "cancelled", None),
        ({"ended": START + 2}, "failed", None),
    ],
)
def test_what_became_of_an_attempt(fields: dict[str, Any], outcome: str, error: str | None) -> None:
    """One that the runtime dropped was not wanted any more; one that ended without a word has failed."""
    _, (one,) = report_calls([], [served("r", 1.0, **fields)], [])
    assert (one.outcome, one.error) == (outcome, error)


# --- of runs ---


def test_a_run_tells_what_its_clients_saw() -> None:
    """One request in detail: names, times from the beginning, and the attempt that was made for it."""
    context = RequestContext(request_id="mine", metadata={"step": "plan"})
    with simulation("a") as sim:
        sim.advance(2.0)
        sim.send(Plan(prompt=ChatRequest("hi", context=context, priority="high"), stream=True))
        one = sim.run()
    (asked,) = one.requests
    assert (asked.request_id, asked.model, asked.route, asked.backend) == ("mine", None, "fast", "a")
    assert (asked.priority, asked.stream, asked.metadata) == (RequestPriority.HIGH, True, {"step": "plan"})
    assert (asked.outcome, asked.error, asked.attempts, asked.source) == ("answered", None, 1, "live")
    assert asked.submitted == pytest.approx(2.0)
    assert asked.latency == pytest.approx(1.0)
    (made,) = one.attempts
    assert (made.backend, made.request_id, made.route, made.number) == ("a", "mine", "fast", 1)
    assert (made.metadata, made.outcome, made.output_tokens) == ({"step": "plan"}, "answered", 6)
    assert (made.started, made.first_token, made.ended) == pytest.approx((2.0, 2.4, 3.0))
    assert made.first_token_latency == pytest.approx(0.4)
    assert one.share() == {"a": 1.0}
    assert one.duration == pytest.approx(sim.now)


def test_every_ending_of_a_request_is_told() -> None:
    """Refused for its model or for a wrong field, given up, failed by its deadline, answered."""
    with simulation("a") as sim:
        for plan in (
            Plan(prompt="x", options={"model": "fats"}),
            Plan(prompt="x", options={"temperature": -1}),
            Plan(prompt="x", cancel_after=0.5),
            Plan(prompt="x", options={"timeout": 0.3}),
            Plan(prompt="x", options={"model": "a"}),
        ):
            sim.send(plan)
        one = sim.run()
    assert [asked.outcome for asked in one.requests] == [
        "refused",
        "refused",
        "cancelled",
        "failed",
        "answered",
    ]
    assert [asked.route for asked in one.requests] == [None, "fast", "fast", "fast", "a"]
    assert one.errors == {UnknownModelError.__name__: 1, "InvalidFieldError": 1, "DeadlineExceededError": 1}
    assert one.success_rate == 0.25
    assert [made.outcome for made in one.attempts].count("answered") == 1
    assert {asked.attempts for asked in one.requests[2:]} == {1}


def test_attempts_at_a_backend_that_was_removed_and_added_again_are_all_there() -> None:
    """A name may stand for one transport after the other."""
    with simulation("a", "b") as sim:
        for _ in range(2):
            sim.runtime.ask("x", model="a")
            sim.runtime.backends.remove("a")
            sim.runtime.backends.add(backend("a"))
        sim.runtime.ask("x", model="a")
        one = sim.run()
    assert [made.backend for made in one.attempts] == ["a", "a", "a"]
    assert one.backends == ("a", "b")
    assert [asked.backend for asked in one.requests] == ["a", "a", "a"]


def test_the_most_in_flight_keeps_to_the_limit_of_the_backend() -> None:
    """Twenty at once wait for two seats."""
    with simulation("a", max_parallel_requests=2) as sim:
        for _ in range(20):
            sim.send(Plan(prompt="x"))
        one = sim.run()
    assert one.answered == 20
    assert one.max_in_flight("a") == 2
    assert one.p99("latency") == pytest.approx(10.0)


def test_restarts_are_told_by_the_names_of_actors_and_backends() -> None:
    """Who never died is there with 0."""
    with simulation("a", "b") as sim:
        sim.runtime.backends.crash("b")
        sim.runtime._tree.address("supervisor").tell(Provoke("a drill"))
        sim.advance(30.0)
        one = sim.run()
    assert (one.restarts["a"], one.restarts["b"], one.restarts["supervisor"]) == (0, 1, 1)
    assert one.restarts["quota_manager"] == 0
    assert one.backend("b").restarts == 1


def test_a_failover_is_two_attempts_of_one_request() -> None:
    """The first at the backend that fails, with its error's name."""
    with simulation("a", "b") as sim:
        sim.at(0.0, faults.outage("a", 100.0))
        sim.traffic(rate=5.0, duration=10.0)
        one = sim.run()
    assert one.success_rate == 1.0
    assert one.share() == {"a": 0.0, "b": 1.0}
    failed = [made for made in one.attempts if made.outcome == "failed"]
    assert {made.backend for made in failed} == {"a"}
    assert one.attempt_errors == {BackendUnreachableError.__name__: len(failed)}
    assert one.backend("a").errors == len(failed) > 0
    again = {asked.request_id for asked in one.requests if asked.attempts == 2}
    assert again == {made.request_id for made in failed}
    assert one.timeline[0].time == 0.0


def test_a_transport_that_breaks_its_contract_has_failed() -> None:
    """It gives no error of its own."""
    with simulation("a") as sim:
        sim.at(0.0, faults.errors("a", "raises", duration=5.0))
        sim.traffic(rate=1.0, duration=4.0, timeout=3.0)
        one = sim.run()
    assert [(made.outcome, made.error) for made in one.attempts] == [("failed", None)] * len(one.attempts)
    assert one.backend("a").errors == len(one.attempts) > 0


RUN = """
from tests.runtime.testing.test_report_of_runs import simulation
with simulation("a", "b", seed=5) as sim:
    sim.traffic(rate=5.0, duration=20.0, streams=0.3, cancels=0.2)
    print(sim.run().to_json())
"""


def test_the_same_seed_gives_the_same_report_in_another_process() -> None:
    """Whatever the hashes of strings are; another seed gives another digest."""
    reports = [
        subprocess.run(
            [sys.executable, "-c", RUN],
            env={**os.environ, "PYTHONHASHSEED": hashes},
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        ).stdout
        for hashes in ("1", "2")
    ]
    assert reports[0] == reports[1]
    with simulation("a", "b", seed=6) as sim:
        sim.traffic(rate=5.0, duration=20.0, streams=0.3, cancels=0.2)
        other = sim.run()
    assert json.loads(reports[0])["digest"] != other.digest
