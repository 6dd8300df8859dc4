"""How a route chooses when the user says so: a strategy of one's own, and what it is given to choose from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from attrs import frozen

if TYPE_CHECKING:
    import random


@frozen(kw_only=True)
class Candidate:
    """A backend that an attempt may be given to now.

    Attributes:
        name: of the backend.
        weight: its share on this route; less while it starts slowly.
        in_flight: attempts that it carries out now, for all routes.
        latency: seconds that it takes, as LEAST_LATENCY judges it: to the first token of a stream, or for a token
            of a plain answer; None when nothing is known of it.
    """

    name: str
    weight: float
    in_flight: int
    latency: float | None


class Strategy(Protocol):
    """Chooses a backend; an instance may be given as `RouteConfig(routing_strategy=…)`.

    It runs on the thread that everything shares: it must be pure and quick. No I/O, no locks, no sleeping, no
    clock, and no randomness but `rng`, so that a simulation repeats it. When it raises, or returns what is no
    candidate, the request that it was asked for fails with a ConfigurationError that names it, and no other does.
    """

    def choose(self, candidates: Sequence[Candidate], rng: random.Random) -> str:
        """The name of one of the candidates.

        Args:
            candidates: at least one, in the order of the route's targets.
            rng: the runtime's source of randomness.
        """
