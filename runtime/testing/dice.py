"""What random scenarios are drawn with: a seed, or Hypothesis; one vocabulary serves both."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Protocol, TypeVar

T = TypeVar("T")


class Dice(Protocol):
    """Draws values."""

    def pick(self, values: Sequence[T]) -> T:
        """One of them; the first is the simplest."""

    def number(self, least: float, most: float) -> float:
        """A number between two."""

    def whole(self, least: int, most: int) -> int:
        """A whole number between two, both included."""

    def chance(self, share: float) -> bool:
        """True in so many cases of one."""


class SeededDice:
    """Dice that a seed decides."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng

    def pick(self, values: Sequence[T]) -> T:
        """One of them."""
        return values[self._rng.randrange(len(values))]

    def number(self, least: float, most: float) -> float:
        """A number between two, with three digits after the point."""
        return round(self._rng.uniform(least, most), 3)

    def whole(self, least: int, most: int) -> int:
        """A whole number between two."""
        return self._rng.randint(least, most)

    def chance(self, share: float) -> bool:
        """True in so many cases of one."""
        return self._rng.random() < share
