"""The queue of waiting requests: the most urgent first, then the oldest."""

from __future__ import annotations

import heapq
from typing import Generic, Protocol, TypeVar

from showcaller.actors.enums import RequestPriority


class Queued(Protocol):
    """What can wait: its priority, its place among equals, and whether it still wants to be served."""

    @property
    def priority(self) -> RequestPriority:
        """How urgent it is."""

    @property
    def order(self) -> int:
        """When it was accepted: the smaller, the earlier."""

    @property
    def done(self) -> bool:
        """Has it got its outcome meanwhile?"""


Item = TypeVar("Item", bound=Queued)


class RequestQueue(Generic[Item]):
    """Waiting requests. Those that are done leave it unserved.

    A request that comes back, because its reservation was refused or its attempt failed, gets its old
    place among its equals.
    """

    def __init__(self) -> None:
        self._heap: list[tuple[int, int, Item]] = []

    def __len__(self) -> int:
        return len(self._heap)

    def enqueue(self, item: Item) -> None:
        """Add a request at the place that its priority and age give it."""
        heapq.heappush(self._heap, (-item.priority, item.order, item))

    def peek(self) -> Item | None:
        """The next request that still wants to be served, or None."""
        while self._heap and self._heap[0][2].done:
            heapq.heappop(self._heap)
        return self._heap[0][2] if self._heap else None

    def dequeue(self) -> Item | None:
        """Take out the next request that still wants to be served, or None."""
        item = self.peek()
        if item is not None:
            heapq.heappop(self._heap)
        return item

    def take(self) -> Item:
        """Take out what `peek` has just returned, even if it has got its outcome since, on another thread."""
        return heapq.heappop(self._heap)[2]

    def purge(self) -> None:
        """Let go of those that are done, and put the others where their priority belongs now."""
        items = [item for _, _, item in self._heap if not item.done]
        self._heap = [(-item.priority, item.order, item) for item in items]
        heapq.heapify(self._heap)

    def drain(self) -> list[Item]:
        """Take out all that still want to be served, in order."""
        self.purge()
        items = [entry[2] for entry in sorted(self._heap, key=lambda entry: entry[:2])]
        self._heap.clear()
        return items
