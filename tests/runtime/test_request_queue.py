"""`RequestQueue`: the most urgent first, then the oldest; bounded, from many threads, and nobody waits for ever."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from showcaller.actors.enums import RequestPriority
from showcaller.actors.errors import ConfigurationError, OverloadedError, QueueClosedError
from showcaller.actors.kernel import fork
from showcaller.actors.kernel.errors import ForkedProcessError
from showcaller.actors.records import QueuedRequest
from showcaller.runtime.request_queue import RequestQueue

LOW, NORMAL, HIGH, CRITICAL = RequestPriority
AGEING = 10.0
CAPACITY = 6


class Timer:
    """A clock that stands still."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def request(name: str, timestamp: float = 0.0, priority: RequestPriority = NORMAL) -> QueuedRequest:
    """One that was queued at that time."""
    return QueuedRequest(request_id=name, prompt=name, timestamp=timestamp, priority=priority)


def emptied(queue: RequestQueue) -> list[str]:
    """The prompts, in the order in which they leave."""
    prompts = []
    while (one := queue.dequeue()) is not None:
        prompts.append(one.prompt)
    return prompts


# --- who is next ---


@pytest.mark.parametrize(
    ("queued", "leave"),
    [
        ([(LOW, 0), (NORMAL, 0), (HIGH, 0), (CRITICAL, 0)], [3, 2, 1, 0]),
        ([(NORMAL, 0), (NORMAL, 2), (NORMAL, 1)], [1, 2, 0]),
        ([(NORMAL, 0), (NORMAL, 0), (NORMAL, 0)], [0, 1, 2]),
        ([(NORMAL, 0), (LOW, 10)], [1, 0]),
        ([(HIGH, 19.9), (LOW, 20)], [1, 0]),
        ([(CRITICAL, 0), (LOW, 500)], [0, 1]),
        ([(HIGH, 10), (NORMAL, 10)], [0, 1]),
        ([(NORMAL, 10), (HIGH, 10)], [0, 1]),
    ],
    ids=["classes", "age", "coming", "one period", "two periods", "never critical", "a tie", "the same tie"],
)
def test_the_most_urgent_leaves_first_then_the_oldest(
    queued: list[tuple[RequestPriority, float]], leave: list[int]
) -> None:
    """Each has waited so many seconds; those that are equal in both leave in the order of their coming."""
    timer = Timer()
    queue = RequestQueue(ageing=AGEING, timer=timer)
    for number, (priority, waited) in enumerate(queued):
        queue.enqueue(request(str(number), timer.now - waited, priority))
    expected = [str(number) for number in leave]
    assert [one.request_id for one in queue.get_pending()] == expected
    assert emptied(queue) == expected


def test_low_is_not_starved() -> None:
    """One that is HIGH comes and one leaves every second: LOW leaves after two periods."""
    timer = Timer()
    queue = RequestQueue(ageing=AGEING, timer=timer)
    queue.enqueue("patient", priority=LOW)
    left = []
    for _ in range(25):
        timer.now += 1.0
        queue.enqueue("urgent", priority=HIGH)
        taken = queue.dequeue()
        assert taken is not None
        left.append(taken.prompt)
    assert left.index("patient") == 19


def test_a_prompt_becomes_a_request() -> None:
    """Of its own id, of now, and as urgent as was said."""
    timer, told = Timer(), list[Any]()
    queue = RequestQueue(timer=timer)
    first, second = queue.enqueue("one", priority=HIGH, callback=told.append), queue.enqueue("two")
    assert (first.prompt, first.priority, first.callback, first.timestamp) == (
        "one",
        HIGH,
        told.append,
        timer.now,
    )
    assert (second.priority, second.callback) == (NORMAL, None)
    assert first.request_id != second.request_id
    assert queue.dequeue() is first


def test_what_comes_back_has_its_old_place() -> None:
    """And may come back as a more urgent one."""
    timer = Timer()
    queue = RequestQueue(timer=timer)
    first = queue.enqueue("one")
    timer.now += 1.0
    second = queue.enqueue("two")
    assert queue.dequeue() is first
    assert queue.enqueue(first) is first
    assert queue.get_pending() == [first, second]
    assert queue.dequeue() is first
    assert queue.dequeue() is second
    queue.enqueue(first)
    assert queue.enqueue(second, priority=HIGH).timestamp == second.timestamp
    assert emptied(queue) == ["two", "one"]


