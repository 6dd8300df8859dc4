"""The calls for asyncio: no thread for each call, no starved loop, and cancel reaches upstream."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator

import pytest

from showcaller.actors.errors import (
    ConfigurationError,
    DeadlineExceededError,
    RequestCancelledError,
    ServerError,
    StreamInterruptedError,
)
from showcaller.actors.models import Answered, Errored, RequestContext
from showcaller.actors.transport import Attempt, Chunk, Failed, TransportEvent
from tests.runtime.live import PATIENCE, Gate, Peer, answer, our_threads, ready, running


async def reached(semaphore: threading.Semaphore) -> None:
    """Wait, on a thread of the test's own, until an attempt was made."""
    assert await asyncio.to_thread(semaphore.acquire, timeout=PATIENCE)


def test_an_answer_is_awaited() -> None:
    """`ask_async`, and a Pending awaited, gathered and waited for."""
    with running({"a": Peer(ready)}) as runtime:

        async def main() -> None:
            async with asyncio.timeout(PATIENCE):
                assert (await runtime.ask_async("q")).content == "hi"
                assert (await runtime.submit("q")).content == "hi"
                answers = await asyncio.gather(*(runtime.submit("q") for _ in range(5)))
                assert [one.content for one in answers] == ["hi"] * 5
                assert (await asyncio.wrap_future(runtime.submit("q"))).content == "hi"
                async with asyncio.TaskGroup() as group:
                    tasks = [group.create_task(runtime.ask_async("q")) for _ in range(5)]
                assert all(task.result().content == "hi" for task in tasks)

        asyncio.run(main())


def test_a_hundred_slow_asks_neither_starve_the_loop_nor_get_a_thread_each() -> None:
    """A quick ask passes them all, and the loop's executor stays unused."""
    gate = Gate()
    slow = Peer(gate.waiting)
    with running({"slow": slow, "quick": Peer(ready)}, max_parallel_requests=4) as runtime:

        async def main() -> None:
            tasks = [asyncio.create_task(runtime.ask_async("q", model="slow")) for _ in range(100)]
            async with asyncio.timeout(PATIENCE):
                assert (await runtime.ask_async("q", model="quick")).backend == "quick"
                assert not any(task.done() for task in tasks)
                names = [thread.name for thread in threading.enumerate()]
                assert not [name for name in names if name.startswith("asyncio_")]
                assert len([name for name in names if name.startswith("showcaller-slow")]) <= 4
                gate.open()
                assert {one.backend for one in await asyncio.gather(*tasks)} == {"slow"}

        asyncio.run(main())
        assert runtime.status().account.answered == 101


def test_cancelling_the_task_cancels_upstream() -> None:
    """By cancel, by a timeout of asyncio's, and by a group that fails."""
    gate = Gate()
    peer = Peer(gate.waiting)
    with running({"a": peer}) as runtime:

        async def main() -> None:
            task = asyncio.create_task(runtime.ask_async("q"))
            await reached(peer.arrived)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(runtime.ask_async("q"), 0.02)
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(runtime.submit("q"), 0.02)

            async def fail_together() -> None:
                async with asyncio.TaskGroup() as group:
                    group.create_task(runtime.ask_async("q"))
                    await reached(peer.arrived)
                    raise ConfigurationError("out")

            with pytest.raises(ExceptionGroup):
                await fail_together()

        asyncio.run(main())
        assert gate.cancelled.wait(PATIENCE)
        account = runtime.status().account
        assert (account.failed, account.open) == (4, 0)


def test_a_request_cancelled_by_its_id_raises_an_error_of_ours_in_the_task() -> None:
    """The task itself was not cancelled, and a TaskGroup must not take it for that."""
    gate = Gate()
    peer = Peer(gate.waiting)
    with running({"a": peer}) as runtime:

        async def main() -> None:
            task = asyncio.create_task(runtime.ask_async("q", context=RequestContext(request_id="mine")))
            await reached(peer.arrived)
            assert runtime.cancel("mine")
            with pytest.raises(RequestCancelledError, match="mine"):
                await asyncio.wait_for(task, PATIENCE)
            pending = runtime.submit("q")
            await reached(peer.arrived)
            pending.cancel()
            with pytest.raises(asyncio.CancelledError):
                await pending

        asyncio.run(main())


def test_errors_come_as_they_are() -> None:
    """The deadline, too."""
    gate = Gate()
    with running({"a": Peer(gate.waiting)}) as runtime:

        async def main() -> None:
            with pytest.raises(DeadlineExceededError):
                await runtime.ask_async("q", timeout=0.02)

        asyncio.run(main())


# --- streams -----------------------------------------------------------------------------------------


