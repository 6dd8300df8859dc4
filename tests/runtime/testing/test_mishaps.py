"""Mishaps: the error that each is named after, when it comes, and what else may befall a call."""

from __future__ import annotations

import random

import pytest

from showcaller.actors.backend_config import BackendConfig, Timeouts
from showcaller.actors.errors import (
    AuthenticationError,
    BackendRetiredError,
    BackendTimeoutError,
    BackendUnreachableError,
    BillingError,
    ContentPolicyViolationError,
    ContextWindowExceededError,
    InvalidRequestError,
    MalformedResponseError,
    ModelNotFoundError,
    RateLimitError,
    RequestCancelledError,
    ServerError,
)
from showcaller.actors.transport import Done, Pause, Sent
from showcaller.runtime.testing.backend import Condition, SimulatedBackend
from showcaller.runtime.testing.behaviour import Behaviour
from showcaller.runtime.testing.clock import VirtualClock
from showcaller.runtime.testing.errors import Injected
from showcaller.runtime.testing.mishaps import KINDS, MIDWAY, disconnected, hangs, no_outcome, raises
from tests.runtime.testing.played import BUGS, STEADY, Played, attempt_at, played

WHAT = {
    "rate_limit": RateLimitError,
    "insufficient_quota": BillingError,
    "billing": BillingError,
    "unauthorized": AuthenticationError,
    "forbidden": AuthenticationError,
    "not_found": ModelNotFoundError,
    "retired": BackendRetiredError,
    "bad_request": InvalidRequestError,
    "content_filter": ContentPolicyViolationError,
    "context_overflow": ContextWindowExceededError,
    "server_error": ServerError,
    "bad_gateway": ServerError,
    "unavailable": ServerError,
    "overloaded": ServerError,
    "unreachable": BackendUnreachableError,
    "no_connect": BackendTimeoutError,
    "stalled": BackendTimeoutError,
    "empty": MalformedResponseError,
    "malformed": MalformedResponseError,
    "truncated": MalformedResponseError,
    "stream_error": ServerError,
    "stalled_midway": BackendTimeoutError,
}


def test_every_kind_of_error_is_known_here():
    """A new one gets its line in this file."""
    assert set(WHAT) | set(BUGS) == set(KINDS)


@pytest.mark.parametrize("kind", WHAT)
def test_a_mishap_is_the_error_it_is_named_after(kind):
    """And the backend keeps it."""
    simulated = played(kind)
    assert type(simulated.error) is WHAT[kind]
    (served,) = simulated.backend.served
    assert served.error is simulated.error
    assert not served.answered
    assert served.ended is not None
    assert simulated.backend.open == 0


@pytest.mark.parametrize(
    ("kind", "stream", "seconds"),
    [
        ("no_connect", False, 0.15),
        ("stalled", True, 0.01 + 0.25),
        ("stalled_midway", True, 0.01 + 0.02 + 0.04 + 0.35),
        ("stalled_midway", False, 0.01 + 0.02 + 0.08 + 0.35),
        ("rate_limit", False, 0.01 + 0.01),
        ("server_error", False, 0.01 + 0.02),
        ("truncated", True, 0.01 + 0.02 + 0.04),
    ],
)
def test_a_mishap_takes_as_long_as_its_timeout_or_its_answer(kind, stream, seconds):
    """Silence ends by the timeout that applies, what is turned away is so at once."""
    assert played(kind, stream=stream).took == pytest.approx(seconds)


@pytest.mark.parametrize("kind", MIDWAY)
@pytest.mark.parametrize("chunks", [0, 1, 3, 9])
def test_a_stream_breaks_after_so_many_chunks(kind, chunks):
    """Or after its last, when it has fewer."""
    assert played(kind, chunks=chunks, stream=True).chunks == min(chunks, 4)


@pytest.mark.parametrize("kind", ["stalled", "stalled_midway", "no_connect"])
def test_silence_is_bounded_by_the_deadline(kind):
    """Which may come before its timeout."""
    simulated = played(kind, stream=True, deadline=0.1)
    assert simulated.took == pytest.approx(0.1)
    assert "total timeout" in simulated.error.message


@pytest.mark.parametrize("kind", ["stalled", "stalled_midway", "no_connect"])
def test_silence_ends_with_a_cancel(kind):
    """As soon as the call is stepped."""

    def act(backend, attempt, now):
        attempt.cancel.cancel()

    simulated = played(kind, stream=True, act=act)
    assert isinstance(simulated.error, RequestCancelledError)


def test_a_hang_hears_neither_deadline_nor_cancel():
    """It pauses without an end, however often it is woken."""
    clock = VirtualClock()
    attempt = attempt_at(clock.time, deadline=1.0)
    config = BackendConfig(
        name="b", backend_type="openai_compatible", base_url="http://127.0.0.1:9/v1", model="m"
    )
    backend = SimulatedBackend(config, STEADY, clock=clock, rng=random.Random(7))
    backend.begin(Condition(mishap=hangs))
    events = backend.attempt(attempt)
    assert isinstance(next(events), Pause)
    clock.time += 0.01
    assert isinstance(next(events), Sent)
    attempt.cancel.cancel()
    backend.close()
    clock.time += 100.0
    assert [next(events).seconds for _ in range(3)] == [float("inf")] * 3


def test_a_transport_that_raises_has_a_bug_of_the_simulations_own():
    """Which is marked, so that it is not taken for a real one."""
    with pytest.raises(Exception, match="a fault of the simulation") as raised:
        Played(Condition(mishap=raises))
    assert isinstance(raised.value, Injected)


def test_a_transport_may_end_without_an_outcome():
    """Sent, and nothing else."""
    assert Played(Condition(mishap=no_outcome)).events == [Sent()]


def test_a_condition_without_a_mishap_changes_how_calls_behave():
    """They answer all the same."""
    simulated = Played(Condition(change=lambda usually: usually.slower(3.0)), timeout=Timeouts.of_total(60.0))
    assert isinstance(simulated.events[-1], Done)
    assert simulated.took == pytest.approx(0.01 + 3 * (0.02 + 0.16))


def test_a_call_that_is_cut_fails_of_what_cuts_it():
    """At the moment at which that begins."""
    cut = Condition(cuts=disconnected)
    simulated = Played(act=lambda backend, attempt, now: now >= 0.03 and backend.begin(cut))
    assert "Connection reset by peer" in simulated.error.message
    assert simulated.error.maybe_executed
    assert simulated.took < 0.05 + 0.16


def test_a_prompt_beyond_the_context_is_refused():
    """As the contract of transports wants it."""
    clock = VirtualClock()
    config = BackendConfig(
        name="b", backend_type="openai_compatible", base_url="http://127.0.0.1:9/v1", model="m"
    )
    backend = SimulatedBackend(config, Behaviour(context_window=10), clock=clock, rng=random.Random(7))
    events = []
    for one in backend.attempt(attempt_at(clock.time, prompt="long " * 20)):
        clock.time += one.seconds if isinstance(one, Pause) else 0.0
        events.append(one)
    assert isinstance(events[-1].error, ContextWindowExceededError)