class QueueMachine(RuleBasedStateMachine):
    """Requests come, leave and come back while time passes, until it is closed; the model is a list."""

    def __init__(self) -> None:
        super().__init__()
        self.timer = Timer()
        self.queue = RequestQueue(CAPACITY, ageing=AGEING, timer=self.timer)
        self.inside: list[QueuedRequest] = []
        self.outside: list[QueuedRequest] = []
        self.closed = False

    def rank(self, one: QueuedRequest) -> tuple[int, float]:
        """Another way to say it: each period lifts it by one, up to HIGH."""
        level, waited = int(one.priority), self.timer.now - one.timestamp
        while level < HIGH and waited >= AGEING:
            level, waited = level + 1, waited - AGEING
        return -level, one.timestamp

    def enqueue(self, what: str | QueuedRequest, **options: Any) -> None:
        """Either it is taken, or the error says why not."""
        if self.closed or len(self.inside) == CAPACITY:
            with pytest.raises(QueueClosedError if self.closed else OverloadedError):
                self.queue.enqueue(what, **options)
            return
        self.inside.append(self.queue.enqueue(what, **options))
        # Those of one time leave in the order of their coming: sorting keeps it.
        self.outside = [one for one in self.outside if one is not what]

    @rule(quarters=st.integers(1, 50))
    def time_passes(self, quarters: int) -> None:
        self.timer.now += quarters / 4

    @rule(priority=st.sampled_from(RequestPriority))
    def come(self, priority: RequestPriority) -> None:
        self.enqueue("prompt", priority=priority)

    @precondition(lambda self: self.outside)
    @rule(data=st.data(), priority=st.none() | st.sampled_from(RequestPriority))
    def come_back(self, data: st.DataObject, priority: RequestPriority | None) -> None:
        self.enqueue(data.draw(st.sampled_from(self.outside)), priority=priority)

    @rule()
    def leave(self) -> None:
        if self.closed and not self.inside:
            with pytest.raises(QueueClosedError):
                self.queue.dequeue()
            return
        expected = min(self.inside, key=self.rank, default=None)
        assert self.queue.dequeue() is expected
        if expected is not None:
            self.inside = [one for one in self.inside if one is not expected]
            self.outside.append(expected)

    @precondition(lambda self: len(self.inside) == CAPACITY)
    @rule()
    def close(self) -> None:
        self.queue.close()
        self.closed = True

    @invariant()
    def all_are_there_in_order(self) -> None:
        assert self.queue.get_pending() == sorted(self.inside, key=self.rank)
        assert self.queue.size() == len(self.inside) <= CAPACITY
        assert self.queue.is_empty() == (not self.inside)


TestQueue = QueueMachine.TestCase

# --- what is refused ---


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: RequestQueue(0), "RequestQueue.capacity = 0: use a whole number"),
        (lambda: RequestQueue(True), "RequestQueue.capacity = True: use a whole number"),
        (lambda: RequestQueue(ageing=0.0), "RequestQueue.ageing = 0.0: use seconds"),
        (lambda: RequestQueue().dequeue(-1.0), "RequestQueue.timeout = -1.0: use seconds, 0 or more"),
        (lambda: RequestQueue().dequeue(None), "RequestQueue.timeout = None: use seconds"),  # type: ignore[arg-type]
        (lambda: RequestQueue().dequeue(float("inf")), "RequestQueue.timeout = inf: use seconds"),
        (lambda: RequestQueue().enqueue(7), "QueuedRequest.prompt = 7"),  # type: ignore[arg-type]
        (lambda: RequestQueue().enqueue("a", priority="high"), "QueuedRequest.priority = 'high'"),  # type: ignore[arg-type]
        (lambda: RequestQueue().enqueue(request("a", time.time())), "QueuedRequest.timestamp = .* timer"),
    ],
)
def test_what_is_wrong_is_said_with_field_value_and_fix(call: Callable[[], object], text: str) -> None:
    """A stamp of another clock would never age, so that it is refused too."""
    with pytest.raises(ConfigurationError, match=text):
        call()


def test_what_is_too_much_is_refused_with_the_bound_and_what_to_do() -> None:
    """And there is room again when one has left."""
    queue = RequestQueue(2)
    queue.enqueue("one")
    queue.enqueue("two")
    with pytest.raises(OverloadedError, match=r"RequestQueue.capacity = 2: .*raise capacity"):
        queue.enqueue("three", priority=CRITICAL)
    assert queue.size() == 2
    queue.dequeue()
    queue.enqueue("three")


def test_after_a_fork_the_child_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before any lock; else both processes would carry out what waits."""
    queue = RequestQueue()
    queue._lock.acquire()
    monkeypatch.setattr(fork, "_generation", fork.generation() + 1)
    calls: list[Callable[[], object]] = [
        lambda: queue.enqueue("one"),
        queue.dequeue,
        queue.size,
        queue.is_empty,
        queue.get_pending,
        queue.close,
    ]
    for call in calls:
        with pytest.raises(ForkedProcessError, match="made before a fork"):
            call()
