"""A caller of a simulated runtime that sends its requests by a batcher, and what became of them."""

from __future__ import annotations

from attrs import frozen

from showcaller.runtime.batcher import Batcher
from showcaller.runtime.pending import Pending


@frozen(eq=False)
class Added:
    """One request: when it was added, its deadline, both in seconds of the clock, and its answer to come."""

    at: float
    deadline: float
    pending: Pending


class Batching:
    """One batcher and what was added to it.

    Attributes:
        batcher: it.
        added: what it has taken, in order.
    """

    def __init__(self, batcher: Batcher) -> None:
        self.batcher = batcher
        self.added: list[Added] = []

    def add(self) -> None:
        """Add one request.

        Raises:
            ShowcallerError: it was refused.
        """
        clock = self.batcher._clock
        pending = self.batcher.add(f"number {len(self.added) + 1}", temperature=1.0)
        self.added.append(Added(clock.now(), clock.now() + self.batcher._timeout, pending))
