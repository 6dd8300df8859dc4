"""The report of a simulation: its arithmetic on runs made by hand, and what small runs put into it."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from typing import Any

import pytest
from attrs import evolve

from showcaller.actors.backend_config import BackendConfig
from showcaller.actors.configuration import RuntimeConfig
from showcaller.actors.enums import RequestPriority
from showcaller.actors.errors import (
    BackendUnreachableError,
    ConfigurationError,
    RequestCancelledError,
    ServerError,
    UnknownModelError,
)
from showcaller.actors.messages import Provoke
from showcaller.actors.models import ChatRequest, RequestContext
from showcaller.actors.route_config import RouteConfig
from showcaller.actors.settings import RuntimeSettings
from showcaller.runtime.testing import faults
from showcaller.runtime.testing.attempt_report import AttemptReport
from showcaller.runtime.testing.backend import Served
from showcaller.runtime.testing.behaviour import Behaviour
from showcaller.runtime.testing.calls import report_calls
from showcaller.runtime.testing.client import Plan, Sent
from showcaller.runtime.testing.clock import START
from showcaller.runtime.testing.distributions import Constant
from showcaller.runtime.testing.report import Report
from showcaller.runtime.testing.request_report import RequestReport
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


def report(**fields: Any) -> Report:
    """A report made by hand."""
    return Report(
        **{"seed": 1, "digest": "d", "steps": 10, "duration": 10.0, "backends": ("a", "b")} | fields
    )


def request(outcome: Any = "answered", latency: float = 1.0, **fields: Any) -> RequestReport:
    """A request of second 0."""
    return RequestReport(
        **{"request_id": "r", "submitted": 0.0, "completed": latency, "outcome": outcome} | fields
    )


def attempt(started: float = 0.0, ended: float | None = 1.0, **fields: Any) -> AttemptReport:
    """An attempt at a."""
    return AttemptReport(
        **{"backend": "a", "request_id": "r", "started": started, "ended": ended, "outcome": "answered"}
        | fields
    )


# --- arithmetic ---


def test_the_counts_add_up() -> None:
    """Each request is counted once, by its outcome."""
    outcomes = ["answered"] * 6 + ["failed"] * 2 + ["cancelled"] * 3 + ["refused", "open"]
    one = report(requests=tuple(request(outcome) for outcome in outcomes))
    assert (one.accepted, one.answered, one.failed, one.cancelled, one.refused, one.open) == (
        12,
        6,
        2,
        3,
        1,
        1,
    )
    assert one.accepted == one.answered + one.failed + one.cancelled + one.open


@pytest.mark.parametrize(
    ("outcomes", "rate"),
    [
        (["answered"] * 3 + ["failed"], 0.75),
        (["answered"] * 3 + ["refused"], 0.75),
        (["answered", "cancelled", "cancelled", "open"], 1.0),
        (["failed"], 0.0),
        ([], 1.0),
    ],
)
def test_what_the_caller_gave_up_is_neither_a_success_nor_a_failure(outcomes: list[str], rate: float) -> None:
    """And without any request nothing has failed."""
    assert report(requests=tuple(request(outcome) for outcome in outcomes)).success_rate == rate


@pytest.mark.parametrize(
    ("q", "expected"), [(0.0, 1.0), (0.01, 1.0), (0.5, 50.0), (0.501, 51.0), (0.99, 99.0), (1.0, 100.0)]
)
def test_a_quantile_is_a_value_that_occurred(q: float, expected: float) -> None:
    """By the nearest rank, whatever the order."""
    one = report(requests=tuple(request(latency=float(number)) for number in range(100, 0, -1)))
    assert one.quantile("latency", q) == expected


def test_each_measure_has_its_own_values() -> None:
    """Answered requests, answered attempts, and the first tokens of all attempts."""
    one = report(
        requests=(request(latency=3.0), request("failed", latency=90.0), request("open", completed=None)),
        attempts=(
            attempt(1.0, 2.0, first_token=1.5),
            attempt(2.0, 9.0, first_token=4.0, outcome="failed"),
            attempt(3.0, None, outcome="open"),
        ),
    )
    assert one.p99("latency") == 3.0
    assert one.p99("attempt_latency") == 1.0
    assert (one.p50("first_token"), one.p95("first_token")) == (0.5, 2.0)


def test_a_measure_can_be_of_one_backend() -> None:
    """Of the requests that it answered, and of its attempts."""
    one = report(
        requests=(request(latency=1.0, backend="a"), request(latency=2.0, backend="b")),
        attempts=(attempt(), attempt(ended=5.0, backend="b")),
    )
    assert (one.p50("latency", "a"), one.p50("latency", "b")) == (1.0, 2.0)
    assert (one.p50("attempt_latency", "a"), one.p50("attempt_latency", "b")) == (1.0, 5.0)


def test_the_quantile_of_nothing_fails_every_comparison() -> None:
    """So that a test does not pass because nothing was answered."""
    nothing = report().p99("latency")
    assert math.isnan(nothing)
    assert not nothing < 4.0
    assert not nothing >= 0.0


@pytest.mark.parametrize(
    ("ask", "said"),
    [
        (lambda one: one.p99("latncy"), "no measure 'latncy'; did you mean \"latency\"?"),
        (lambda one: one.quantile("latency", 99), "q = 99: use a number from 0 to 1"),
        (lambda one: one.quantile("latency", math.nan), "use a number from 0 to 1"),
        (lambda one: one.p99("latency", "opena"), "no backend is named 'opena'; did you mean \"openai\"?"),
        (lambda one: one.max_in_flight("opena"), 'did you mean "openai"?'),
        (lambda one: one.backend("x"), "known: local, openai"),
    ],
)
def test_a_wrong_name_gets_the_nearest(ask: Any, said: str) -> None:
    """A name that nothing has would else be 0, and every assertion on it would pass."""
    with pytest.raises(ConfigurationError) as refused:
        ask(report(backends=("openai", "local")))
    assert said in str(refused.value)


def test_shares_are_of_the_answered_requests() -> None:
    """Attempts that led to nothing do not count; a backend without an answer has 0."""
    requests = [request(backend="a")] * 3 + [request(backend="b"), request("failed", backend=None)]
    assert report(requests=tuple(requests)).share() == {"a": 0.75, "b": 0.25}
    assert report().share() == {"a": 0.0, "b": 0.0}


def test_errors_are_counted_by_type() -> None:
    """Those of requests and those of attempts; what was given up is no error."""
    one = report(
        requests=(
            request("failed", error="ServerError"),
            request("refused", error="OverloadedError"),
            request("cancelled", error="RequestCancelledError"),
        ),
        attempts=(
            *[attempt(outcome="failed", error="RateLimitError")] * 2,
            attempt(outcome="cancelled", error="RequestCancelledError"),
        ),
    )
    assert one.errors == {"ServerError": 1, "OverloadedError": 1}
    assert one.attempt_errors == {"RateLimitError": 2}


@pytest.mark.parametrize(
    ("spans", "most"),
    [
        ([], 0),
        ([(0, 1)], 1),
        ([(0, 1), (1, 2), (2, 3)], 1),
        ([(0, 2), (1, 3), (1.5, 1.8), (2, 4)], 3),
        ([(0, None), (5, None), (9, 9.5)], 3),
        ([(1, 1), (1, 1)], 1),
        ([(0, 2), (1, 1)], 2),
    ],
)
def test_the_most_in_flight_is_of_one_moment(spans: list[tuple[float, float | None]], most: int) -> None:
    """What begins when another ends is not beside it; what took no time was there; what is open still is."""
    attempts = [attempt(start, end) for start, end in spans] + [attempt(0, 9, backend="b")] * 5
    assert report(attempts=tuple(attempts)).max_in_flight("a") == most


def test_a_backend_in_numbers() -> None:
    """Its calls, its errors without those that were given up, its times and its restarts."""
    one = report(
        requests=(request(backend="a"), request(backend="b")),
        attempts=(
            attempt(0.0, 2.0),
            attempt(1.0, 1.5, outcome="failed", error="ServerError"),
            attempt(1.0, 1.2, outcome="cancelled"),
        ),
        restarts={"a": 3, "supervisor": 1},
    ).backend("a")
    assert (one.share, one.calls, one.errors, one.p50, one.p99) == (0.5, 3, 1, 2.0, 2.0)
    assert (one.max_in_flight, one.restarts) == (3, 3)


def test_an_empty_run_can_be_written_too() -> None:
    """What has no value is null, not NaN, which is no JSON."""
    plain = json.loads(report(backends=()).to_json())
    assert plain["latency"] == {"p50": None, "p95": None, "p99": None}
    assert plain["success_rate"] == 1.0
    assert report().steps_per_second == 0.0


def test_it_is_written_in_plain_values() -> None:
    """Enums by name, tuples as lists, and floats without their last digits."""
    one = report(
        requests=(request(latency=0.1 + 0.2, priority=RequestPriority.HIGH, metadata={"step": [1, 2]}),),
        attempts=(attempt(0.0, 1 / 3, metadata={"step": [1, 2]}),),
    )
    plain = one.as_dict()
    assert plain == json.loads(one.to_json())
    assert plain["requests"][0]["priority"] == "high"
    assert plain["requests"][0]["latency"] == 0.3
    assert plain["attempts"][0]["ended"] == 0.333333
    assert plain["attempts"][0]["metadata"] == {"step": [1, 2]}
    assert plain["backends"]["a"]["calls"] == 1


def test_the_time_that_the_computer_took_does_not_tell_runs_apart() -> None:
    """Equal runs have equal reports."""
    one = report(real_seconds=0.5)
    other = evolve(one, real_seconds=2.0)
    assert one == other
    assert one.to_json() == other.to_json()
    assert (one.steps_per_second, other.steps_per_second) == (20.0, 5.0)


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
from tests.runtime.testing.test_report import simulation
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
