"""The arithmetic of a simulation's report, on reports made by hand."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from attrs import evolve

from showcaller.actors.enums import RequestPriority
from showcaller.actors.errors import ConfigurationError
from showcaller.runtime.testing.attempt_report import AttemptReport
from showcaller.runtime.testing.report import Report
from showcaller.runtime.testing.request_report import RequestReport


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
