"""The future of an ask: set once, cheap to wait for, and awaited without blocking the event loop."""

from __future__ import annotations

import asyncio
import logging
import threading
import traceback

import pykka
import pytest

from showcaller.actors.kernel.reply import ReplyFuture

BOUND = 10.0


def test_the_first_result_wins_and_later_ones_are_harmless():
    """Stock Pykka raises queue.Full here, inside the actor's thread."""
    future = ReplyFuture()
    future.set(1)
    future.set(2)
    future.set_exception((ValueError, ValueError(), None))
    assert future.get() == 1
    failed = ReplyFuture()
    failed.set_exception((ValueError, ValueError("x"), None))
    failed.set(1)
    with pytest.raises(ValueError, match="x"):
        failed.get()


def test_it_takes_the_exception_that_is_being_handled():
    """As Pykka's loop sets it."""
    future = ReplyFuture()
    try:
        raise ValueError("x")
    except ValueError:
        future.set_exception()
    with pytest.raises(ValueError, match="x"):
        future.get()


@pytest.mark.parametrize("timeout", [0, -1, 0.001])
def test_a_reply_that_does_not_come_in_time_is_a_timeout(timeout):
    """And the future is as good as before."""
    future = ReplyFuture()
    with pytest.raises(pykka.Timeout):
        future.get(timeout=timeout)
    future.set("late")
    assert future.get(timeout=timeout) == "late"


def test_every_waiting_thread_gets_the_reply():
    """One opens the gate for the next."""
    future = ReplyFuture()
    got = []
    threads = [
        threading.Thread(target=lambda: got.append(future.get(timeout=BOUND)), daemon=True) for _ in range(5)
    ]
    for thread in threads:
        thread.start()
    future.set("x")
    for thread in threads:
        thread.join(BOUND)
    assert got == ["x"] * 5


def test_an_error_that_is_read_often_does_not_grow():
    """Each raise would add its frames to the traceback of the one before."""
    future = ReplyFuture()
    try:
        raise ValueError("x")
    except ValueError:
        future.set_exception()
    lengths = set()
    for _ in range(200):
        try:
            future.get()
        except ValueError as error:
            lengths.add(len(list(traceback.walk_tb(error.__traceback__))))
    assert len(lengths) == 1


def test_derived_futures_work():
    """Map, filter, reduce and join of Pykka build on ours."""
    numbers, text = ReplyFuture(), ReplyFuture()
    derived = [
        numbers.map(sum),
        numbers.filter(lambda n: n > 1),
        numbers.reduce(lambda a, b: a * b),
        numbers.join(text),
    ]
    with pytest.raises(pykka.Timeout):
        derived[0].get(timeout=0)
    numbers.set([1, 2, 3])
    text.set("x")
    assert [future.get(timeout=BOUND) for future in derived] == [6, [2, 3], 6, [[1, 2, 3], "x"]]


def test_a_callback_is_called_once_when_there_is_a_reply():
    """At once when there is one already."""
    future, calls = ReplyFuture(), []
    future.add_done_callback(lambda: calls.append("before"))
    assert calls == []
    future.set(1)
    future.set(2)
    future.add_done_callback(lambda: calls.append("after"))
    assert calls == ["before", "after"]


@pytest.mark.parametrize("error", [ValueError, SystemExit])
def test_a_raising_callback_hurts_neither_the_actor_nor_the_next_callback(host, bystander, caplog, error):
    """It runs in Pykka's loop, where a BaseException would stop every actor of the process."""
    ref = host.spawn()
    gate = host.Gate(ref)
    future, called = ref.ask(host.Note("x"), block=False), threading.Event()

    def fail():
        raise error("CANARY")

    future.add_done_callback(fail)
    future.add_done_callback(called.set)
    with caplog.at_level(logging.DEBUG):
        gate.open()
        assert called.wait(BOUND)
        assert ref.ask(host.Note("alive"), timeout=BOUND) == "alive"
    assert bystander.is_alive()
    assert error.__name__ in caplog.text
    assert "CANARY" not in caplog.text


def test_awaiting_does_not_block_the_event_loop():
    """Many that never come and one that is there: the loop goes on."""

    async def main():
        slow = [ReplyFuture() for _ in range(50)]
        tasks = [asyncio.ensure_future(_await(future)) for future in slow]
        tasks += [asyncio.ensure_future(_await(future.map(str))) for future in slow]
        quick = ReplyFuture()
        threading.Thread(target=quick.set, args=("quick",), daemon=True).start()
        assert await asyncio.wait_for(_await(quick), BOUND) == "quick"
        assert await asyncio.wait_for(_await(quick.map(str.upper)), BOUND) == "QUICK"
        assert not any(task.done() for task in tasks)
        for number, future in enumerate(slow):
            future.set(number)
        replies = await asyncio.wait_for(asyncio.gather(*tasks), BOUND)
        assert replies == [*range(50), *map(str, range(50))]

    asyncio.run(main())


async def _await(future):
    return await future


def test_an_awaited_error_is_raised():
    """Of the reply, and of what is derived from it."""
    future = ReplyFuture()
    future.set_exception((ValueError, ValueError("x"), None))
    for awaited in (future, future.map(str)):
        with pytest.raises(ValueError, match="x"):
            asyncio.run(_await(awaited))


def test_stop_can_be_awaited(host):
    """ActorRef.stop makes a future of our class, with a hook."""
    ref = host.spawn()
    gate = host.Gate(ref)

    async def main():
        stopping = asyncio.ensure_future(_await(ref.stop(block=False)))
        await asyncio.sleep(0)
        gate.open()
        return await asyncio.wait_for(stopping, BOUND)

    assert asyncio.run(main()) is True
    assert asyncio.run(_await(ref.stop(block=False))) is False


def test_a_reply_after_the_wait_was_given_up_is_harmless(caplog):
    """The task is cancelled, or its event loop closed."""
    future, both = ReplyFuture(), ReplyFuture()

    async def main():
        task = asyncio.ensure_future(_await(future))
        twice = asyncio.ensure_future(_await(both))
        await asyncio.sleep(0)
        task.cancel()
        future.set("late")
        with pytest.raises(asyncio.CancelledError):
            await task
        twice.cancel()

    asyncio.run(main())
    both.set("later")
    assert caplog.text == ""
    assert (future.get(), both.get()) == ("late", "later")


def test_an_endless_wait_goes_on_slice_by_slice() -> None:
    """So that an interrupt that came just before a slice is heard after it."""

    class Reluctant:
        tries = 0

        def acquire(self, timeout: float) -> bool:
            assert timeout > 0
            self.tries += 1
            return self.tries == 3

        def release(self) -> None: ...

    future = ReplyFuture()
    gate = future._gate = Reluctant()  # type: ignore[assignment]
    assert future.get() is None
    assert gate.tries == 3
