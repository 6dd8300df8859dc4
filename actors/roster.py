"""What the supervisor's next incarnation takes over: slots, names, open flights, and what is owed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from attrs import evolve

from showcaller.actors.configuration import RuntimeConfig
from showcaller.actors.flight_table import FlightTable
from showcaller.actors.outbox import Outbox
from showcaller.actors.policies.retry_budget import RetryBudget
from showcaller.actors.settings import RouteConfig
from showcaller.actors.slot import BackendSlot


class Roster:
    """Changed by the supervisor alone; the edge and `status()` read it, each attribute at once.

    Attributes:
        config: the configuration as it is now, with the backends that were added and without those removed.
        slots: the backend slots by name, in order.
        flights: the open flights.
        outbox: what is owed to the quota manager and the observers.
        retry_budget: what all requests may still spend on retries.
    """

    def __init__(
        self, config: RuntimeConfig, slots: Iterable[BackendSlot], flights: FlightTable, outbox: Outbox
    ) -> None:
        self.config = config
        self.slots: Mapping[str, BackendSlot] = {slot.name: slot for slot in slots}
        self.flights = flights
        self.outbox = outbox
        settings = config.runtime
        self.retry_budget = RetryBudget(share=settings.retry_budget, burst=settings.retry_burst)

    def add(self, slot: BackendSlot) -> None:
        """A slot joins.

        Raises:
            ConfigurationError: its name means something else already.
        """
        self.config = evolve(self.config, backends=(*self.config.backends, slot.config))
        self.slots = {**self.slots, slot.name: slot}

    def remove(self, slot: BackendSlot) -> None:
        """A slot leaves, and with it a route that has no other target, and a default that meant it."""
        self.slots = {name: other for name, other in self.slots.items() if other is not slot}
        routes = []
        for route in self.config.routes:
            targets = tuple(target for target in route.targets if target.backend != slot.name)
            if targets:
                routes.append(evolve(route, targets=targets))
        backends = tuple(backend for backend in self.config.backends if backend.name != slot.name)
        settings = self.config.runtime
        left = evolve(self.config, runtime=evolve(settings, model=None), backends=backends, routes=routes)
        self.config = evolve(left, runtime=settings) if settings.model in left.names else left

    def slots_of(self, route: RouteConfig) -> list[BackendSlot]:
        """The slots of a route's targets, in order."""
        return [self.slots[target.backend] for target in route.targets if target.backend in self.slots]
