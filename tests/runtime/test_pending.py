"""A Pending: a future of the standard library, awaitable, whose cancel reaches upstream."""

from __future__ import annotations

import asyncio
import concurrent.futures
import logging
import sys
import threading
import traceback

import pytest

from showcaller.actors.enums import RequestPriority
from showcaller.actors.errors import RequestCancelledError, RuntimeStoppedError, ServerError
from showcaller.actors.kernel.context import stepping
from showcaller.actors.kernel.errors import BlockingCallError
from showcaller.actors.kernel.workers import ThreadWorkers
from showcaller.actors.models import Answered, BackendResponse, Errored
from showcaller.actors.ticket import Ticket
from showcaller.runtime.pending import Pending, call_back

BOUND = 10.0


class Request:
    """A pending request with a real ticket; `withdrawn` counts how often it was given up upstream."""

    def __init__(self, callbacks, request_id="r-1"):
        self.pending = Pending(request_id, self._withdraw, callbacks)
        self.ticket = Ticket(
            request_id,
            priority=RequestPriority.NORMAL,
            created=0.0,
            deadline=1.0,
            deliver=self.pending.settle,
        )
        self.withdrawn = 0

    def _withdraw(self):
        gone = self.ticket.complete(Errored("r-1", RequestCancelledError("cancelled")))
        self.withdrawn += gone
        return gone

    def answer(self, content="Hi"):
        response = BackendResponse(
            content=content,
            message={"role": "assistant", "content": content},
            backend="a",
            model="m",
            request_id="r-1",
        )
        return self.ticket.complete(Answered("r-1", response))

    def fail(self, error=None):
        return self.ticket.complete(Errored("r-1", error or ServerError("no")))


@pytest.fixture
def callbacks():
    pool = ThreadWorkers("callbacks", 2)
    yield pool
    pool.close()
    assert pool.join(BOUND) == 0


@pytest.fixture
def request_of(callbacks):
    return lambda: Request(callbacks)


@pytest.fixture
def pending_request(request_of):
    return request_of()


# --- outcomes ---


def test_an_answer_is_the_result(pending_request):
    """As often as one asks."""
    assert pending_request.answer()
    pending = pending_request.pending
    assert pending.result().content == pending.result(0).content == "Hi"
    assert pending.exception() is None
    assert pending.outcome.ok
    assert (pending.done(), pending.cancelled()) == (True, False)


def test_an_error_is_raised_as_a_copy_each_time(pending_request):
    """Many may ask, and their tracebacks do not add up."""
    error = ServerError("no", backend="a", status=500)
    pending_request.fail(error)
    pending, raised = pending_request.pending, []
    for _ in range(3):
        with pytest.raises(ServerError, match="no") as caught:
            pending.result()
        raised.append(caught.value)
    assert len({id(one) for one in [*raised, error]}) == 4
    assert {one.status for one in raised} == {500}
    assert len({len(traceback.extract_tb(one.__traceback__)) for one in raised}) == 1
    assert pending.exception() is error
    assert pending.outcome.error is error


def test_waiting_too_long_is_no_end(pending_request):
    """The request goes on, and its answer can be had later."""
    pending = pending_request.pending
    for ask in (pending.result, pending.exception):
        with pytest.raises(TimeoutError):
            ask(0.01)
    assert (pending.done(), pending_request.withdrawn) == (False, 0)
    pending_request.answer()
    assert pending.result(0).content == "Hi"


def test_a_waiter_on_another_thread_gets_the_answer(pending_request):
    """It is woken by the completion."""
    results = concurrent.futures.Future()
    thread = threading.Thread(target=lambda: results.set_result(pending_request.pending.result(BOUND)))
    thread.start()
    pending_request.answer()
    assert results.result(BOUND).content == "Hi"
    thread.join(BOUND)


# --- cancelling ---


def test_a_cancel_gives_the_request_up_upstream(pending_request):
    """And a second one says so too."""
    pending = pending_request.pending
    assert pending.cancel() is True
    assert pending.cancel() is True
    assert (pending.cancelled(), pending.done(), pending_request.withdrawn) == (True, True, 1)
    for ask in (pending.result, pending.exception):
        with pytest.raises(concurrent.futures.CancelledError):
            ask()
    assert isinstance(pending.outcome.error, RequestCancelledError)
    assert pending_request.answer() is False


def test_a_cancel_that_comes_too_late_changes_nothing(pending_request):
    """The answer was there first."""
    pending_request.answer()
    pending = pending_request.pending
    assert pending.cancel() is False
    assert (pending.cancelled(), pending_request.withdrawn) == (False, 0)
    assert pending.result().content == "Hi"


