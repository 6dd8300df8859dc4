"""A backend slot: what outlives the incarnations of a backend's actor and of the supervisor."""

from __future__ import annotations

import random

from pykka import ActorDeadError

from showcaller.actors.attempt import AttemptRecord
from showcaller.actors.backend_config import BackendConfig
from showcaller.actors.enums import BackendState, CircuitState
from showcaller.actors.kernel.child import Child, ChildState
from showcaller.actors.kernel.workers import Workers
from showcaller.actors.messages import DrainBackend, Execute, Key
from showcaller.actors.policies.backend_latency import BackendLatency
from showcaller.actors.policies.circuit_breaker import BreakerSettings, CircuitBreaker
from showcaller.actors.policies.slow_start import warmth
from showcaller.actors.probe import Probe
from showcaller.actors.transport import Transport


class BackendSlot:
    """One backend: its configuration, its transport and seats, and what is known of it.

    Only the supervisor changes it; `runtime.status()` reads it. A name that is added again is a new slot.

    Attributes:
        id: tells it from an earlier slot of the same name; `number` is unique in the runtime.
        in_flight: the attempts that were given to it and whose seats are not free again.
        not_before: nothing may be sent earlier, because the backend said so; `quota_until`: because its limits do.
        draining, retired: takes nothing new, for now or for good.
        abandoned: seats that hang and are not counted on.
        drains: who waits for it to be empty; `drain_cancelled` attempts had to be cancelled for that.
        health: what the health monitor said last, and `success_rate` of which share of successes.
        warming_since: when it came back the last time, from which on it starts slowly; None: it was never away.
        pardoned: has its breaker closed since what it is called UNHEALTHY for, and has it not failed again?
        probe: the last that was begun.
        latency: how quick it is, as far as its attempts have shown.
    """

    def __init__(
        self,
        config: BackendConfig,
        transport: Transport,
        workers: Workers,
        *,
        number: int,
        breaker: BreakerSettings,
        rng: random.Random,
    ) -> None:
        self.config = config
        self.transport = transport
        self.workers = workers
        self.breaker = CircuitBreaker(breaker, rng=rng)
        self.child: Child | None = None
        self.in_flight: dict[Key, AttemptRecord] = {}
        self.not_before = 0.0
        self.quota_until = 0.0
        self.draining = False
        self.retired = False
        self.abandoned: set[Key] = set()
        self.drains: list[DrainBackend] = []
        self.drain_cancelled = 0
        self.health = BackendState.UNKNOWN
        self.success_rate = 1.0
        self.pardoned = False
        self.warming_since: float | None = None
        self.probe: Probe | None = None
        self.latency = BackendLatency()
        self.id = f"backend:{config.name}@{number}"

    @property
    def name(self) -> str:
        """The backend's name."""
        return self.config.name

    def is_eligible(self, now: float) -> bool:
        """May an attempt be given to it now?"""
        return self.has_seat and now >= self.quota_until and self._is_open(now)

    def is_full(self, now: float) -> bool:
        """Is there nothing against it but that it has as much to do as it may?"""
        return not (self.has_seat and now >= self.quota_until) and self._is_open(now)

    def _is_open(self, now: float) -> bool:
        return self._answers(now) and not self.breaker.is_open(now)

    def _answers(self, now: float) -> bool:
        """Is it there, in service, and not asked for a pause?"""
        return (
            self.child is not None
            and self.child.state is ChildState.RUNNING
            and now >= self.not_before
            and self.out_of_service is None
        )

    def is_unwell(self, now: float) -> bool:
        """Is there reason to leave it out? Not of the one attempt by which its breaker finds out about it."""
        return (
            self.health is BackendState.UNHEALTHY
            and not self.pardoned
            and self.breaker.state(now) is CircuitState.CLOSED
        )

    @property
    def has_seat(self) -> bool:
        """Is one of its seats free, as far as is known here?"""
        probing = self.probe is not None and self.probe.in_the_way
        return len(self.in_flight) + probing < self.config.max_parallel_requests

    def takes_probe(self, now: float) -> bool:
        """May it be probed now? Not at the cost of a seat that it has not, and whatever its breaker says."""
        return self.has_seat and (self.probe is None or self.probe.done) and self._answers(now)

    def warm_up(self, now: float) -> None:
        """It has come back: it starts slowly from now on."""
        self.warming_since = now

    def warmth(self, now: float, window: float) -> float:
        """Which part of its weight counts now, on a route where it starts slowly for so many seconds."""
        return 1.0 if self.warming_since is None else warmth(now - self.warming_since, window)

    @property
    def generation(self) -> int:
        """Which incarnation of its actor is running, or was the last."""
        return 0 if self.child is None else self.child.generation

    def takes(self, record: AttemptRecord, now: float) -> bool:
        """May an attempt that was meant for one incarnation, and one stay of its breaker, still be given to it?"""
        child = self.child
        return (
            not self.draining
            and not self.retired
            and now >= self.not_before
            and record.epoch == self.breaker.epoch
            and child is not None
            and child.state is ChildState.RUNNING
            and child.generation == record.generation
        )

    def tell(self, message: Execute) -> None:
        """Tell its actor.

        Raises:
            ActorDeadError: it has ended, and its Down is on the way.
        """
        ref = None if self.child is None else self.child.address.ref
        if ref is None:
            raise ActorDeadError(f"{self.id} is not running")
        ref.tell(message)

    def next_chance(self, now: float) -> float | None:
        """When it may be eligible again by the passing of time alone; None: not by that, or it is now."""
        later = max(self.not_before, self.quota_until, self.breaker.open_until or 0.0)
        return later if later > now and not self.draining and not self.retired else None

    @property
    def out_of_service(self) -> str | None:
        """Why nothing can be sent to it, when no time is known at which that changes; else None."""
        if self.retired:
            return "retired by its provider"
        if not self.config.enabled:
            return "disabled"
        if self.child is not None and self.child.state is ChildState.FAILED:
            return "failed: its actor crashed too often"
        if self.draining:
            return "draining"
        if len(self.abandoned) >= self.config.max_parallel_requests:
            return "all its seats hang"
        return None
