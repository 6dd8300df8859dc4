"""Threads that wait at a `RequestQueue`: woken, interrupted, told of its end, and never for longer than they said."""

from __future__ import annotations

import _thread
import os
import signal
import threading
import time
from types import SimpleNamespace

import pytest

from showcaller.actors.errors import OverloadedError, QueueClosedError
from showcaller.actors.kernel import context
from showcaller.actors.kernel.errors import BlockingCallError
from showcaller.actors.records import QueuedRequest
from showcaller.runtime import request_queue
from showcaller.runtime.request_queue import RequestQueue
from showcaller.runtime.testing.simulation import Simulation
from tests.runtime.live import PATIENCE, config_of


def test_an_actor_may_look_but_not_wait() -> None:
    """Its thread is everybody's."""
    queue = RequestQueue()
    with context.stepping("a"):
        assert queue.dequeue() is None
        with pytest.raises(BlockingCallError, match=r"RequestQueue.dequeue\(\)"):
            queue.dequeue(1.0)


def test_a_wait_ends_at_its_timeout() -> None:
    """With None, and not before."""
    began = time.monotonic()
    assert RequestQueue().dequeue(0.05) is None
    assert 0.05 <= time.monotonic() - began < PATIENCE


def test_a_wait_lasts_for_longer_than_a_slice(monkeypatch: pytest.MonkeyPatch) -> None:
    """It goes on after each, until something comes."""
    monkeypatch.setattr(request_queue, "SLICE", 0.001)
    queue = RequestQueue()
    timer = threading.Timer(0.05, queue.enqueue, ("late",))
    timer.start()
    taken = queue.dequeue(PATIENCE)
    timer.join()
    assert taken is not None
    assert not queue._gates


def test_leaving_the_block_tells_who_waits() -> None:
    """What is left is served first, and nothing more comes."""
    told = []

    def consume() -> None:
        try:
            while True:
                told.append(queue.dequeue(PATIENCE))
        except QueueClosedError:
            told.append(None)

    with RequestQueue() as queue:
        threads = [threading.Thread(target=consume) for _ in range(3)]
        for thread in threads:
            thread.start()
        only = queue.enqueue("one")
    for thread in threads:
        thread.join(PATIENCE)
    assert sorted(told, key=bool) == [None, None, None, only]
    with pytest.raises(QueueClosedError, match="make another"):
        queue.enqueue("two")
    queue.close()


def test_an_interrupt_ends_a_wait_and_leaves_the_queue_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    """The next wait has what comes."""
    queue = RequestQueue()

    class Gate:
        """Whoever sleeps at it is interrupted from another thread."""

        def __init__(self) -> None:
            self._lock = _thread.allocate_lock()

        def acquire(self, timeout: float = -1.0) -> bool:
            if timeout >= 0:
                threading.Thread(target=os.kill, args=(os.getpid(), signal.SIGINT)).start()
            return self._lock.acquire(timeout=timeout)

    monkeypatch.setattr(request_queue, "threading", SimpleNamespace(Lock=Gate))
    with pytest.raises(KeyboardInterrupt):
        queue.dequeue(PATIENCE)
    assert not queue._gates
    queue.enqueue("one")
    assert queue.dequeue(PATIENCE) is not None


def test_who_is_interrupted_when_it_was_woken_wakes_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else one would sleep beside a request that nobody takes."""
    queue = RequestQueue()
    other = _thread.allocate_lock()

    class Gate:
        """The first to sleep is woken and interrupted at once, when another sleeps too."""

        def acquire(self, timeout: float = -1.0) -> bool:
            if timeout >= 0:
                other.acquire()
                queue._gates.append(other)
                queue.enqueue("one")
                raise KeyboardInterrupt
            return True

        def release(self) -> None:
            pass

    monkeypatch.setattr(request_queue, "threading", SimpleNamespace(Lock=Gate))
    with pytest.raises(KeyboardInterrupt):
        queue.dequeue(PATIENCE)
    assert not other.locked()


def test_in_a_simulation_a_wait_takes_virtual_time() -> None:
    """And none of ours; for what is there already, none at all."""
    queue = RequestQueue()
    queue.enqueue("one")
    with Simulation(config_of(["a"])) as simulation:
        before, began = simulation.now, time.monotonic()
        assert queue.dequeue(300.0) is not None
        assert simulation.now == before
        assert queue.dequeue(300.0) is None
        assert simulation.now - before >= 300.0
        assert time.monotonic() - began < PATIENCE


def test_each_request_leaves_once_whatever_the_threads() -> None:
    """Four produce into a small queue, and four consume; nothing is lost or doubled."""
    queue, taken, lock = RequestQueue(8), list[QueuedRequest](), threading.Lock()

    def produce(name: int) -> None:
        for number in range(200):
            while True:
                try:
                    queue.enqueue(f"{name}-{number}")
                    break
                except OverloadedError:
                    time.sleep(0)

    def consume() -> None:
        try:
            while True:
                one = queue.dequeue(PATIENCE)
                assert one is not None
                with lock:
                    taken.append(one)
        except QueueClosedError:
            pass

    consumers = [threading.Thread(target=consume) for _ in range(4)]
    producers = [threading.Thread(target=produce, args=(name,)) for name in range(4)]
    for thread in [*consumers, *producers]:
        thread.start()
    for thread in producers:
        thread.join(PATIENCE)
    queue.close()
    for thread in consumers:
        thread.join(PATIENCE)
    assert not any(thread.is_alive() for thread in [*producers, *consumers])
    assert sorted(one.prompt for one in taken) == sorted(f"{a}-{b}" for a in range(4) for b in range(200))
