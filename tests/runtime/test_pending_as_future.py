"""A Pending among the futures of the standard library: waited for with others, wrapped, and awaited."""

from __future__ import annotations

import asyncio
import concurrent.futures

import pytest

from showcaller.actors.errors import ServerError
from tests.runtime.pending_request import BOUND


def test_as_completed_yields_them_as_they_come(request_of):
    """Answers, errors and cancels alike."""
    requests = [request_of() for _ in range(4)]
    requests[2].answer()
    requests[0].fail()
    completed = concurrent.futures.as_completed([one.pending for one in requests], timeout=BOUND)
    assert {next(completed), next(completed)} == {requests[0].pending, requests[2].pending}
    requests[3].pending.cancel()
    assert next(completed) is requests[3].pending
    requests[1].answer()
    assert next(completed) is requests[1].pending


def test_wait_knows_the_first_the_failed_and_all(request_of):
    """Each of its three conditions."""
    requests = [request_of() for _ in range(3)]
    pendings = [one.pending for one in requests]
    requests[0].answer()
    first = concurrent.futures.wait(pendings, BOUND, concurrent.futures.FIRST_COMPLETED)
    assert first.done == {pendings[0]}
    requests[1].fail()
    failed = concurrent.futures.wait(pendings, BOUND, concurrent.futures.FIRST_EXCEPTION)
    assert failed.done == {pendings[0], pendings[1]}
    requests[2].pending.cancel()
    assert concurrent.futures.wait(pendings, BOUND).not_done == set()


def test_gather_collects_answers_and_errors(request_of):
    """Requests that complete on other threads, awaited together."""

    async def main():
        requests = [request_of() for _ in range(3)]
        loop = asyncio.get_running_loop()
        loop.run_in_executor(None, requests[0].answer, "a")
        loop.run_in_executor(None, requests[1].fail)
        loop.run_in_executor(None, requests[2].answer, "c")
        return await asyncio.gather(*(one.pending for one in requests), return_exceptions=True)

    first, second, third = asyncio.run(main())
    assert (first.content, type(second), third.content) == ("a", ServerError, "c")


def test_one_that_is_done_is_awaited_at_once(pending_request):
    """And by several."""
    pending_request.answer()

    async def main():
        return [(await pending_request.pending).content for _ in range(2)]

    assert asyncio.run(main()) == ["Hi", "Hi"]


def test_wrap_future_follows_it_both_ways(request_of):
    """An answer comes through, and so does a cancel."""

    async def main():
        answered, given_up = request_of(), request_of()
        wrapped = asyncio.wrap_future(answered.pending)
        asyncio.get_running_loop().run_in_executor(None, answered.answer)
        content = (await asyncio.wait_for(wrapped, BOUND)).content
        asyncio.wrap_future(given_up.pending).cancel()
        await asyncio.sleep(0)
        return content, given_up.withdrawn

    assert asyncio.run(main()) == ("Hi", 1)


@pytest.mark.parametrize("how", ["cancel", "wait_for"])
def test_cancelling_who_awaits_it_cancels_the_request(how, pending_request):
    """Upstream too; the waiter gets the exception of asyncio."""

    async def main():
        if how == "wait_for":
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(pending_request.pending, 0.01)
            return

        async def wait():
            await pending_request.pending

        task = asyncio.create_task(wait())
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert pending_request.withdrawn == 1
    assert pending_request.pending.cancelled()


def test_who_awaits_a_request_that_another_cancels_is_told(pending_request):
    """In the words of asyncio, as with its own futures."""

    async def main():
        task = asyncio.ensure_future(pending_request.pending)
        await asyncio.sleep(0)
        await asyncio.get_running_loop().run_in_executor(None, pending_request.pending.cancel)
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())


def test_an_answer_after_the_loop_has_closed_disturbs_nobody(pending_request):
    """The completing thread has others to serve."""
    loop = asyncio.new_event_loop()
    coroutine = pending_request.pending.__await__()

    async def begin():
        next(coroutine)

    loop.run_until_complete(begin())
    loop.close()
    assert pending_request.answer()
    assert pending_request.pending.result(0).content == "Hi"
    coroutine.close()
