"""Mishaps: a simulated backend fails in virtual time as the HTTP transport fails on real sockets."""

from __future__ import annotations

import json
import random
import re
import socket
import time

import pytest

from showcaller.actors.backend_config import BackendConfig, Timeouts
from showcaller.actors.cancel import CancelScope
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
from showcaller.actors.transport import Attempt, Chunk, Done, Failed, Pause, Sent
from showcaller.runtime.testing.backend import Condition, SimulatedBackend
from showcaller.runtime.testing.behaviour import Behaviour
from showcaller.runtime.testing.clock import VirtualClock
from showcaller.runtime.testing.distributions import Constant
from showcaller.runtime.testing.errors import Injected
from showcaller.runtime.testing.mishaps import (
    AS_THEY_ARE,
    EMPTY_ANSWER,
    EMPTY_CHUNK,
    ERROR_INSIDE,
    KINDS,
    MIDWAY,
    NO_JSON,
    STATUSES,
    disconnected,
    hangs,
    no_outcome,
    raises,
)
from showcaller.runtime.transports.http import HttpTransport
from tests.runtime.transports.fault_server import (
    SSE_HEAD,
    FaultServer,
    Peer,
    chunked,
    event,
    head,
    piece,
    reply,
    sse,
    stall_after,
    then,
    write,
)

STEADY = Behaviour(
    connect=Constant(0.01),
    first_token=Constant(0.02),
    token_interval=Constant(0.01),
    answer_tokens=(16, 16),
    most_chunks=4,
)
TIMEOUTS = Timeouts(connect=0.15, first_token=0.25, idle=0.35, total=60.0)


def attempt_at(now, *, stream=False, deadline=60.0, timeout=TIMEOUTS, prompt="Say hello", **options):
    payload = {"messages": [{"role": "user", "content": prompt}], **options}
    return Attempt(
        request_id="r1",
        number=1,
        backend="under-test",
        payload=json.dumps(payload, separators=(",", ":")).encode(),
        stream=stream,
        deadline=now + deadline,
        timeout=timeout,
        cancel=CancelScope(),
    )


class Played:
    """What an attempt at a simulated backend does, in virtual time."""

    def __init__(self, condition=None, *, act=lambda backend, attempt, now: None, **options):
        clock = VirtualClock()
        config = BackendConfig(
            name="under-test", backend_type="openai_compatible", base_url="http://127.0.0.1:9/v1", model="m"
        )
        self.backend = SimulatedBackend(config, STEADY, clock=clock, rng=random.Random(7))
        if condition is not None:
            self.backend.begin(condition)
        started = clock.time
        attempt = attempt_at(started, **options)
        self.events = []
        for step, event_ in enumerate(self.backend.attempt(attempt)):
            assert step < 1000, "it never ends"
            if isinstance(event_, Pause):
                clock.time += event_.seconds
                self.took = clock.time - started
            else:
                self.events.append(event_)
            act(self.backend, attempt, clock.time - started)
        self.took = clock.time - started

    @property
    def error(self):
        last = self.events[-1]
        assert isinstance(last, Failed), last
        return last.error

    @property
    def chunks(self):
        return sum(isinstance(one, Chunk) for one in self.events)


def mishap_of(kind, chunks=1, retry_after=None):
    if kind in STATUSES:
        return STATUSES[kind].mishap(retry_after)
    return AS_THEY_ARE[kind] if kind in AS_THEY_ARE else MIDWAY[kind](chunks)


def played(kind, *, chunks=1, retry_after=None, **options):
    return Played(Condition(mishap=mishap_of(kind, chunks, retry_after)), **options)


BUGS = ("hangs", "raises", "no_outcome")


# --- the same as the real transport ---


def body_of(status):
    return b"<h1>Error</h1>" if status.error is None else {"error": dict(status.error)}


def script_for(kind, stream, server):
    """What a server does that has the mishap."""
    if kind in STATUSES:
        return reply(STATUSES[kind].code, body_of(STATUSES[kind]))
    half = write(SSE_HEAD, chunked(piece("Hel"), end=False))
    if not stream:
        half = write(head(200, "Content-Length: 100") + b'{"choices":')
    return {
        "empty": sse(event(EMPTY_CHUNK)) if stream else reply(200, EMPTY_ANSWER),
        "malformed": sse(event(NO_JSON)) if stream else reply(200, NO_JSON.encode()),
        "truncated": sse(piece("Hel")) if stream else then(half, Peer.close),
        "stream_error": sse(piece("Hel"), event(ERROR_INSIDE))
        if stream
        else reply(200, ERROR_INSIDE.encode()),
        "stalled": stall_after(write(), server),
        "stalled_midway": stall_after(half, server),
    }[kind]


def really(url, **options):
    """The error of the real HTTP transport, and how many chunks came before it."""
    transport = HttpTransport(base_url=url, model="m", now=time.monotonic, wall=time.time)
    try:
        events = list(transport.attempt(attempt_at(time.monotonic(), **options)))
    finally:
        transport.close()
    assert isinstance(events[-1], Failed)
    return events[-1].error, sum(isinstance(one, Chunk) for one in events), Sent() in events


def said(error):
    """Everything that an error says, without hosts and numbers of its own."""
    text = re.sub(r" at 127\.0\.0\.1:\d+", "", error.message)
    text = re.sub(r"\d+(\.\d+)?", "#", text) if isinstance(error, MalformedResponseError) else text
    return type(error), error.status, error.retry_after, error.maybe_executed, error.backend, text


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in (*BUGS, "unreachable", "no_connect")])
def test_a_mishap_fails_as_on_a_real_socket(kind, stream):
    """The same type, status, text and the same answer to whether it may have been executed."""
    with FaultServer() as server:
        server.play(script_for(kind, stream, server))
        error, chunks, sent = really(server.url, stream=stream)
    simulated = played(kind, stream=stream)
    assert said(simulated.error) == said(error)
    assert simulated.chunks == chunks
    assert (Sent() in simulated.events) == sent


@pytest.mark.parametrize("retry_after", [0, 3, 5631])
def test_a_retry_after_is_read_as_on_a_real_socket(retry_after):
    """The header goes through the same code."""
    with FaultServer() as server:
        status = STATUSES["rate_limit"]
        server.play(reply(429, body_of(status), f"Retry-After: {retry_after}"))
        error, _, _ = really(server.url)
    assert said(played("rate_limit", retry_after=retry_after).error) == said(error)
    assert error.retry_after == retry_after


def test_what_cannot_be_reached_fails_as_on_a_real_socket():
    """Refused, nothing is sent."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        error, _, sent = really(f"http://127.0.0.1:{taken.getsockname()[1]}/v1")
    simulated = played("unreachable")
    assert said(simulated.error) == said(error)
    assert Sent() not in simulated.events
    assert not sent


def test_a_connection_that_is_reset_fails_as_on_a_real_socket():
    """Before the answer has begun."""
    with FaultServer() as server:
        server.play(Peer.reset)
        error, _, _ = really(server.url)
    cut = Condition(cuts=disconnected)
    simulated = Played(act=lambda backend, attempt, now: now >= 0.02 and backend.begin(cut))
    assert said(simulated.error) == said(error)


# --- when, and what else ---

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
