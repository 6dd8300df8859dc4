"""A Pending: the outcome of a request, its cancel, which reaches upstream, and its callbacks."""

from __future__ import annotations

import concurrent.futures
import logging
import sys
import threading
import traceback

import pytest

from showcaller.actors.errors import RequestCancelledError, RuntimeStoppedError, ServerError
from showcaller.actors.kernel.context import stepping
from showcaller.actors.kernel.errors import BlockingCallError
from showcaller.actors.kernel.workers import ThreadWorkers
from showcaller.runtime.pending import call_back
from tests.runtime.pending_request import BOUND, Request

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
