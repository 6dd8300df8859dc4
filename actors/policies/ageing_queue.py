"""The queue of waiting requests: the most urgent first, then the oldest; who waits long becomes more urgent.

A request that has waited for one period of ageing counts as one class higher, after another as two, but never as
CRITICAL: that class is for what somebody has called so.
"""

from __future__ import annotations

import heapq
from typing import Generic, Protocol, TypeVar

from showcaller.actors.enums import RequestPriority

AGEING_SECONDS = 10.0
"""Seconds for which a request waits before it counts as one class higher."""
_HIGH = int(RequestPriority.HIGH)


class Queued(Protocol):
    """What can wait: its priority, its place among equals, and whether it still wants to be served."""

    @property
    def priority(self) -> RequestPriority:
        """How urgent it is."""

    @property
    def order(self) -> int | tuple[float, int]:
        """When it was accepted: the smaller, the earlier; no two have the same."""

    @property
    def since(self) -> float:
        """The same in seconds of the clock."""

    @property
    def done(self) -> bool:
        """Has it got its outcome meanwhile?"""


Item = TypeVar("Item", bound=Queued)


def effective_class(priority: RequestPriority, waited: float, ageing: float = AGEING_SECONDS) -> int:
    """The class that a request counts as after so many seconds."""
    if priority >= _HIGH or waited < ageing:
        return priority
    return min(_HIGH, priority + int(waited / ageing))


class AgeingQueue(Generic[Item]):
    """Waiting requests. Those that are done leave it unserved.

    A request that comes back, because its reservation was refused or its attempt failed, gets its old
    place among its equals.

    Args:
        ageing: seconds a class.
    """

    def __init__(self, ageing: float = AGEING_SECONDS) -> None:
        self._ageing = ageing
        # One heap a class: its first has waited longest, so no other of it can count as a higher one.
        self._heaps: list[list[tuple[int | tuple[float, int], Item]]] = [[] for _ in RequestPriority]
        self._classes = tuple(zip(RequestPriority, self._heaps, strict=True))
        self._first = self._heaps[0]

    def size(self) -> int:
        """How many are in it, with those that are done and were not yet let go."""
        return sum(map(len, self._heaps))

    @property
    def sizes(self) -> tuple[int, ...]:
        """The same by class, LOW first, without regard to age."""
        return tuple(map(len, self._heaps))

    def is_empty(self) -> bool:
        """Is nothing in it?"""
        return not any(self._heaps)

    def enqueue(self, item: Item) -> None:
        """Add a request at the place that its priority and age give it."""
        heapq.heappush(self._heaps[item.priority], (item.order, item))

    def urgency(self, item: Item, now: float) -> tuple[int, int | tuple[float, int]]:
        """A key to sort by: the smaller, the sooner."""
        return -effective_class(item.priority, now - item.since, self._ageing), item.order

    def peek(self, now: float) -> Item | None:
        """The next request that still wants to be served, or None."""
        best: tuple[int, int | tuple[float, int]] | None = None
        first: Item | None = None
        for priority, heap in self._classes:
            if heap:
                order, item = heap[0]
                if item.done or item.priority != priority:
                    self._put_right()
                    return self.peek(now)
                rank = -effective_class(priority, now - item.since, self._ageing), order
                if best is None or rank < best:
                    best, first, self._first = rank, item, heap
        return first

    def _put_right(self) -> None:
        """Let no first of a class hide others that is done, or of another class by now."""
        for priority, heap in self._classes:
            while heap and (heap[0][1].done or heap[0][1].priority != priority):
                order, item = heapq.heappop(heap)
                if not item.done:
                    heapq.heappush(self._heaps[item.priority], (order, item))

    def dequeue(self, now: float) -> Item | None:
        """Take out the next request that still wants to be served, or None."""
        item = self.peek(now)
        return None if item is None else self.take()

    def take(self) -> Item:
        """Take out what `peek` has just returned, even if it has got its outcome since, on another thread."""
        return heapq.heappop(self._first)[1]

    def get_pending(self, now: float) -> list[Item]:
        """All that still want to be served, in the order in which they would be if no time passed."""
        return sorted(self.wanted(), key=lambda item: self.urgency(item, now))

    def drain(self) -> list[Item]:
        """Take out all that still want to be served, in no order."""
        items = self.wanted()
        for heap in self._heaps:
            heap.clear()
        return items

    def wanted(self) -> list[Item]:
        """All that still want to be served, in no order."""
        return [item for heap in self._heaps for _, item in heap if not item.done]
