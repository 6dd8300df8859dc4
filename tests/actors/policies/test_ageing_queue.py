"""The queue of requests: the most urgent first, then the oldest; the long waiting rise, and nobody is who is done."""

from __future__ import annotations

import pytest
from attrs import define
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from showcaller.actors.enums import RequestPriority
from showcaller.actors.policies.ageing_queue import AgeingQueue, effective_class

LOW, NORMAL, HIGH, CRITICAL = RequestPriority


@define(eq=False)
class Request:
    """What can wait."""

    order: int
    priority: RequestPriority = NORMAL
    since: float = 0.0
    done: bool = False


priorities = st.sampled_from(RequestPriority)


def queue_of(*requests):
    queue = AgeingQueue()
    for request in requests:
        queue.enqueue(request)
    return queue


def emptied(queue):
    taken = []
    while (request := queue.dequeue(0.0)) is not None:
        taken.append(request)
    return taken


@given(st.lists(st.tuples(priorities, st.booleans()), max_size=30), st.randoms())
def test_the_most_urgent_comes_first_then_the_oldest(arrivals, shuffle):
    """Whatever the order of their coming; who is done meanwhile is passed over."""
    requests = [Request(order, priority) for order, (priority, _) in enumerate(arrivals)]
    expected = sorted(requests, key=lambda request: (-request.priority, request.order))
    shuffle.shuffle(requests)
    queue = queue_of(*requests)
    for request in requests:
        request.done = arrivals[request.order][1]
    assert emptied(queue) == [request for request in expected if not request.done]
    assert queue.size() == 0
    assert queue.is_empty()


AGEING = 10.0


def rank(request, now):
    """Another way to say it: each period lifts it by one, up to HIGH."""
    lifted = [request.priority]
    waited = now - request.since
    while lifted[-1] < HIGH and waited >= AGEING:
        waited -= AGEING
        lifted.append(lifted[-1] + 1)
    return (-lifted[-1], request.order)


class QueueMachine(RuleBasedStateMachine):
    """Requests come, wait, leave, come back, end and become more urgent; the model is a list."""

    def __init__(self):
        super().__init__()
        self.queue = AgeingQueue(AGEING)
        self.now = 0.0
        self.inside, self.outside = [], []
        self.arrived = 0

    def expected(self):
        waiting = [request for request in self.inside if not request.done]
        return sorted(waiting, key=lambda request: rank(request, self.now))

    @rule(quarters=st.integers(1, 50))
    def wait(self, quarters):
        # Of a number that floats can say exactly: what is due at a moment is due at it in both.
        self.now += quarters / 4

    @rule(priority=priorities)
    def arrive(self, priority):
        request = Request(self.arrived, priority, self.now)
        self.arrived += 1
        self.queue.enqueue(request)
        self.inside.append(request)

    @rule()
    def leave(self):
        expected = self.expected()
        taken = self.queue.dequeue(self.now)
        assert taken is (expected[0] if expected else None)
        if taken is not None:
            self.inside.remove(taken)
            self.outside.append(taken)

    @precondition(lambda self: self.outside)
    @rule(data=st.data())
    def come_back(self, data):
        request = data.draw(st.sampled_from(self.outside))
        self.outside.remove(request)
        self.queue.enqueue(request)
        self.inside.append(request)

    @precondition(lambda self: self.inside)
    @rule(data=st.data())
    def end(self, data):
        data.draw(st.sampled_from(self.inside)).done = True

    @precondition(lambda self: self.inside)
    @rule(data=st.data(), priority=priorities)
    def become_as_urgent_as(self, data, priority):
        data.draw(st.sampled_from(self.inside)).priority = priority
        for request in self.queue.drain():
            self.queue.enqueue(request)
        self.inside = self.expected()
        assert self.queue.size() == sum(self.queue.sizes) == len(self.inside)

    @rule()
    def be_drained(self):
        drained = self.queue.drain()
        assert sorted(drained, key=lambda request: rank(request, self.now)) == self.expected()
        self.outside += drained
        self.inside = []

    @invariant()
    def the_next_one_is_the_model_s(self):
        expected = self.expected()
        assert self.queue.peek(self.now) is (expected[0] if expected else None)

    @invariant()
    def all_are_there_in_order(self):
        assert self.queue.get_pending(self.now) == self.expected()


