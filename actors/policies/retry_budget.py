"""The retry budget: what all requests together may spend on second attempts, as a token bucket.

Without one, retries multiply the load on backends that fail because of their load, and keep them failing
after its cause is gone (a metastable failure). Numbers of retries for each request do not prevent that.
"""

from __future__ import annotations

PER_SECOND = 1.0
"""Tokens that come with time alone, so that little traffic is retried too (Finagle's minRetriesPerSec)."""
ROUNDING = 1e-9
"""Of a token: ten tenths are not quite a whole in floats."""


class RetryBudget:
    """One for the whole runtime. It begins full.

    Args:
        share: tokens that each request's first attempt brings; 0.1 are retries of 10 % of the requests.
        burst: tokens that it holds at most. 100 are what botocore's retry quota and Finagle's budget hold (500
            at 5 a retry; 10 a second for 10 s): every seat of a backend that dies may go elsewhere at once.
    """

    def __init__(self, *, share: float = 0.1, burst: float = 100.0) -> None:
        self._share = share
        self._burst = float(burst)
        self._level = self._burst
        self._at = 0.0

    def level(self, now: float) -> float:
        """Tokens that are there."""
        return min(self._burst, self._level + max(0.0, now - self._at) * PER_SECOND)

    def can_pay(self, now: float) -> bool:
        """Is there a token for a retry?"""
        return self.level(now) >= 1.0 - ROUNDING

    def deposit(self, now: float) -> None:
        """A request makes its first attempt."""
        self._set(min(self._burst, self.level(now) + self._share), now)

    def withdraw(self, now: float) -> None:
        """A retry takes a token.

        Raises:
            ValueError: there is none.
        """
        if not self.can_pay(now):
            raise ValueError("the retry budget is used up; ask can_pay first")
        self._set(max(0.0, self.level(now) - 1.0), now)

    def _set(self, level: float, now: float) -> None:
        self._level, self._at = level, max(self._at, now)
