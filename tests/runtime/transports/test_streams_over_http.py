"""Streams of a whole runtime over real HTTP: read slowly, given up, dropped; what the server sees of it."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import select
import threading
from collections.abc import Callable, Iterator

import pytest

from showcaller.actors.backend_config import BackendConfig
from showcaller.actors.configuration import RuntimeConfig
from showcaller.actors.errors import RequestCancelledError, StreamInterruptedError
from showcaller.actors.route_config import RouteConfig
from showcaller.actors.settings import RuntimeSettings
from showcaller.runtime.runtime import Runtime
from tests.runtime.transports.fault_server import (
    PATIENCE,
    SSE_HEAD,
    FaultServer,
    Peer,
    chunked,
    event,
    good,
    piece,
    sse,
    stall_after,
    write,
)

CHUNKS = 2000
TEXT = "x" * 16_000
QUIET = 0.2
"""Seconds for which nobody takes what a server sends, before it calls itself held up."""


@contextlib.contextmanager
def running(server: FaultServer, **options: int) -> Iterator[Runtime]:
    """A runtime with that one server; in the end nothing is in flight and nothing reserved."""
    config = RuntimeConfig(
        runtime=RuntimeSettings(model="http", timeout=3 * PATIENCE),
        backends=[
            BackendConfig(
                name="http",
                backend_type="openai",
                base_url=server.url,
                model="m",
                # Longer than any wait here: what ends a call must not be its timeout.
                timeout=3 * PATIENCE,
                **options,
            )
        ],
    )
    with Runtime.start(config) as runtime:
        yield runtime
        assert runtime.backends.drain("http", PATIENCE) == 0
        assert runtime.status().backends[0].in_flight == 0
    assert runtime._tree.quotas.outstanding == 0
    assert runtime.status().account.open == 0


class Flood:
    """A long stream, numbered chunk by chunk, that notices when nobody takes it.

    Attributes:
        decided: set once it was held up, or had sent everything without that.
        held_up: was nothing taken for a while?
        finished: set once it has sent everything.
    """

    def __init__(self) -> None:
        self.decided = threading.Event()
        self.held_up = False
        self.finished = threading.Event()

    def __call__(self, peer: Peer) -> None:
        peer.send(SSE_HEAD)
        for number in range(CHUNKS):
            if not self.held_up and not select.select([], [peer.sock], [], QUIET)[1]:
                self.held_up = True
                self.decided.set()
            peer.send(chunked(piece(f"{number:05}{TEXT}"), end=False))
        peer.send(chunked(piece(None, "stop"), event("[DONE]")))
        self.finished.set()
        self.decided.set()


def test_a_reader_that_stops_reading_holds_up_its_own_stream_alone(fault_server: FaultServer) -> None:
    """The server of that one cannot send on, and another stream of the same backend comes through; nothing is lost."""
    flood = Flood()
    fault_server.play(flood, good)
    with running(fault_server, max_parallel_requests=2) as runtime, runtime.stream("a") as slow:
        texts = [next(slow).text]
        assert flood.decided.wait(PATIENCE)
        assert flood.held_up
        for _ in range(3):
            with runtime.stream("b") as quick:
                assert "".join(chunk.text for chunk in quick) == "Hello"
            assert runtime.ask("c").content == "Hello"
        assert not flood.finished.is_set()
        texts.extend(chunk.text for chunk in slow)
        assert [int(text[:5]) for text in texts] == list(range(CHUNKS))
        assert slow.response.content == "".join(texts)


def test_a_stream_that_broke_after_its_first_word_speaks_against_its_backend(
    fault_server: FaultServer,
) -> None:
    """As a failed call does: where one is too many, the next request goes elsewhere at once."""

    def breaks(peer: Peer) -> None:
        sse(piece("Hel"), event({"error": {"message": "boom"}}))(peer)

    with FaultServer() as another:
        fault_server.play(breaks)
        another.play(good)
        servers = {"first": fault_server, "second": another}
        config = RuntimeConfig(
            runtime=RuntimeSettings(model="route"),
            backends=[
                BackendConfig(name=name, backend_type="openai", base_url=server.url, model=name)
                for name, server in servers.items()
            ],
            routes=[
                RouteConfig(
                    name="route",
                    routing_strategy="failover",
                    targets=[*servers],
                    allowed_fails=1,
                    cooldown_time=600.0,
                )
            ],
        )
        with Runtime.start(config) as runtime:
            with runtime.stream("q") as stream, pytest.raises(StreamInterruptedError):
                list(stream)
            response = runtime.ask("q")
        assert (response.backend, response.attempts) == ("second", 1)
        assert (len(fault_server.requests), len(another.requests)) == (1, 1)


def cancelled(runtime: Runtime, server: FaultServer) -> object:
    """By its id, while a caller reads on."""
    stream = runtime.stream("q")
    assert next(stream).text == "Hel"
    assert runtime.cancel(stream.request_id)
    with pytest.raises(RequestCancelledError):
        next(stream)
    return stream


def left(runtime: Runtime, server: FaultServer) -> object:
    """The end of the with block, after one chunk."""
    with runtime.stream("q") as stream:
        assert next(stream).text == "Hel"
    return stream


def left_by_an_exception(runtime: Runtime, server: FaultServer) -> object:
    """One of the caller's own."""
    with pytest.raises(ZeroDivisionError), runtime.stream("q") as stream:
        1 / len(next(stream).text[:0])
    return stream