def test_an_answer_and_a_cancel_at_once_have_one_winner(request_of):
    """And the future agrees with it."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for _ in range(100):
            one, start, said = request_of(), threading.Barrier(2), {}

            def act(name, action, start=start, said=said):
                start.wait(BOUND)
                said[name] = action()

            threads = [
                threading.Thread(target=act, args=("cancelled", one.pending.cancel)),
                threading.Thread(target=act, args=("answered", one.answer)),
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(BOUND)
            assert said["answered"] is not one.pending.cancelled()
            assert said["answered"] is (one.withdrawn == 0)
            assert not (said["cancelled"] and said["answered"])
            if said["answered"]:
                assert one.pending.result(0).content == "Hi"
    finally:
        sys.setswitchinterval(before)


def test_a_dropped_one_is_cancelled_on_a_callback_thread(pending_request):
    """A finalizer may run while its thread holds any lock of ours."""
    threads = []
    gone = threading.Event()
    withdraw = pending_request._withdraw

    def slow():
        threads.append(threading.current_thread().name)
        withdraw()
        gone.set()
        return True

    pending_request.pending._withdraw = slow
    pending_request.pending.drop()
    assert gone.wait(BOUND)
    assert threads[0].startswith("showcaller-callbacks-")


def test_one_that_is_done_is_dropped_silently(pending_request):
    """Also when there are no callback threads any more."""
    pending_request.answer()
    pending_request.pending.drop()
    assert pending_request.withdrawn == 0


def test_one_that_is_dropped_after_the_stop_raises_nothing():
    """The runtime has ended the request, or is about to."""
    pool = ThreadWorkers("callbacks", 1)
    one = Request(pool)
    pool.close()
    one.pending.drop()
    assert one.withdrawn == 0


# --- with the standard library's tools ---


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


# --- callbacks ---


def test_callbacks_run_on_callback_threads(pending_request):
    """With the pending, once each, also when it is done already."""
    ran = concurrent.futures.Future()
    late = concurrent.futures.Future()
    pending = pending_request.pending
    pending.add_done_callback(lambda done: ran.set_result((done, threading.current_thread().name)))
    pending_request.answer()
    pending.add_done_callback(lambda done: late.set_result((done, threading.current_thread().name)))
    for seen in (ran, late):
        done, thread = seen.result(BOUND)
        assert done is pending
        assert thread.startswith("showcaller-callbacks-")


def test_a_slow_callback_holds_up_neither_the_answer_nor_the_others(pending_request):
    """Only its own thread."""
    entered, release, other = threading.Event(), threading.Event(), threading.Event()

    def slow(_done):
        entered.set()
        assert release.wait(BOUND)

    pending_request.pending.add_done_callback(slow)
    pending_request.pending.add_done_callback(lambda _done: other.set())
    assert pending_request.answer()
    assert entered.wait(BOUND)
    assert other.wait(BOUND)
    release.set()


def test_a_callback_that_raises_is_logged(pending_request, caplog):
    """And the next one runs."""
    ran = threading.Event()

    def broken(_done):
        raise ZeroDivisionError

    with caplog.at_level(logging.ERROR, "showcaller.callbacks"):
        pending_request.pending.add_done_callback(broken)
        pending_request.answer()
        pending_request.pending._callback_threads.close()
        assert pending_request.pending._callback_threads.join(BOUND) == 0
    assert [record.levelno for record in caplog.records] == [logging.ERROR]
    assert "ZeroDivisionError" in caplog.text
    call_back(pending_request.pending._callback_threads, lambda _: ran.set(), None)
    assert ran.is_set()


def test_a_callback_without_a_thread_runs_all_the_same(monkeypatch, caplog):
    """Others wait for it: nothing else will call it. What it raises is logged here too."""

    def refuse(thread):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    one, ran = Request(ThreadWorkers("callbacks", 1)), []
    one.pending.add_done_callback(ran.append)
    one.pending.add_done_callback(lambda _: 1 / 0)
    assert one.answer()
    assert ran == [one.pending]
    assert "ZeroDivisionError" in caplog.text


def test_our_own_short_functions_run_where_it_is_completed(pending_request):
    """No thread is woken for them."""
    threads = []
    pending_request.pending.when_done(lambda: threads.append(threading.current_thread()))
    pending_request.answer()
    assert threads == [threading.current_thread()]


# --- where nothing may wait ---


def test_waiting_on_a_thread_that_steps_actors_is_refused(pending_request):
    """It would wait for itself; what is done already may be read."""
    pending = pending_request.pending
    with stepping("core"):
        for ask in (pending.result, pending.exception):
            with pytest.raises(BlockingCallError, match=ask.__name__):
                ask(1.0)
        pending_request.fail(RuntimeStoppedError("stopped"))
        assert isinstance(pending.exception(), RuntimeStoppedError)
        with pytest.raises(RuntimeStoppedError):
            pending.result()
