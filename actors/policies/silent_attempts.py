"""The attempts that were sent to a backend and have shown nothing yet: how long the oldest of them has been silent.

One that has spoken meanwhile is let go of at the next look, so that nobody need tell of it and no look is a search.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from typing import Protocol


class Silent(Protocol):
    """What is waited for."""

    @property
    def key(self) -> Hashable:
        """Its name; no two have the same."""

    @property
    def is_silent(self) -> bool:
        """Was it sent, and has it shown nothing? Who has spoken once is never silent again."""


class SilentAttempts:
    """In the order of their sending."""

    def __init__(self) -> None:
        self._sent: OrderedDict[Hashable, tuple[Silent, float]] = OrderedDict()

    def sent(self, attempt: Silent, now: float) -> None:
        """One more."""
        self._sent[attempt.key] = attempt, now

    def ended(self, attempt: Silent) -> None:
        """It has ended, whether it has spoken or not; no error when it was not sent."""
        self._sent.pop(attempt.key, None)

    def longest(self, now: float) -> float:
        """Seconds that the oldest has been silent; 0 when none is."""
        while self._sent:
            attempt, at = next(iter(self._sent.values()))
            if attempt.is_silent:
                return now - at
            self._sent.popitem(last=False)
        return 0.0
