"""How quick a backend was at its best of late: what no request can hope to undercut by much.

It serves to refuse what is hopeless, and so it errs on one side only: without fresh evidence it knows nothing.
"""

from __future__ import annotations

from collections import deque
from operator import itemgetter

FRESH = 10.0
"""Seconds for which an answer is evidence. Who refuses because of it gets no new one, and must try again then."""
LEAST = 3
"""So many answers are evidence, and fewer are not."""
MARGIN = 0.5
"""What comes may be quicker than anything that was seen, but hardly in half of its time."""


class QuickestAnswer:
    """The least of some seconds, over the last of them."""

    def __init__(self) -> None:
        self._seen: deque[tuple[float, float]] = deque(maxlen=64)

    def observe(self, seconds: float, now: float) -> None:
        """Something took so long."""
        self._seen.append((now, seconds))

    def may_take(self, seconds: float) -> bool:
        """Does the last one alone show that `least` is no more than that, if it is known at all?"""
        return bool(self._seen) and MARGIN * self._seen[-1][1] <= seconds

    def least(self, now: float) -> float | None:
        """Seconds that it takes at least, by all that is known; None when that is nothing."""
        while self._seen and now - self._seen[0][0] > FRESH:
            self._seen.popleft()
        if len(self._seen) < LEAST:
            return None
        return MARGIN * min(self._seen, key=itemgetter(1))[1]
