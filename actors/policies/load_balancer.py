"""Chooses a backend of a route: in turn, by load, by weight, in order, by latency, or as a strategy of the user's says.

WEIGHTED is nginx's smooth weighted round robin: exact over a full cycle, and never bunched. LEAST_LATENCY is
Finagle's: the latency times what would be in flight; who is not known yet gets one attempt and no second.
Of the weight of a backend that starts slowly a part counts; in ROUND_ROBIN it lets the rest of its turns pass.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Container, Mapping
from typing import TYPE_CHECKING

from showcaller.actors.enums import LoadBalanceStrategy
from showcaller.actors.errors import ConfigurationError
from showcaller.actors.strategy import Candidate, Strategy
from showcaller.actors.validators import shown

if TYPE_CHECKING:
    import random

ROUNDING = 1e-9
"""A turn that lacks no more than this is a whole one: ten tenths are 1."""


class Connections:
    """The attempts in flight at each backend: the one counter, shared by the balancers of all routes."""

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}

    def __getitem__(self, backend: str) -> int:
        return self._counts.get(backend, 0)

    def start(self, backend: str) -> None:
        """One more."""
        self._counts[backend] = self[backend] + 1

    def end(self, backend: str) -> None:
        """One less.

        Raises:
            ValueError: there was none.
        """
        count = self[backend]
        if count == 0:
            raise ValueError(f"{backend} has no connection that could end")
        if count == 1:
            del self._counts[backend]
        else:
            self._counts[backend] = count - 1


class LoadBalancer:
    """The backends of one route, and whose turn it is.

    Args:
        strategy: how to choose; one of ours, or the user's own.
        rng: breaks ties, so that the first backend does not get them all.
        connections: shared with the balancers of other routes; by default its own.
    """

    def __init__(
        self,
        strategy: LoadBalanceStrategy | Strategy,
        *,
        rng: random.Random,
        connections: Connections | None = None,
    ) -> None:
        self.strategy = strategy
        self.connections = Connections() if connections is None else connections
        self._rng = rng
        self._weights: dict[str, float] = {}
        self._shares: Mapping[str, float] = self._weights
        self._credits: dict[str, float] = {}
        self._served: dict[str, int] = {}
        self._turn = 0
        self._order = 0

    @property
    def backends(self) -> tuple[str, ...]:
        """The names, in the order of their adding."""
        return tuple(self._weights)

    def add_backend(self, name: str, weight: float = 1.0) -> None:
        """Add a backend at the end, or change the weight of one that is there.

        Raises:
            ValueError: the weight is not a finite number greater than 0.
        """
        if not 0 < weight < math.inf:
            raise ValueError(f"weight of {name!r} is {weight!r}; use a finite number greater than 0")
        self._weights[name] = weight
        self._credits.setdefault(name, 0.0)
        self._served.setdefault(name, self._order)

    def remove_backend(self, name: str) -> None:
        """Take a backend out; no error when it is not there."""
        self._weights.pop(name, None)
        self._credits.pop(name, None)
        self._served.pop(name, None)

    def next(
        self,
        eligible: Container[str] | None = None,
        *,
        latency: Callable[[str], float | None] = lambda backend: None,
        warmth: Mapping[str, float] | None = None,
    ) -> str | None:
        """Whose turn it is among the eligible, or None when no one is.

        Args:
            eligible: the backends that may be chosen; None: all.
            latency: how long a backend takes, in any unit; None: not known.
            warmth: which part of their weight counts, above 0 and up to 1, of those that start slowly.

        Raises:
            ConfigurationError: a strategy of the user's raised or returned what is no candidate.
        """
        names = [name for name in self._weights if eligible is None or name in eligible]
        if not names:
            return None
        self._shares = (
            {name: self._weights[name] * warmth.get(name, 1.0) for name in names} if warmth else self._weights
        )
        chosen = self._choose(names, latency)
        self._turn += 1
        self._serve(chosen)
        return chosen

    def _serve(self, name: str) -> None:
        self._order += 1
        self._served[name] = self._order

    def _choose(self, names: list[str], latency: Callable[[str], float | None]) -> str:
        strategy = self.strategy
        if not isinstance(strategy, LoadBalanceStrategy):
            return self._ask(strategy, names, latency)
        match strategy:
            case LoadBalanceStrategy.ROUND_ROBIN:
                return self._next_in_turn(names)
            case LoadBalanceStrategy.LEAST_CONNECTIONS:
                return self._least(
                    {name: (self.connections[name] + 1) / self._shares[name] for name in names}
                )
            case LoadBalanceStrategy.WEIGHTED:
                for name in names:
                    self._credits[name] += self._shares[name]
                chosen = max(names, key=self._credits.__getitem__)
                self._credits[chosen] -= sum(self._shares[name] for name in names)
                return chosen
            case LoadBalanceStrategy.FAILOVER:
                return names[0]
            case LoadBalanceStrategy.LEAST_LATENCY:  # pragma: no branch - mypy knows that there is no other
                return self._least({name: self._cost(name, latency(name)) for name in names})

    def _next_in_turn(self, names: list[str]) -> str:
        parts = {name: self._shares[name] / self._weights[name] for name in names}
        # Of the warmest among them: who is all alone, or as cold as the others, lets no turn pass.
        whole = max(parts.values())
        while True:
            name = min(names, key=self._served.__getitem__)
            self._credits[name] += parts[name] / whole
            if self._credits[name] >= 1.0 - ROUNDING:
                self._credits[name] -= 1.0
                return name
            self._serve(name)

    def _least(self, loads: Mapping[str, float | tuple[bool, float]]) -> str:
        least = min(loads.values())
        return self._rng.choice([name for name, load in loads.items() if load == least])

    def _cost(self, name: str, latency: float | None) -> tuple[bool, float]:
        """The less, the better; whose first attempt is still under way comes after everyone who is known."""
        pending = self.connections[name]
        if latency is None:
            return pending > 0, pending / self._shares[name]
        return False, latency * (pending + 1) / self._shares[name]

    def _ask(self, strategy: Strategy, names: list[str], latency: Callable[[str], float | None]) -> str:
        candidates = tuple(
            Candidate(
                name=name,
                weight=self._shares[name],
                in_flight=self.connections[name],
                latency=latency(name),
            )
            for name in names
        )
        name = type(strategy).__name__
        try:
            chosen = strategy.choose(candidates, self._rng)
            if chosen in names:
                return names[names.index(chosen)]
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            raise ConfigurationError(
                f"the routing_strategy {name} raised {shown(error)}; it must return the name of one of its candidates"
            ) from error
        raise ConfigurationError(
            f"the routing_strategy {name} returned {shown(chosen)}; use one of {', '.join(names)}"
        )

    def mark_connection_start(self, name: str) -> None:
        """An attempt has been given to the backend."""
        self.connections.start(name)

    def mark_connection_end(self, name: str) -> None:
        """An attempt has come back from the backend.

        Raises:
            ValueError: none was out.
        """
        self.connections.end(name)
