"""Streams as callers read them, over a real flight whose seat is played by the test."""

from __future__ import annotations

import asyncio
import gc
import threading

import pytest

from showcaller.actors.errors import RequestCancelledError, ServerError, StreamInterruptedError
from showcaller.actors.kernel import fork
from showcaller.actors.kernel.context import stepping
from showcaller.actors.kernel.errors import BlockingCallError, ForkedProcessError
from showcaller.actors.kernel.workers import ThreadWorkers
from showcaller.actors.stream_buffer import StreamReader
from tests.runtime.streaming_request import BOUND, House


@pytest.fixture
def callbacks():
    pool = ThreadWorkers("callbacks", 1)
    yield pool
    pool.close()
    assert pool.join(BOUND) == 0


@pytest.fixture
def house(callbacks):
    return House(callbacks)


async def waiting_for(house):
    """The task that was begun last runs until it waits for the stream."""
    await asyncio.sleep(0)
    assert house.ticket.reader.waker is not None


async def collect(stream):
    return [chunk.text async for chunk in stream]


# --- read by a thread ---


def test_chunks_come_in_order_and_then_the_response(house):
    """The end comes as often as one asks."""
    house.write("a", "b")
    house.answer()
    with house.stream() as stream:
        assert stream.request_id == "r-1"
        assert [chunk.text for chunk in stream] == ["a", "b"]
        assert list(stream) == []
        assert stream.response.content == "ab"
    assert not house.pending.cancelled()


def test_a_reader_waits_for_what_is_written_meanwhile(house):
    """Chunk by chunk."""
    stream, read = house.stream(), []
    got = threading.Semaphore(0)

    def reading():
        for chunk in stream:
            read.append(chunk.text)
            got.release()

    thread = threading.Thread(target=reading)
    thread.start()
    for text in "abc":
        house.write(text)
        assert got.acquire(timeout=BOUND)
    house.answer()
    thread.join(BOUND)
    assert read == ["a", "b", "c"]


def test_leaving_the_block_early_cancels_upstream(house):
    """And reading on says so."""
    house.write("a", "b")
    with house.stream() as stream:
        assert next(stream).text == "a"
    assert house.cancelled.is_set()
    assert house.flight.done
    with pytest.raises(RequestCancelledError):
        next(stream)


def test_leaving_the_block_by_an_exception_cancels_upstream(house):
    """And the exception is the block's own."""
    with pytest.raises(ZeroDivisionError), house.stream():
        raise ZeroDivisionError
    assert house.cancelled.is_set()


def test_a_stream_that_breaks_raises_after_its_chunks(house):
    """With the text so far; the response fails in the same way."""
    house.write("half")
    house.flight.fail(StreamInterruptedError("broke", partial="half"))
    stream = house.stream()
    assert next(stream).text == "half"
    for read in (lambda: next(stream), lambda: stream.response):
        with pytest.raises(StreamInterruptedError, match="broke") as raised:
            read()
        assert raised.value.partial == "half"


@pytest.mark.parametrize("kind", ["stream", "async_stream"])
def test_a_dropped_stream_is_cancelled_on_a_thread_of_its_own(house, kind):
    """A finalizer may run in the middle of anything: here it finds the locks of its own request held."""
    stream = getattr(house, kind)()
    with house.ticket._lock, house.flight._lock:
        del stream
        gc.collect()
        assert not house.cancelled.is_set()
    assert house.cancelled.wait(BOUND)


def test_a_dropped_stream_that_was_read_to_its_end_cancels_nothing(house):
    """There is nothing left to give up."""
    house.answer()
    assert list(house.stream()) == []
    gc.collect()
    assert not house.cancelled.is_set()
    assert house.threads.threads == 0


def test_a_stream_that_is_dropped_after_the_stop_raises_nothing(house):
    """The runtime has ended the request, or is about to."""
    house.threads.close()
    house.stream()
    gc.collect()
    assert not house.cancelled.is_set()


def test_reading_on_a_thread_that_steps_actors_is_refused(house):
    """It would wait for itself."""
    stream = house.stream()
    with stepping("core"), pytest.raises(BlockingCallError, match="reading a stream"):
        next(stream)
    house.answer()


