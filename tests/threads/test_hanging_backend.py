"""A backend that hangs for ever beside one that answers, on real threads: it slows nobody else, and does not grow."""

from __future__ import annotations

import contextlib
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import CancelledError, wait
from typing import Any

import pytest

from showcaller.actors.backend_config import BackendConfig, Timeouts
from showcaller.actors.configuration import RuntimeConfig
from showcaller.actors.route_config import RouteConfig
from showcaller.actors.settings import RuntimeSettings
from showcaller.runtime.runtime import Runtime
from tests.runtime.live import Gate
from tests.runtime.live import Peer as ScriptedPeer
from tests.runtime.transports.fault_server import PATIENCE, FaultServer, Peer, good

REQUESTS = 200
SEATS = 4
FAILS = 5


class HangingServer(FaultServer):
    """Accepts, reads the request, and never answers.

    Attributes:
        holds: released once for each request that it holds.
        let_go: released once for each client that hung up.
    """

    def __init__(self) -> None:
        super().__init__()
        self.holds = threading.Semaphore(0)
        self.let_go = threading.Semaphore(0)
        self.play(self._hang)

    def _hang(self, peer: Peer) -> None:
        self.holds.release()
        if peer.stall():
            self.let_go.release()


@pytest.fixture
def hanging() -> Iterator[HangingServer]:
    """A server that hangs for ever."""
    with HangingServer() as server:
        yield server


@pytest.fixture
def well() -> Iterator[FaultServer]:
    """A server that answers."""
    with FaultServer() as server:
        server.play(good)
        yield server


@contextlib.contextmanager
def running(
    hanging_url: str, well: FaultServer, timeout: Timeouts, transports: dict[str, Any] | None = None
) -> Iterator[Runtime]:
    """Both backends, each by its name, and the route `both` that prefers the one that hangs."""
    config = RuntimeConfig(
        runtime=RuntimeSettings(timeout=3 * PATIENCE, retry_burst=REQUESTS),
        backends=[
            BackendConfig(
                name="hanging",
                backend_type="openai",
                base_url=hanging_url,
                model="h",
                max_parallel_requests=SEATS,
                timeout=timeout,
            ),
            BackendConfig(
                name="well", backend_type="openai", base_url=well.url, model="w", max_parallel_requests=SEATS
            ),
        ],
        routes=[
            RouteConfig(
                name="both",
                routing_strategy="failover",
                targets=["hanging", "well"],
                allowed_fails=FAILS,
                cooldown_time=600.0,
            )
        ],
    )
    with Runtime.start(config, transports=transports) as runtime:
        yield runtime


def seats_of(backend: str) -> int:
    """How many threads its attempts have."""
    return sum(thread.name.startswith(f"showcaller-{backend}-") for thread in threading.enumerate())


def prompts(number: int) -> list[str]:
    """Questions that are all different, so that none is answered by another's call."""
    return [f"question {n}" for n in range(number)]


def test_what_is_asked_of_another_backend_is_answered_while_all_seats_hang(
    hanging: HangingServer, well: FaultServer
) -> None:
    """Two hundred answers before one of the hanging calls ends; those neither multiply nor reach the server."""
    for_ever = Timeouts.of_total(2 * PATIENCE)
    with running(hanging.url, well, for_ever) as runtime:
        stuck = [runtime.submit(prompt, model="hanging") for prompt in prompts(10 * SEATS)]
        for _ in range(SEATS):
            assert hanging.holds.acquire(timeout=PATIENCE)
        asked = [runtime.submit(prompt, model="well") for prompt in prompts(REQUESTS)]
        answers = [pending.result(PATIENCE) for pending in asked]
        assert Counter((answer.backend, answer.attempts) for answer in answers) == {("well", 1): REQUESTS}
        assert not any(pending.done() for pending in stuck)
        status = runtime.status().backends[0]
        assert (status.name, status.in_flight, status.hanging) == ("hanging", SEATS, 0)
        assert seats_of("hanging") == SEATS
        assert (hanging.connections, len(hanging.requests)) == (SEATS, SEATS)

        for pending in reversed(stuck):
            assert pending.cancel()
        for _ in range(SEATS):
            assert hanging.let_go.acquire(timeout=PATIENCE)
        for pending in stuck:
            with pytest.raises(CancelledError):
                pending.result(0)
        assert runtime.backends.drain("hanging", PATIENCE) == 0
    assert len(hanging.requests) == SEATS


def test_a_route_leaves_what_hangs_after_as_many_calls_as_it_takes_to_notice(
    hanging: HangingServer, well: FaultServer
) -> None:
    """Every request is answered; each call that hung cost its own request one attempt, and no other anything."""
    quick_to_give_up = Timeouts(connect=PATIENCE, first_token=0.1, idle=PATIENCE, total=PATIENCE)
    with running(hanging.url, well, quick_to_give_up) as runtime:
        pendings = [runtime.submit(prompt, model="both") for prompt in prompts(REQUESTS)]
        answers = [pending.result(PATIENCE) for pending in pendings]
        answers += [runtime.ask(prompt, model="both") for prompt in prompts(FAILS)]
        hung = sum(answer.attempts - 1 for answer in answers)
        # Failures in a row or an outlier, whichever is noticed first; the other seats may still be waiting then.
        assert SEATS <= hung <= FAILS + SEATS - 1
        assert seats_of("hanging") <= SEATS
        answers += [runtime.ask(prompt, model="both") for prompt in prompts(REQUESTS)]
        assert {answer.backend for answer in answers} == {"well"}
        assert {answer.attempts for answer in answers[-REQUESTS:]} == {1}
    hanging.settle()
    assert len(hanging.requests) == hung
    assert len(well.requests) == len(answers)


def test_seats_that_nothing_can_wake_are_counted_and_never_replaced(well: FaultServer) -> None:
    """As in a call into foreign code: the requests go elsewhere, the threads stay as many as there were seats."""
    gate = Gate()
    stubborn = ScriptedPeer(gate.stubborn)
    with running(well.url, well, Timeouts.of_total(0.2), {"hanging": stubborn}) as runtime:
        try:
            pendings = [runtime.submit(prompt, model="both") for prompt in prompts(REQUESTS)]
            assert not wait(pendings, PATIENCE).not_done
            assert {pending.result(0).backend for pending in pendings} == {"well"}
            status = runtime.status().backends[0]
            assert (status.in_flight, status.hanging) == (0, SEATS)
            assert seats_of("hanging") == SEATS
            assert len(stubborn.attempts) == SEATS
            assert runtime.ask("after that", model="both").attempts == 1
        finally:
            gate.open()