TestQueue = QueueMachine.TestCase


def test_those_that_wait_are_shown_as_they_would_leave():
    """Without those that are done, which count until they are let go."""
    requests = [Request(0), Request(1, HIGH), Request(2, CRITICAL), Request(3, done=True)]
    queue = queue_of(*requests)
    assert queue.get_pending(0.0) == [requests[2], requests[1], requests[0]]
    assert (queue.sizes, queue.size()) == ((0, 2, 1, 1), 4)


def test_who_comes_back_gets_its_old_place():
    """A refused reservation does not send a request to the end of the line."""
    first, second, third = (Request(order) for order in range(3))
    queue = queue_of(first, second, third)
    assert queue.dequeue(0.0) is first
    queue.enqueue(first)
    assert emptied(queue) == [first, second, third]


def test_a_promoted_request_moves_up_when_it_is_queued_anew():
    """Its new priority counts, and its age among its new equals."""
    old, urgent, plain = Request(0), Request(1, HIGH), Request(2)
    queue = queue_of(old, urgent, plain)
    plain.priority = CRITICAL
    old.priority = HIGH
    for request in queue.drain():
        queue.enqueue(request)
    assert emptied(queue) == [plain, old, urgent]


def test_what_was_looked_at_is_taken_out_even_if_it_is_done_since():
    """It ends on another thread between the look and the take; the next one stays."""
    first, second = Request(0), Request(1)
    queue = queue_of(first, second)
    assert queue.peek(0.0) is first
    first.done = True
    assert queue.take() is first
    assert emptied(queue) == [second]


def test_looking_at_the_queue_takes_nothing_out_but_the_dead():
    """Peek is repeatable, and lets go of what is done."""
    gone, here = Request(0), Request(1)
    queue = queue_of(gone, here)
    gone.done = True
    assert queue.peek(0.0) is here
    assert queue.peek(0.0) is here
    assert queue.size() == 1


@pytest.mark.parametrize(
    ("priority", "waited", "counts_as"),
    [
        (LOW, 0.0, LOW),
        (LOW, 9.9, LOW),
        (LOW, 10.0, NORMAL),
        (LOW, 20.0, HIGH),
        (LOW, 1e6, HIGH),
        (NORMAL, 10.0, HIGH),
        (NORMAL, 1e6, HIGH),
        (HIGH, 1e6, HIGH),
        (CRITICAL, 0.0, CRITICAL),
        (NORMAL, -1.0, NORMAL),
    ],
)
def test_who_waits_counts_as_a_higher_class_but_never_as_critical(priority, waited, counts_as):
    """One for each ten seconds."""
    assert effective_class(priority, waited) == counts_as


def test_who_has_waited_long_leaves_before_those_that_came_later():
    """With one that is HIGH every second, LOW leaves after two periods; CRITICAL always leaves first."""
    queue = queue_of(Request(0, LOW, 0.0))
    left = []
    for second in range(1, 25):
        queue.enqueue(Request(second, HIGH, float(second)))
        left.append(queue.dequeue(float(second)).order)
    assert left.index(0) == 19
    queue.enqueue(Request(0, LOW, 0.0))
    queue.enqueue(Request(99, CRITICAL, 25.0))
    assert queue.dequeue(1000.0).order == 99


@pytest.mark.parametrize("others", [LOW, CRITICAL])
def test_who_is_less_urgent_than_when_it_came_hides_nobody(others):
    """A caller who wanted it soon has left, and it is behind those who still do."""
    queue = AgeingQueue()
    fallen, hidden = Request(0, CRITICAL), Request(1, others)
    queue.enqueue(fallen)
    queue.enqueue(hidden)
    fallen.priority = LOW
    expected = [hidden, fallen] if others is CRITICAL else [fallen, hidden]
    assert [queue.dequeue(0.0), queue.dequeue(0.0)] == expected
    assert queue.is_empty()
