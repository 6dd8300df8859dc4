"""Who goes on next: the one source of nondeterminism in a simulation, drawn from a seed or by Hypothesis."""

from __future__ import annotations

import random
from typing import Any, Protocol

DRAWN = 400
"""So many choices Hypothesis makes; after those the first candidate goes on, so that a long run stays small."""


class Schedule(Protocol):
    """Makes choices."""

    def choose(self, candidates: int) -> int:
        """One of 0 .. candidates - 1; asked only when there are at least two."""


class SeededSchedule:
    """A random walk."""

    def __init__(self, rng: random.Random) -> None:
        self._random = rng.random

    def choose(self, candidates: int) -> int:
        """Each with the same chance."""
        return int(self._random() * candidates)


class DrawnSchedule:
    """Hypothesis chooses, so that a failing schedule shrinks towards first in, first out.

    Args:
        data: what `hypothesis.strategies.data()` gives a test.
        limit: how many choices it makes.
    """

    def __init__(self, data: Any, limit: int = DRAWN) -> None:
        from hypothesis import strategies

        self._data = data
        self._integers = strategies.integers
        self._left = limit

    def choose(self, candidates: int) -> int:
        """As drawn."""
        if self._left == 0:
            return 0
        self._left -= 1
        chosen: int = self._data.draw(self._integers(0, candidates - 1))
        return chosen
