"""Timers: in order, cancellable, bounded in memory; the clock outlives whatever they touch."""

from __future__ import annotations

import math
import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from showcaller.actors.kernel.clock import SystemClock, TimerHeap

BOUND = 10.0


@pytest.fixture
def system_clock():
    clock = SystemClock()
    yield clock
    assert clock.stop(BOUND)


def fire_all(heap, now):
    fired = 0
    while (timer := heap.pop_due(now)) is not None:
        timer.fire()
        fired += 1
    return fired


def test_timers_fire_by_time_and_then_by_the_order_of_their_making(keeper):
    """And not before they are due."""
    heap = TimerHeap()
    for at, message in [(2.0, "c"), (1.0, "a"), (2.0, "d"), (1.0, "b"), (3.0, "e")]:
        heap.push(at, keeper, message)
    assert heap.next_at() == 1.0
    fire_all(heap, 2.0)
    assert keeper.told == ["a", "b", "c", "d"]
    assert (len(heap), heap.next_at()) == (1, 3.0)


def test_a_cancelled_timer_tells_nothing(keeper):
    """Cancelled before, twice, after it fired, and between its time and its firing."""
    heap = TimerHeap()
    early, late = heap.push(1.0, keeper, "early"), heap.push(2.0, keeper, "late")
    due = heap.push(1.5, keeper, "due")
    early.cancel()
    early.cancel()
    popped = heap.pop_due(1.5)
    assert popped is due
    due.cancel()
    popped.fire()
    assert heap.pop_due(1.5) is None
    fire_all(heap, 2.0)
    late.cancel()
    late.fire()
    assert keeper.told == ["late"]
    assert heap.next_at() is None


def test_cancelled_timers_do_not_pile_up(keeper):
    """The heap's size follows the live timers, not the length of their delays."""
    heap = TimerHeap()
    live = [heap.push(1e6 + n, keeper, n) for n in range(10)]
    sizes = []
    for _ in range(5000):
        heap.push(1e9, keeper, "x").cancel()
        sizes.append(len(heap))
    assert max(sizes) < 200
    assert fire_all(heap, 2e6) == len(live)
    assert keeper.told == list(range(10))


@given(st.lists(st.tuples(st.sampled_from(["push", "cancel", "advance"]), st.integers(0, 20)), max_size=300))
def test_the_heap_behaves_as_a_sorted_list(steps):
    """Whatever is pushed, cancelled and waited for, in whatever order."""
    told, live, timers, now = [], [], [], 0.0

    class Recipient:
        def tell(self, message):
            told.append(message)

    heap, recipient, expected = TimerHeap(), Recipient(), []
    for number, (step, amount) in enumerate(steps):
        if step == "push":
            timers.append((now + amount, number, heap.push(now + amount, recipient, number)))
            live.append((now + amount, number))
        elif step == "cancel" and timers:
            at, key, timer = timers[amount % len(timers)]
            timer.cancel()
            live = [entry for entry in live if entry != (at, key)]
        elif step == "advance":
            now += amount
            expected += [key for at, key in sorted(live) if at <= now]
            live = [entry for entry in live if entry[0] > now]
            fire_all(heap, now)
    assert told == expected
    assert heap.next_at() == (min(live)[0] if live else None)


def test_the_system_clock_fires_in_order(system_clock, keeper):
    """An earlier timer wakes the thread that waits for a later one."""
    system_clock.call_later(3600.0, keeper, "much later")
    system_clock.call_later(0.02, keeper, "second")
    system_clock.call_later(0.0, keeper, "first")
    system_clock.call_later(-1.0, keeper, "at once")
    assert sorted(keeper.wait(3)) == ["at once", "first", "second"]
    assert keeper.told[-1] == "second"


def test_the_system_clock_has_one_thread(system_clock, keeper):
    """However many timers there are; and it is a daemon."""
    before = set(threading.enumerate())
    for number in range(5):
        system_clock.call_later(0.0, keeper, number)
    keeper.wait(5)
    (thread,) = [thread for thread in threading.enumerate() if thread not in before]
    assert (thread.name, thread.daemon) == ("showcaller-clock", True)


def test_the_system_clock_goes_forward_and_knows_the_date(system_clock):
    """Seconds, both of them."""
    assert system_clock.now() <= system_clock.now()
    assert abs(system_clock.wall() - time.time()) < 60


@pytest.mark.parametrize("error", [ValueError, SystemExit])
def test_the_system_clock_survives_a_recipient_that_raises(system_clock, keeper, caplog, error):
    """All deadlines hang on its one thread."""

    class Bad:
        def tell(self, message):
            raise error("CANARY")

    caplog.set_level("DEBUG")
    system_clock.call_later(0.0, Bad(), "CANARY")
    system_clock.call_later(0.001, keeper, "next")
    assert keeper.wait() == ["next"]
    assert error.__name__ in caplog.text
    assert "CANARY" not in caplog.text


def test_the_system_clock_survives_a_timer_without_end(system_clock, keeper):
    """An infinite delay is a timer that never fires."""
    system_clock.call_later(math.inf, keeper, "never").cancel()
    system_clock.call_later(math.inf, keeper, "never")
    system_clock.call_later(0.001, keeper, "now")
    assert keeper.wait() == ["now"]
    system_clock.call_later(0.001, keeper, "again")
    assert keeper.wait(2) == ["now", "again"]


def test_a_system_clock_that_gets_no_thread_says_so_and_tries_again(monkeypatch, system_clock, keeper):
    """It must not take itself for started."""

    def refuse(thread):
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        with pytest.raises(RuntimeError, match="can't start"):
            system_clock.call_later(0.0, keeper, "lost")
    system_clock.call_later(0.0, keeper, "fired")
    assert keeper.wait() == ["fired"]


def test_a_stopped_system_clock_fires_nothing_more(keeper):
    """Before its thread was needed, while it waits, and when a timer stops it."""
    unused = SystemClock()
    assert unused.stop(BOUND)
    unused.call_later(0.0, keeper, "never")
    idle = SystemClock()
    idle.call_later(3600.0, keeper, "never")
    assert idle.stop(BOUND)
    assert idle.stop(BOUND)
    ending, ended = SystemClock(), threading.Event()

    class Stopper:
        def tell(self, message):
            assert ending.stop(BOUND)
            ended.set()

    ending.call_later(0.0, Stopper(), "stop")
    ending.call_later(0.0, keeper, "never")
    assert ended.wait(BOUND)
    assert ending.stop(BOUND)
    assert keeper.told == []


def test_a_cancel_that_races_with_the_firing_never_tells_half_a_timer(system_clock, keeper, often):
    """The message comes whole, or not at all."""
    for number in range(500):
        timer = system_clock.call_later(0.0, keeper, number)
        timer.cancel()
    system_clock.call_later(0.0, keeper, "end")
    deadline = threading.Event()
    for _ in range(1000):
        if keeper.told[-1:] == ["end"]:
            break
        deadline.wait(0.01)
    told = keeper.told[:-1]
    assert keeper.told[-1] == "end"
    assert all(isinstance(number, int) for number in told)
    assert told == sorted(set(told))
