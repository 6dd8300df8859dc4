"""A request that has ended is freed with its last reference: nothing of it waits for the garbage collector."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable, Iterator

import pytest

from showcaller.actors.errors import DeadlineExceededError, InvalidRequestError
from showcaller.actors.transport import Attempt, Failed, Sent, TransportEvent
from showcaller.runtime.runtime import Runtime
from tests.runtime.live import Gate, Peer, ready, running

REQUESTS = 20
Call = Callable[[Runtime, asyncio.Runner], object]


def refuse(_attempt: Attempt) -> Iterator[TransportEvent]:
    """Takes nothing."""
    yield Sent()
    yield Failed(InvalidRequestError("no"))


def read(runtime: Runtime, _runner: asyncio.Runner) -> None:
    """A stream, to its end."""
    with runtime.stream("x", model="a") as stream:
        assert len(list(stream)) == 3


def left_early(runtime: Runtime, _runner: asyncio.Runner) -> None:
    """A stream, after its first chunk."""
    with runtime.stream("x", model="a") as stream:
        next(stream)


def called_back(runtime: Runtime, _runner: asyncio.Runner) -> None:
    """Told by a callback."""
    pending = runtime.submit("x", model="a")
    pending.add_done_callback(lambda done: done.result())
    pending.result()


def shared(runtime: Runtime, _runner: asyncio.Runner) -> None:
    """Two requests, perhaps one call."""
    for pending in [runtime.submit("x", model="a", temperature=0.0) for _ in range(2)]:
        pending.result()


def too_late(runtime: Runtime, _runner: asyncio.Runner) -> None:
    """At its deadline."""
    with pytest.raises(DeadlineExceededError):
        runtime.ask("x", model="silent", timeout=0.005)


def failed(runtime: Runtime, _runner: asyncio.Runner) -> None:
    """After a call."""
    with pytest.raises(InvalidRequestError):
        runtime.ask("x", model="refused")


CALLS: dict[str, Call] = {
    "asked": lambda runtime, _: runtime.ask("x", model="a"),
    "asked together": lambda runtime, _: runtime.ask_many(["x", "y"], model="a"),
    "awaited": lambda runtime, runner: runner.run(runtime.ask_async("x", model="a")),
    "cancelled": lambda runtime, _: runtime.submit("x", model="silent").cancel(),
    "read": read,
    "left early": left_early,
    "called back": called_back,
    "shared": shared,
    "too late": too_late,
    "failed": failed,
}


@pytest.fixture
def uncollected() -> Iterator[None]:
    """The collector runs only when it is called."""
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("uncollected")
@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_a_request_leaves_nothing_to_the_collector(call: Call) -> None:
    """However it ended: a prompt may be megabytes, and some switch the collector off."""
    peers = {"a": Peer(ready), "silent": Peer(Gate().waiting), "refused": Peer(refuse)}
    with running(peers) as runtime, asyncio.Runner() as runner:
        for _ in range(3):
            call(runtime, runner)
        gc.collect()
        for _ in range(REQUESTS):
            call(runtime, runner)
        assert gc.collect() < REQUESTS