def dropped_unread(runtime: Runtime, server: FaultServer) -> None:
    """Nobody ever entered it or read it, and nobody holds it any more."""
    stream = runtime.stream("q")
    assert server.stalled.wait(PATIENCE)
    del stream
    gc.collect()


def dropped_half_read(runtime: Runtime, server: FaultServer) -> None:
    """Iterated over without a with block."""
    for _ in runtime.stream("q"):
        break
    gc.collect()


def plain_cancelled(runtime: Runtime, server: FaultServer) -> object:
    """No stream at all."""
    pending = runtime.submit("q")
    assert server.stalled.wait(PATIENCE)
    assert pending.cancel()
    return pending


def left_in_a_coroutine(runtime: Runtime, server: FaultServer) -> object:
    """The end of the async with block."""

    async def read() -> object:
        async with runtime.stream_async("q") as stream:
            assert (await anext(stream)).text == "Hel"
        return stream

    return asyncio.run(read())


def task_cancelled(runtime: Runtime, server: FaultServer) -> None:
    """The task that waits for a plain answer."""

    async def wait() -> None:
        task = asyncio.create_task(runtime.ask_async("q"))
        assert await asyncio.to_thread(server.stalled.wait, PATIENCE)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(wait())


GIVEN_UP = [
    cancelled,
    left,
    left_by_an_exception,
    left_in_a_coroutine,
    dropped_unread,
    dropped_half_read,
    plain_cancelled,
    task_cancelled,
]


@pytest.mark.parametrize("give_up", GIVEN_UP, ids=lambda way: way.__name__)
def test_what_is_given_up_frees_connection_seat_and_reservation(
    fault_server: FaultServer, give_up: Callable[[Runtime, FaultServer], object]
) -> None:
    """The server sees its client hang up, and the only seat takes the next request."""
    first_word = sse(piece("Hel"), end=False)

    def stalls(peer: Peer) -> None:
        begun = first_word if b'"stream":true' in peer.request else write()
        stall_after(begun, fault_server)(peer)

    fault_server.play(stalls, good)
    with running(fault_server, max_parallel_requests=1) as runtime:
        # What is given back is held, or it would be dropped, which is another way.
        held = give_up(runtime, fault_server)
        assert fault_server.hung_up.wait(PATIENCE)
        assert runtime.ask("again").content == "Hello"
        del held
        assert runtime.status().account.failed == 1
    assert len(fault_server.requests) == 2