def test_a_stream_is_read_with_async_for() -> None:
    """And its response awaited."""
    with running({"a": Peer(ready)}) as runtime:

        async def main() -> None:
            async with asyncio.timeout(PATIENCE), runtime.stream_async("q") as stream:
                assert [chunk.text async for chunk in stream] == ["a", "b", "c"]
                assert (await stream.response()).content == "abc"
                assert [chunk.text async for chunk in stream] == []

        asyncio.run(main())


def test_a_broken_stream_raises_with_what_came() -> None:
    """As the blocking one does."""

    def breaks(_attempt: Attempt) -> Iterator[TransportEvent]:
        yield Chunk("he")
        yield Failed(ServerError("broken"))

    with running({"a": Peer(breaks)}) as runtime:

        async def main() -> None:
            async with asyncio.timeout(PATIENCE), runtime.stream_async("q") as stream:
                assert (await anext(aiter(stream))).text == "he"
                with pytest.raises(StreamInterruptedError) as caught:
                    await anext(aiter(stream))
                assert caught.value.partial == "he"

        asyncio.run(main())


def test_many_streams_are_read_side_by_side_on_one_loop() -> None:
    """Each waits without a thread; leaving one cancels it upstream."""
    gate = Gate()
    peer = Peer(gate.after_one_chunk)
    with running({"a": peer}, max_parallel_requests=30) as runtime:

        async def read(leave: bool) -> int:
            count = 0
            async with runtime.stream_async("q", timeout=PATIENCE) as stream:
                async for _ in stream:
                    count += 1
                    if leave:
                        break
            return count

        async def main() -> None:
            readers = [asyncio.create_task(read(leave=False)) for _ in range(20)]
            assert await read(leave=True) == 1
            for _ in range(21):
                await reached(peer.arrived)
            gate.open()
            assert await asyncio.gather(*readers) == [1] * 20

        asyncio.run(main())
        assert len([thread for thread in our_threads() if "showcaller-a-" not in thread.name]) <= 5
        assert runtime.status().account.answered == 20
    assert gate.cancelled.is_set()


# --- many --------------------------------------------------------------------------------------------


def test_many_outcomes_come_as_they_complete() -> None:
    """With the place of their prompt, no more than max_concurrency at once, errors among them."""
    held = Gate()

    def play(attempt: Attempt) -> Iterator[TransportEvent]:
        text = attempt.payload.decode()
        if "first" in text:
            yield from held.waiting(attempt)
        elif "bad" in text:
            yield Failed(ConfigurationError("bad"))
        else:
            yield answer()

    peer = Peer(play)
    with running({"a": peer}) as runtime:

        async def main() -> None:
            order = []
            prompts = ["first", "bad", "good", "good", "good"]
            async with asyncio.timeout(PATIENCE):
                async for index, outcome in runtime.ask_many_async(prompts, max_concurrency=2, temperature=0):
                    order.append(index)
                    assert isinstance(outcome, Errored if index == 1 else Answered)
                    if len(order) == 4:
                        held.open()
            assert sorted(order) == [0, 1, 2, 3, 4]
            assert order[-1] == 0

        asyncio.run(main())
    assert peer.most == 2
    assert len(peer.attempts) == 5


def test_leaving_ask_many_async_cancels_the_rest() -> None:
    """By break, and by the cancel of the task."""
    gate = Gate()

    def play(attempt: Attempt) -> Iterator[TransportEvent]:
        yield from ready(attempt) if b"quick" in attempt.payload else gate.waiting(attempt)

    with running({"a": Peer(play)}) as runtime:

        async def main() -> None:
            outcomes = runtime.ask_many_async(["slow", "quick", "slow"], max_concurrency=3)
            async for index, _outcome in outcomes:
                assert index == 1
                break
            await outcomes.aclose()
            assert runtime.status().account.open == 0

            async def ask() -> None:
                async for _ in runtime.ask_many_async(["slow"] * 3):
                    raise AssertionError("nothing was to come")

            with pytest.raises(TimeoutError):
                await asyncio.wait_for(ask(), 0.05)
            assert runtime.status().account.open == 0

        asyncio.run(main())
        assert gate.cancelled.wait(PATIENCE)


def test_a_closed_loop_disturbs_nobody() -> None:
    """The loop of a request is gone when its answer comes."""
    gate = Gate()
    peer = Peer(gate.waiting)
    with running({"a": peer}) as runtime:
        waiter = runtime.submit("q").__await__()

        async def begin() -> None:
            next(waiter)

        asyncio.run(begin())
        assert peer.arrived.acquire(timeout=PATIENCE)
        gate.open()
        assert runtime.ask("q", timeout=PATIENCE).content == "hi"
        waiter.close()
