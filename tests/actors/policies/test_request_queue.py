"""The queue of requests: the most urgent first, then the oldest, and nobody who is done."""

from __future__ import annotations

from attrs import define
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from showcaller.actors.enums import RequestPriority
from showcaller.actors.policies.request_queue import RequestQueue

LOW, NORMAL, HIGH, CRITICAL = RequestPriority


@define(eq=False)
class Request:
    """What can wait."""

    order: int
    priority: RequestPriority = NORMAL
    done: bool = False


priorities = st.sampled_from(RequestPriority)


def queue_of(*requests):
    queue = RequestQueue()
    for request in requests:
        queue.enqueue(request)
    return queue


def emptied(queue):
    taken = []
    while (request := queue.dequeue()) is not None:
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
    assert len(queue) == 0


class QueueMachine(RuleBasedStateMachine):
    """Requests come, leave, come back, end and become more urgent; the model is a list."""

    def __init__(self):
        super().__init__()
        self.queue = RequestQueue()
        self.inside, self.outside = [], []
        self.arrived = 0

    def expected(self):
        waiting = [request for request in self.inside if not request.done]
        return sorted(waiting, key=lambda request: (-request.priority, request.order))

    @rule(priority=priorities)
    def arrive(self, priority):
        request = Request(self.arrived, priority)
        self.arrived += 1
        self.queue.enqueue(request)
        self.inside.append(request)

    @rule()
    def leave(self):
        expected = self.expected()
        taken = self.queue.dequeue()
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
        self.queue.purge()
        self.inside = self.expected()
        assert len(self.queue) == len(self.inside)

    @rule()
    def be_drained(self):
        expected = self.expected()
        assert self.queue.drain() == expected
        self.outside += expected
        self.inside = []

    @invariant()
    def the_next_one_is_the_model_s(self):
        expected = self.expected()
        assert self.queue.peek() is (expected[0] if expected else None)


TestQueue = QueueMachine.TestCase


def test_who_comes_back_gets_its_old_place():
    """A refused reservation does not send a request to the end of the line."""
    first, second, third = (Request(order) for order in range(3))
    queue = queue_of(first, second, third)
    assert queue.dequeue() is first
    queue.enqueue(first)
    assert emptied(queue) == [first, second, third]


def test_a_promoted_request_moves_up_with_the_next_purge():
    """Its new priority counts, and its age among its new equals."""
    old, urgent, plain = Request(0), Request(1, HIGH), Request(2)
    queue = queue_of(old, urgent, plain)
    plain.priority = CRITICAL
    old.priority = HIGH
    queue.purge()
    assert emptied(queue) == [plain, old, urgent]


def test_what_was_looked_at_is_taken_out_even_if_it_is_done_since():
    """It ends on another thread between the look and the take; the next one stays."""
    first, second = Request(0), Request(1)
    queue = queue_of(first, second)
    assert queue.peek() is first
    first.done = True
    assert queue.take() is first
    assert emptied(queue) == [second]


def test_looking_at_the_queue_takes_nothing_out_but_the_dead():
    """Peek is repeatable, and lets go of what is done."""
    gone, here = Request(0), Request(1)
    queue = queue_of(gone, here)
    gone.done = True
    assert queue.peek() is here
    assert queue.peek() is here
    assert len(queue) == 1