def test_in_a_forked_child_a_stream_is_not_its_own(house, monkeypatch):
    """Reading is refused before any lock; closing and dropping leave the parent's request alone."""
    stream, other = house.stream(), house.async_stream()
    monkeypatch.setattr(fork, "_generation", fork.generation() + 1)
    with house.ticket._lock, house.flight._lock, house.flight.stream._changed:
        with pytest.raises(ForkedProcessError):
            next(stream)
        with pytest.raises(ForkedProcessError):
            asyncio.run(anext(other))
        with pytest.raises(ForkedProcessError):
            _ = stream.response
        with pytest.raises(ForkedProcessError):
            house.pending.cancel()
        stream.close()
        other.close()
        del stream, other
    assert not house.pending.done()
    assert house.threads.threads == 0


# --- read by a coroutine ---


def test_a_coroutine_reads_what_other_threads_write(house):
    """It is woken for each chunk and for the end, and the loop is never blocked."""

    async def main():
        ticks = 0
        done = asyncio.Event()

        async def tick():
            nonlocal ticks
            while not done.is_set():
                ticks += 1
                await asyncio.sleep(0.001)

        def write():
            for text in "abc":
                house.write(text)
                assert read.acquire(timeout=BOUND)
            house.answer()

        read, texts = threading.Semaphore(0), []
        ticking = asyncio.create_task(tick())
        writing = asyncio.get_running_loop().run_in_executor(None, write)
        async with house.async_stream() as stream:
            async for chunk in stream:
                texts.append(chunk.text)
                read.release()
            response = await stream.response()
        await writing
        done.set()
        await ticking
        return texts, response.content, ticks

    texts, content, ticks = asyncio.run(asyncio.wait_for(main(), BOUND))
    assert (texts, content) == (["a", "b", "c"], "abc")
    assert ticks > 0


def test_a_coroutine_reads_what_is_there_already(house):
    """Without waiting for anything."""
    house.write("a", "b")
    house.answer()
    assert asyncio.run(asyncio.wait_for(collect(house.async_stream()), BOUND)) == ["a", "b"]


def test_a_coroutine_that_waits_goes_over_to_another_flight(house, callbacks):
    """When identical requests become one call, it reads that one from its start."""
    leader = House(callbacks, order=2)

    async def main():
        reading = asyncio.create_task(collect(house.async_stream()))
        await waiting_for(house)
        leader.write("a")
        assert leader.flight.take_in(house.flight)
        leader.write("b")
        leader.answer()
        return await reading

    assert asyncio.run(asyncio.wait_for(main(), BOUND)) == ["a", "b"]


def test_a_coroutine_that_is_moved_before_it_waits_reads_the_other_stream(house, callbacks):
    """The move finds no waker to take along: it was a moment too early."""
    leader = House(callbacks, order=2)

    class Hasty(StreamReader):
        """Is moved while it is told how to wake its reader."""

        moved = False

        @property
        def waker(self):
            return None

        @waker.setter
        def waker(self, value):
            if value is not None and not self.moved:
                self.moved = True
                assert leader.flight.take_in(house.flight)

    house.ticket.reader.__class__ = Hasty

    async def main():
        reading = asyncio.create_task(collect(house.async_stream()))
        await asyncio.sleep(0)
        leader.write("a")
        leader.answer()
        return await reading

    assert asyncio.run(asyncio.wait_for(main(), BOUND)) == ["a"]


@pytest.mark.parametrize("end", ["error", "cancel"])
def test_a_coroutine_that_waits_hears_of_the_end(house, end):
    """From another thread."""

    async def main():
        stream = house.async_stream()
        reading = asyncio.create_task(anext(stream))
        await waiting_for(house)
        act = house.pending.cancel if end == "cancel" else lambda: house.flight.fail(ServerError("broke"))
        await asyncio.get_running_loop().run_in_executor(None, act)
        with pytest.raises(RequestCancelledError if end == "cancel" else ServerError):
            await reading

    asyncio.run(asyncio.wait_for(main(), BOUND))


def test_leaving_the_async_block_cancels_upstream(house):
    """At its end and when its task is cancelled in the middle of a read."""

    async def main():
        async def read():
            async with house.async_stream() as stream:
                await collect(stream)

        task = asyncio.create_task(read())
        await waiting_for(house)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(asyncio.wait_for(main(), BOUND))
    assert house.cancelled.is_set()


def test_a_loop_that_is_gone_does_not_disturb_the_writer(house):
    """Others read the same answer, and their outcomes come from the same thread."""
    stream = house.async_stream()
    loop = asyncio.new_event_loop()
    reading = stream.__anext__()

    async def begin():
        reading.send(None)

    loop.run_until_complete(begin())
    loop.close()
    assert house.ticket.reader.waker is not None
    house.write("a")
    house.answer()
    assert house.pending.result(0).content == "a"
    reading.close()
