"""The error a flight ends with says most: alone its own, together all of them."""

from __future__ import annotations

import random
from types import SimpleNamespace

import pytest
from attrs import evolve

from showcaller.actors.backend_config import BackendConfig
from showcaller.actors.enums import Capability, CircuitState, RequestPriority
from showcaller.actors.errors import (
    AllBackendsFailedError,
    BackendCrashedError,
    BudgetExceededError,
    ContextWindowExceededError,
    DeadlineExceededError,
    RateLimitError,
    ServerError,
    StreamInterruptedError,
)
from showcaller.actors.flight import Flight
from showcaller.actors.kernel.workers import ThreadWorkers
from showcaller.actors.models import ChatRequest, StreamChunk
from showcaller.actors.needs import Needs
from showcaller.actors.policies.circuit_breaker import BreakerSettings
from showcaller.actors.reasons import doomed, final_error, interrupted, nothing_in_service, poisoned, too_late
from showcaller.actors.slot import BackendSlot
from showcaller.actors.ticket import Ticket


def flight_with(*errors, stream=False):
    ticket = Ticket("r-1", priority=RequestPriority.NORMAL, created=0.0, deadline=1.0, deliver=print)
    flight = Flight(
        ticket, ChatRequest("Hello"), order=1, lane="fast", key=None, stream=stream, on_done=print
    )
    flight.errors.extend(errors)
    return flight


def slot(name, **changed):
    config = BackendConfig(
        name=name, backend_type="simulated", model="m", enabled=changed.pop("enabled", True)
    )
    made = BackendSlot(
        config,
        SimpleNamespace(),
        ThreadWorkers(name, 1),
        number=1,
        breaker=BreakerSettings(),
        rng=random.Random(1),
    )
    for field, value in changed.items():
        setattr(made, field, value)
    return made


def test_the_only_error_is_the_reason_itself():
    """Nothing is wrapped around it."""
    error = ServerError("a: HTTP 500")
    assert final_error(flight_with(error)) is error


def test_an_error_that_nothing_could_cure_is_the_reason_itself():
    """Whatever failed before it."""
    last = ContextWindowExceededError("b: too long")
    assert final_error(flight_with(ServerError("a: HTTP 500"), last)) is last


def test_several_errors_are_told_in_order():
    """Each with its number; the earliest chance to try again; and whether any may have been executed."""
    errors = [
        ServerError("a: HTTP 500", maybe_executed=True),
        RateLimitError("b: busy", retry_after=7.0),
        RateLimitError("c: busy", retry_after=3.0),
    ]
    final = final_error(flight_with(*errors))
    assert isinstance(final, AllBackendsFailedError)
    assert final.attempts == tuple(errors)
    assert "3 attempts of request r-1" in final.message
    assert "1. a: HTTP 500; 2. b: busy; 3. c: busy" in final.message
    assert (final.retry_after, final.maybe_executed) == (3.0, True)


def test_several_errors_that_know_no_time_and_sent_nothing():
    """Then there is no `retry_after`, and it may be sent again."""
    final = final_error(flight_with(ServerError("a"), ServerError("b")))
    assert (final.retry_after, final.maybe_executed) == (None, False)


@pytest.mark.parametrize("stream", [False, True])
def test_a_broken_stream_keeps_its_text(stream):
    """And names the backend; it was executed in part."""
    flight = flight_with(stream=stream)
    if stream:
        flight.stream.offer(StreamChunk("Once "))
        flight.stream.offer(StreamChunk("upon"))
    errors = []

    def make(partial):
        errors.append(interrupted(flight, ServerError("a: reset", backend="a"), partial))
        return errors[0]

    assert flight.interrupt(make)
    assert not flight.interrupt(make)
    (error,) = errors
    assert isinstance(error, StreamInterruptedError)
    assert error.partial == ("Once upon" if stream else "")
    if stream:
        assert flight.stream.offer(StreamChunk(" a time"))
        assert flight.stream.text == "Once upon"
    assert "r-1" in error.message
    assert "a: reset" in error.message
    assert (error.backend, error.maybe_executed) == ("a", True)


def test_a_lane_without_a_backend_says_why_each_is_out():
    """And keeps what attempts there were."""
    before = ServerError("a: HTTP 500")
    slots = [slot("a", retired=True), slot("b", draining=True), slot("c", enabled=False)]
    error = nothing_in_service(flight_with(before), slots)
    assert "'fast'" in error.message
    assert "a: retired by its provider; b: draining; c: disabled" in error.message
    assert error.attempts == (before,)
    flight = flight_with()
    flight.needs = Needs(frozenset({Capability.TOOLS}))
    lacking = slot("a")
    lacking.config = evolve(lacking.config, supports=[])
    assert "a: does not support tools" in nothing_in_service(flight, [lacking]).message
    assert "it has none" in nothing_in_service(flight_with(), []).message


def test_too_late_because_of_the_caller_s_own_quota():
    """It names the quota, and when there is some again."""
    error = too_late(flight_with(), 1800.4, "requests_per_hour", [], 0.0)
    assert isinstance(error, BudgetExceededError)
    assert "requests_per_hour is used up for 1800 s" in error.message
    assert error.retry_after == 1800.4


def test_a_request_that_kills_an_actor_twice_is_told_so():
    """It names request and actor; what was sent before, other errors say."""
    error = poisoned(flight_with(), "supervisor")
    assert isinstance(error, BackendCrashedError)
    assert "request r-1 was given up: the supervisor died of it twice" in error.message


@pytest.mark.parametrize("dispatches", [0, 1])
def test_a_doomed_request_says_how_long_it_would_have_taken(dispatches):
    """What is sent in vain is not sent; what was sent before may have been executed."""
    flight = flight_with(*[ServerError("a: HTTP 500")] * dispatches)
    flight.dispatches = dispatches
    error = doomed(flight, 2.5, 0.25)
    assert isinstance(error, DeadlineExceededError)
    assert "0.750 s were left of its timeout" in error.message
    assert "more than 2.500 s" in error.message
    assert error.message.endswith("; before that: a: HTTP 500") == bool(dispatches)
    assert error.maybe_executed == bool(dispatches)


def test_too_late_because_every_backend_cools_down():
    """With what the last attempt failed of, if there was one."""
    cooling = [slot("a", not_before=112.0), slot("b", quota_until=130.0), slot("c", draining=True), slot("d")]
    cooling[3].breaker._enter(CircuitState.OPEN)
    cooling[3].breaker._open_until = 120.0
    error = too_late(flight_with(), 12.0, None, cooling, 100.0)
    assert isinstance(error, AllBackendsFailedError)
    assert "'fast' is cooling down for 12 s" in error.message
    assert (
        "a: asked for a pause, 12 s; b: its limits are used up, 30 s; c: draining; d: left alone after failures, 20 s;"
        in error.message
    )
    assert (error.retry_after, error.attempts) == (12.0, ())
    errors = [ServerError("a: HTTP 500"), ServerError("b: HTTP 502")]
    error = too_late(flight_with(*errors), 12.0, None, [], 0.0)
    assert error.message.endswith("; b: HTTP 502")
    assert error.attempts == tuple(errors)
