"""Chooses a backend of a route: round robin, least connections, smooth weighted, or failover in order.

WEIGHTED is nginx's smooth weighted round robin: exact over a full cycle, and never bunched.
"""

from __future__ import annotations

import math
from collections.abc import Container
from typing import TYPE_CHECKING

from showcaller.actors.enums import LoadBalanceStrategy

if TYPE_CHECKING:
    import random


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
        strategy: how to choose.
        rng: breaks ties, so that the first backend does not get them all.
        connections: shared with the balancers of other routes; by default its own.
    """

    def __init__(
        self,
        strategy: LoadBalanceStrategy,
        *,
        rng: random.Random,
        connections: Connections | None = None,
    ) -> None:
        self.strategy = strategy
        self.connections = Connections() if connections is None else connections
        self._rng = rng
        self._weights: dict[str, float] = {}
        self._credits: dict[str, float] = {}
        self._served: dict[str, int] = {}
        self._turn = 0

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
        self._served.setdefault(name, self._turn)

    def remove_backend(self, name: str) -> None:
        """Take a backend out; no error when it is not there."""
        self._weights.pop(name, None)
        self._credits.pop(name, None)
        self._served.pop(name, None)

    def next(self, eligible: Container[str] | None = None) -> str | None:
        """Whose turn it is among the eligible, or None when no one is.

        Args:
            eligible: the backends that may be chosen; None: all.
        """
        names = [name for name in self._weights if eligible is None or name in eligible]
        if not names:
            return None
        chosen = self._choose(names)
        self._turn += 1
        self._served[chosen] = self._turn
        return chosen

    def _choose(self, names: list[str]) -> str:
        match self.strategy:
            case LoadBalanceStrategy.ROUND_ROBIN:
                return min(names, key=self._served.__getitem__)
            case LoadBalanceStrategy.LEAST_CONNECTIONS:
                loads = {name: (self.connections[name] + 1) / self._weights[name] for name in names}
                least = min(loads.values())
                return self._rng.choice([name for name in names if loads[name] == least])
            case LoadBalanceStrategy.WEIGHTED:
                for name in names:
                    self._credits[name] += self._weights[name]
                chosen = max(names, key=self._credits.__getitem__)
                self._credits[chosen] -= sum(self._weights[name] for name in names)
                return chosen
            case LoadBalanceStrategy.FAILOVER:  # pragma: no branch - mypy knows that there is no other
                return names[0]

    def mark_connection_start(self, name: str) -> None:
        """An attempt has been given to the backend."""
        self.connections.start(name)

    def mark_connection_end(self, name: str) -> None:
        """An attempt has come back from the backend.

        Raises:
            ValueError: none was out.
        """
        self.connections.end(name)
