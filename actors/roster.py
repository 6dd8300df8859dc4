"""What the supervisor's next incarnation takes over: slots, names, open flights, and what is owed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from attrs import evolve

from showcaller.actors.configuration import RuntimeConfig
from showcaller.actors.enums import RequestPriority
from showcaller.actors.flight_table import FlightTable
from showcaller.actors.outbox import Outbox
from showcaller.actors.policies.admission import Outlook
from showcaller.actors.policies.retry_budget import RetryBudget
from showcaller.actors.route_config import RouteConfig
from showcaller.actors.slot import BackendSlot


class Roster:
    """Changed by the supervisor alone; the edge and `status()` read it, each attribute at once.

    Attributes:
        config: the configuration as it is now, with the backends that were added and without those removed.
        slots: the backend slots by name, in order.
        flights: the open flights.
        outbox: what is owed to the quota manager and the observers.
        retry_budget: what all requests may still spend on retries.
        outlooks: what who comes now can expect, by lane; a lane for which nobody waits is not there.
        waiting: how many are queued, by class, LOW first.
    """

    def __init__(
        self, config: RuntimeConfig, slots: Iterable[BackendSlot], flights: FlightTable, outbox: Outbox
    ) -> None:
        self.config = config
        self.slots: Mapping[str, BackendSlot] = {slot.name: slot for slot in slots}
        self.flights = flights
        self.outbox = outbox
        self.outlooks: Mapping[str, Outlook] = {}
        self.waiting = (0,) * len(RequestPriority)
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
        """A slot leaves, and with it all that meant it alone; see RuntimeConfig.without."""
        self.slots = {name: other for name, other in self.slots.items() if other is not slot}
        self.config = self.config.without(slot.name)

    def slots_of(self, route: RouteConfig) -> list[BackendSlot]:
        """The slots of a route's targets, in order."""
        return [self.slots[target.backend] for target in route.targets if target.backend in self.slots]
