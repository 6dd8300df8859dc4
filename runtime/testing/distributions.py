"""How long things take in a simulation: distributions of seconds, drawn from a seeded source."""

from __future__ import annotations

import math
import random
from typing import Protocol

from attrs import field, frozen

from showcaller.actors.validators import number

_SECONDS = "use seconds, 0 or more"


class Distribution(Protocol):
    """Draws seconds."""

    def draw(self, rng: random.Random) -> float:
        """One value, 0 or more."""


@frozen
class Constant:
    """Always the same."""

    seconds: float = field(validator=number(_SECONDS, least=0))

    def draw(self, rng: random.Random) -> float:
        """One value."""
        return self.seconds


@frozen
class Lognormal:
    """What latencies of services look like: a median, and a tail to the right that `sigma` makes heavier."""

    median: float = field(validator=number(_SECONDS, above=0))
    sigma: float = field(default=0.5, validator=number("use a number, 0 or more", least=0))

    def draw(self, rng: random.Random) -> float:
        """One value."""
        return rng.lognormvariate(math.log(self.median), self.sigma)


@frozen
class HeavyTail:
    """Pareto: never less than `least`, and now and then a hundred times that; smaller `alpha`, more often."""

    least: float = field(validator=number(_SECONDS, above=0))
    alpha: float = field(default=1.5, validator=number("use a number greater than 0", above=0))
    most: float = field(default=3600.0, validator=number(_SECONDS, above=0))

    def draw(self, rng: random.Random) -> float:
        """One value."""
        return min(self.most, self.least * rng.paretovariate(self.alpha))


@frozen
class Scaled:
    """Another distribution, so many times as slow."""

    of: Distribution
    factor: float = field(validator=number("use a number greater than 0", above=0))

    def draw(self, rng: random.Random) -> float:
        """One value."""
        return self.of.draw(rng) * self.factor
