"""Streams through the whole runtime: read, left early, dropped, broken off."""

from __future__ import annotations

import concurrent.futures
import gc
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from showcaller.actors.errors import (
    RequestCancelledError,
    RuntimeStoppedError,
    ServerError,
    StreamInterruptedError,
)
from showcaller.actors.transport import Attempt, Chunk, Failed, Sent, TransportEvent
from showcaller.runtime.machine import CALLBACK_THREADS
from tests.runtime.live import PATIENCE, Gate, Peer, ready, running


def endless(attempt: Attempt) -> Iterator[TransportEvent]:
    """Chunks until it is cancelled."""
    yield Sent()
    while not attempt.cancel.cancelled:
        yield Chunk("more ")
    yield Failed(RequestCancelledError("cancelled"))


def breaks(_attempt: Attempt) -> Iterator[TransportEvent]:
    """Breaks off after two chunks."""
    yield Sent()
    yield Chunk("he")
    yield Chunk("ll")
    yield Failed(ServerError("broken"))


def fails_at_once(_attempt: Attempt) -> Iterator[TransportEvent]:
    """Breaks off before the first chunk."""
    yield Sent()
    yield Failed(ServerError("broken"))


def test_chunks_come_in_order_and_the_response_follows() -> None:
    """Iterating a second time finds the end; the response can be had again and again."""
    with running({"a": Peer(ready)}) as runtime, runtime.stream("q", timeout=PATIENCE) as stream:
        assert [chunk.text for chunk in stream] == ["a", "b", "c"]
        assert list(stream) == []
        assert stream.response.content == stream.response.content == "abc"
        assert stream.response.request_id == stream.request_id


def test_the_response_may_be_waited_for_without_reading() -> None:
    """What was not read stays there to be read."""
    with running({"a": Peer(ready)}) as runtime, runtime.stream("q", timeout=PATIENCE) as stream:
        assert stream.response.content == "abc"
        assert next(stream).text == "a"


def test_leaving_the_block_cancels_upstream() -> None:
    """The seat is free for the next request."""
    peer = Peer(endless)
    with running({"a": peer}, max_parallel_requests=1) as runtime:
        for _ in range(3):
            with runtime.stream("q", timeout=PATIENCE) as stream:
                assert next(stream).text == "more "
            with pytest.raises(RequestCancelledError):
                list(stream)
            with pytest.raises(concurrent.futures.CancelledError):
                _ = stream.response
        assert runtime.status().account.failed == 3
    assert peer.most == 1


def test_a_dropped_stream_frees_its_seat() -> None:
    """Never entered, never read: nobody is left who could close it."""
    peer = Peer(endless)
    with running({"a": peer}, max_parallel_requests=1) as runtime:
        for _ in range(3):
            stream = runtime.stream("q", timeout=2 * PATIENCE)
            assert peer.arrived.acquire(timeout=PATIENCE)
            del stream
            gc.collect()
        assert peer.arrived.acquire(blocking=False) is False
        with runtime.stream("q", timeout=PATIENCE) as stream:
            assert next(stream).text == "more "
    assert peer.most == 1


def test_a_dropped_stream_frees_its_seat_though_all_callbacks_hang() -> None:
    """The caller's functions hold up each other, and nothing else."""
    held, peer = threading.Event(), Peer(endless)
    with running({"a": peer, "b": Peer(ready)}, max_parallel_requests=1) as runtime:
        for _ in range(2 * CALLBACK_THREADS):
            runtime.tell("q", model="b", on_outcome=lambda _: held.wait(PATIENCE))
        stream = runtime.stream("q", model="a", timeout=2 * PATIENCE)
        assert peer.arrived.acquire(timeout=PATIENCE)
        del stream
        gc.collect()
        with runtime.stream("q", model="a", timeout=PATIENCE) as stream:
            assert next(stream).text == "more "
        held.set()


def test_a_stream_that_breaks_after_its_first_chunk_keeps_what_came() -> None:
    """It cannot be begun again elsewhere without saying something twice."""
    other = Peer(ready)
    with running({"a": Peer(breaks), "b": other}) as runtime:
        with runtime.stream("q", timeout=PATIENCE) as stream:
            read = []
            with pytest.raises(StreamInterruptedError) as caught:
                read.extend(chunk.text for chunk in stream)
        assert caught.value.partial == "hell"
        assert caught.value.backend is None or caught.value.backend == "a"
        with pytest.raises(StreamInterruptedError):
            _ = stream.response
    assert not other.attempts


def test_a_stream_that_breaks_before_its_first_chunk_goes_elsewhere() -> None:
    """The caller sees one stream."""
    with running({"a": Peer(fails_at_once), "b": Peer(ready)}) as runtime:
        with runtime.stream("q", timeout=PATIENCE) as stream:
            assert [chunk.text for chunk in stream] == ["a", "b", "c"]
        assert stream.response.backend == "b"
        assert stream.response.attempts == 2


def test_a_stop_ends_an_open_stream_with_its_own_error() -> None:
    """Whoever reads is not left waiting."""
    gate = Gate()
    with running({"a": Peer(gate.after_one_chunk)}) as runtime:
        stream = runtime.stream("q", timeout=PATIENCE)
        assert next(stream).text == "a"
        runtime.stop(0.0)
        with pytest.raises(RuntimeStoppedError):
            next(stream)


def test_two_identical_streams_share_one_call_and_each_reads_all_of_it() -> None:
    """Leaving one does not disturb the other."""
    gate = Gate()
    peer = Peer(gate.after_one_chunk)
    with running({"a": peer}) as runtime:
        first = runtime.stream("q", temperature=0, timeout=PATIENCE)
        assert next(first).text == "a"
        second = runtime.stream("q", temperature=0, timeout=PATIENCE)
        assert next(second).text == "a"
        first.close()
        gate.open()
        assert list(second) == []
        assert second.response.content == "hi"
    assert len(peer.attempts) == 1


def test_streams_that_the_collector_finds_inside_our_own_locks_do_no_harm() -> None:
    """A finalizer runs wherever an object is made, and may come in the middle of another request's door."""
    gate = Gate()
    thresholds = gc.get_threshold()
    with running({"a": Peer(gate.after_one_chunk), "b": Peer(ready)}, max_parallel_requests=64) as runtime:
        finished = threading.Event()

        def call() -> None:
            for _ in range(40):
                circle: list[Any] = [runtime.stream("q", model="a", temperature=0, timeout=PATIENCE)]
                circle.append(circle)
                del circle
                runtime.submit("q", model="b", timeout=PATIENCE).result(PATIENCE)
            finished.set()

        caller = threading.Thread(target=call, daemon=True)
        gc.set_threshold(1, 1, 1)
        try:
            caller.start()
            assert finished.wait(PATIENCE), "a finalizer waits for a lock that its own thread holds"
        finally:
            gc.set_threshold(*thresholds)
        gc.collect()
        gate.open()
