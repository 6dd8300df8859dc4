"""The tree of actors: what is built from a configuration, and in which order it starts."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from typing import Any

import pykka
from attrs import frozen

from showcaller.actors.analytics import Analytics, UsageTable
from showcaller.actors.arrivals import Arrivals
from showcaller.actors.backend_config import BackendConfig
from showcaller.actors.configuration import RuntimeConfig
from showcaller.actors.deduplicator import Deduplicator
from showcaller.actors.departures import Departures
from showcaller.actors.escalation import OnFailed
from showcaller.actors.fleet import Fleet
from showcaller.actors.flight_table import FlightTable
from showcaller.actors.guardian import Charge, Guardian
from showcaller.actors.health_monitor import HealthBoard, HealthMonitor
from showcaller.actors.kernel.actor import KernelActor
from showcaller.actors.kernel.address import Address
from showcaller.actors.kernel.child import Child
from showcaller.actors.kernel.dispatcher import Dispatcher
from showcaller.actors.kernel.message import Recipient
from showcaller.actors.kernel.restart import RestartIntensity
from showcaller.actors.kernel.system import ActorSystem
from showcaller.actors.outbox import Outbox
from showcaller.actors.policies.circuit_breaker import BreakerSettings
from showcaller.actors.policies.health_window import HealthThresholds
from showcaller.actors.policies.probe_schedule import ProbeSchedule
from showcaller.actors.policies.quota_ledger import QuotaLimits
from showcaller.actors.policies.retry import RetryPolicy
from showcaller.actors.prober import Prober
from showcaller.actors.quota_manager import QuotaBook, QuotaManager
from showcaller.actors.recorder import Recorder, Recordings
from showcaller.actors.roster import Roster
from showcaller.actors.slot import BackendSlot
from showcaller.actors.supervisor import Supervisor
from showcaller.actors.transport import Transport


@frozen
class _Plan:
    slot: str
    actor: type[KernelActor]
    make: Callable[[], tuple[Any, ...]]
    dispatcher: Dispatcher
    essential: bool = False


class Tree:
    """Everything that is in the process for one runtime, except the edge.

    Args:
        system, config, transports: what it is built from.
        on_failed: called, on the shared thread, when an actor has crashed too often; it must neither wait nor raise.

    Attributes:
        guardian: the root, once it is started.
        children: the guardian's children, in the order of their start.
    """

    def __init__(
        self,
        system: ActorSystem,
        config: RuntimeConfig,
        transports: Mapping[str, Transport],
        on_failed: OnFailed = lambda escalation: None,
    ) -> None:
        self.system = system
        self._on_failed = on_failed
        self.config = config
        self._numbers = itertools.count(1)
        self.flights = FlightTable()
        self.health = HealthBoard(HealthThresholds(), system.clock, lambda: self.roster.slots)
        self.quotas = QuotaBook(
            QuotaLimits(
                requests_per_hour=config.quota.requests_per_hour,
                requests_per_day=config.quota.requests_per_day,
            )
        )
        self.recordings = Recordings()
        self.usage = UsageTable()
        self.guardian: pykka.ActorRef[Any] | None = None
        self.children: dict[str, Child] = {}
        self._parent: Address = Address("guardian")
        self._charges: list[Charge] = []
        for plan in self._plans():
            child = self.children[plan.slot] = self._child(plan)
            self._charges.append(Charge(child, plan.essential))
        self.roster = Roster(
            config,
            [self.make_slot(backend, transports[backend.name]) for backend in config.backends],
            self.flights,
            Outbox(
                self.address("quota_manager"),
                [self.address(name) for name in ("health_monitor", "recorder", "analytics")],
            ),
        )

    def address(self, slot: str) -> Address:
        """Where one of the guardian's children is reached."""
        return self.children[slot].address

    def make_slot(self, config: BackendConfig, transport: Transport) -> BackendSlot:
        """A slot for a backend, with its seats and its account."""
        self.quotas.open(config.name, QuotaLimits(rpm=config.rate_limit_rpm, tpm=config.rate_limit_tpm))
        return BackendSlot(
            config,
            transport,
            self.system.workers(config.name, config.max_parallel_requests),
            number=next(self._numbers),
            breaker=self._breaker_of(config.name),
            rng=self.system.rng,
        )

    def _breaker_of(self, backend: str) -> BreakerSettings:
        """The first route that has the backend says when its breaker opens."""
        for route in self.config.routes:
            if any(target.backend == backend for target in route.targets):
                failures, usual = route.allowed_fails, BreakerSettings()
                return BreakerSettings(
                    failures=failures,
                    # Who lets more fail in a row does not want fewer to count.
                    min_results=max(usual.min_results, failures),
                    open_time=route.cooldown_time,
                )
        return BreakerSettings()

    def _plans(self) -> list[_Plan]:
        shared, pinned = self.system.shared, self.system.pinned
        clock = self.system.clock

        def supervisor() -> tuple[Any, ...]:
            me = self.address("supervisor")
            settings = self.config.runtime
            fleet = Fleet(
                self.system,
                self.roster,
                me,
                intensity=RestartIntensity(),
                reader_timeout=settings.reader_timeout,
                on_failed=self._on_failed,
            )
            departures = Departures(self.system, self.roster, self.address("quota_manager"))
            arrivals = Arrivals(
                self.system,
                self.roster,
                departures,
                supervisor=me,
                retries=RetryPolicy(num_retries=settings.num_retries),
            )
            prober = Prober(
                self.system,
                self.roster,
                me,
                self.address("health_monitor"),
                timeout=self.config.health.probe_timeout,
            )
            return self.system, self.roster, departures, arrivals, fleet, prober, me

        def health_monitor() -> tuple[Any, ...]:
            interval = self.config.health.probe_interval
            probes = None if interval is None else ProbeSchedule(interval, self.system.rng)
            return self.health, clock, self.address("supervisor"), self.address("health_monitor"), probes

        return [
            _Plan("recorder", Recorder, lambda: (self.recordings,), pinned),
            _Plan("analytics", Analytics, lambda: (self.usage,), pinned),
            _Plan("health_monitor", HealthMonitor, health_monitor, shared),
            _Plan(
                "quota_manager",
                QuotaManager,
                lambda: (self.quotas, clock, self.address("supervisor")),
                shared,
                essential=True,
            ),
            _Plan("supervisor", Supervisor, supervisor, shared, essential=True),
            _Plan(
                "deduplicator", Deduplicator, lambda: (self.address("supervisor"),), shared, essential=True
            ),
        ]

    def _child(self, plan: _Plan) -> Child:
        def start(generation: int) -> pykka.ActorRef[Any] | None:
            return self.system.spawn(
                plan.actor,
                *plan.make(),
                slot=plan.slot,
                parent=self._parent,
                generation=generation,
                dispatcher=plan.dispatcher,
            )

        return Child(self.system, plan.slot, start, self._parent, RestartIntensity())

    def start(self, runtime: Recipient) -> None:
        """Start the guardian, which starts the rest.

        Args:
            runtime: who is told of the guardian's own end, and of what it cannot mend.
        """
        self.guardian = self.system.spawn(
            Guardian,
            self._charges,
            runtime,
            self.system.clock,
            self._on_failed,
            slot="guardian",
            parent=runtime,
        )
        if self.guardian is not None:
            self._parent.occupy(self.guardian)
