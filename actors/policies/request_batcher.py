"""The request batcher: says which requests leave together and when, by number or by age, whichever is first.

It decides and holds; whoever owns it sends. What it holds is bounded, and what it has given out it forgets.
"""

from __future__ import annotations

from collections import deque

from showcaller.actors.errors import OverloadedError
from showcaller.actors.records import BatchRequest
from showcaller.actors.validators import is_number, refuse

MAX_PENDING = 10_000
"""Requests that may wait for a batch; what comes beyond is refused."""


class RequestBatcher:
    """Requests by what names them, in the order of their coming. Not thread-safe; its owner sees to that.

    Args:
        max_size: so many requests are a batch, and no batch has more.
        max_wait: seconds after which the oldest request makes a batch of what there is; 0: at once.
        max_pending: so many may wait; at least max_size.
        name: begins the ids of the batches.

    Raises:
        ConfigurationError: a bound is wrong; the text names it.
    """

    def __init__(
        self,
        max_size: int = 10,
        max_wait: float = 5.0,
        *,
        max_pending: int = MAX_PENDING,
        name: str = "batch",
    ) -> None:
        if type(max_size) is not int or max_size < 1:
            raise refuse("RequestBatcher", "max_size", max_size, "use a whole number, 1 or more")
        if not is_number(max_wait) or max_wait < 0:
            raise refuse("RequestBatcher", "max_wait", max_wait, "use seconds, 0 or more")
        if type(max_pending) is not int or max_pending < max_size:
            raise refuse("RequestBatcher", "max_pending", max_pending, "use a whole number, max_size or more")
        self._max_size = max_size
        self._max_wait = float(max_wait)
        self._max_pending = max_pending
        self._name = name
        self._batches = 0
        self._requests: deque[str] = deque()
        self._times: deque[float] = deque()

    def pending_count(self) -> int:
        """How many requests wait."""
        return len(self._requests)

    def add(self, request: str, now: float) -> None:
        """Let a request wait for its batch.

        Args:
            request: what names it; not empty.
            now: seconds on a clock that only goes forward.

        Raises:
            OverloadedError: max_pending requests wait.
        """
        if len(self._requests) >= self._max_pending:
            raise OverloadedError(
                f"{len(self._requests)} requests wait for a batch, which is max_pending; raise max_concurrency so "
                "that batches leave faster, raise max_pending, or add less at a time"
            )
        self._requests.append(request)
        self._times.append(now)

    def ready_at(self, now: float) -> float | None:
        """When the next batch leaves if nothing else comes: `now` or later; None when nothing waits."""
        if not self._requests:
            return None
        if len(self._requests) >= self._max_size:
            return now
        return max(now, self._times[0] + self._max_wait)

    def is_ready(self, now: float) -> bool:
        """Are there enough for a batch, or has the oldest waited long enough?"""
        at = self.ready_at(now)
        return at is not None and at <= now

    def get_batch(self, now: float, *, flush: bool = False) -> BatchRequest | None:
        """Take out the oldest requests, at most max_size; None when no batch is ready.

        Args:
            now: as for `add`; becomes the batch's `created_at`.
            flush: take what there is, ready or not; None when nothing waits.
        """
        if not self._requests or not (flush or self.is_ready(now)):
            return None
        size = min(self._max_size, len(self._requests))
        self._batches += 1
        for _ in range(size):
            self._times.popleft()
        return BatchRequest(
            requests=tuple(self._requests.popleft() for _ in range(size)),
            batch_id=f"{self._name}-{self._batches}",
            created_at=now,
        )

    def discard(self, request: str) -> bool:
        """Let a request wait no longer, the oldest of that name; False when none does."""
        try:
            place = self._requests.index(request)
        except ValueError:
            return False
        del self._requests[place]
        del self._times[place]
        return True
