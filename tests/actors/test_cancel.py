"""A cancel scope: set once, every waker called once, nobody waits for ever."""

from __future__ import annotations

import sys
import threading

import pytest

from showcaller.actors.cancel import CancelScope

BOUND = 10.0


def test_every_waker_is_called_once():
    """A second cancel calls nobody."""
    scope, called = CancelScope(), []
    assert scope.on_cancel(lambda: called.append("a"))
    assert scope.on_cancel(lambda: called.append("b"))
    assert not scope.cancelled
    scope.cancel()
    scope.cancel()
    assert scope.cancelled
    assert called == ["a", "b"]


def test_a_waker_that_comes_too_late_is_told_so():
    """It is not registered, and must look after itself."""
    scope, called = CancelScope(), []
    scope.cancel()
    assert scope.on_cancel(lambda: called.append("late")) is False
    assert called == []


def test_a_waker_that_was_taken_back_is_not_called():
    """Taking back twice, or what was never registered, is no error."""
    scope, called = CancelScope(), []

    def waker():
        called.append("waker")

    scope.on_cancel(waker)
    scope.forget(waker)
    scope.forget(waker)
    scope.cancel()
    scope.forget(waker)
    assert called == []


def test_a_waker_finds_the_flag_set_and_may_use_the_scope():
    """It runs outside the lock."""
    scope, seen = CancelScope(), []

    def waker():
        seen.append(scope.cancelled)
        scope.forget(waker)
        seen.append(scope.on_cancel(waker))

    scope.on_cancel(waker)
    scope.cancel()
    assert seen == [True, False]


def test_a_waker_that_raises_keeps_nobody_else_waiting(caplog):
    """Neither the other wakers nor who cancels may suffer: an outcome depends on it."""
    scope, called = CancelScope(), []

    def broken():
        raise OSError("socket is gone")

    scope.on_cancel(broken)
    scope.on_cancel(lambda: called.append("b"))
    scope.cancel()
    assert called == ["b"]
    assert [record.getMessage() for record in caplog.records] == ["a waker raised OSError"]


def test_a_wait_ends_when_the_scope_is_cancelled():
    """On another thread, long before its time is up; and leaves nothing behind."""
    waiting = threading.Event()

    class Watched(CancelScope):
        def on_cancel(self, waker):
            registered = super().on_cancel(waker)
            waiting.set()
            return registered

    scope = Watched()
    thread = threading.Thread(target=scope.wait, args=(BOUND * 10,))
    thread.start()
    assert waiting.wait(BOUND)
    scope.cancel()
    thread.join(BOUND)
    assert not thread.is_alive()


def test_a_wait_is_over_in_its_time_and_at_once_when_it_is_cancelled():
    """Without a cancel it lasts as long as it was asked for, and takes its waker back."""
    scope = CancelScope()
    scope.wait(0.0)
    assert scope._wakers == []
    scope.cancel()
    scope.wait(BOUND * 10)


@pytest.mark.parametrize("cancellers", [1, 3])
def test_a_waker_is_called_or_refused_and_never_lost(cancellers):
    """However registering and cancelling interleave."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for _ in range(100):
            scope, called, registered, start = CancelScope(), [], [], threading.Barrier(cancellers + 1)

            def register(scope=scope, called=called, registered=registered, start=start):
                start.wait(BOUND)
                registered.append(scope.on_cancel(lambda: called.append("called")))

            def cancel(scope=scope, start=start):
                start.wait(BOUND)
                scope.cancel()

            threads = [threading.Thread(target=cancel) for _ in range(cancellers)]
            threads.append(threading.Thread(target=register))
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(BOUND)
            assert len(called) == int(registered[0])
    finally:
        sys.setswitchinterval(before)
