"""A backend slot: what outlives the incarnations of a backend's actor and of the supervisor."""

from __future__ import annotations

import random

from pykka import ActorDeadError

from showcaller.actors.enums import BackendState
from showcaller.actors.flight import AttemptRecord
from showcaller.actors.kernel.child import Child, ChildState
from showcaller.actors.kernel.workers import Workers
from showcaller.actors.messages import DrainBackend, Execute, Key
from showcaller.actors.policies.backend_latency import BackendLatency
from showcaller.actors.policies.circuit_breaker import BreakerSettings, CircuitBreaker
from showcaller.actors.settings import BackendConfig
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
        health: what the health monitor said last.
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
        self.latency = BackendLatency()
        self.id = f"backend:{config.name}@{number}"

    @property
    def name(self) -> str:
        """The backend's name."""
        return self.config.name

    def is_eligible(self, now: float) -> bool:
        """May an attempt be given to it now?"""
        return (
            self.child is not None
            and self.child.state is ChildState.RUNNING
            and not self.draining
            and not self.retired
            and now >= self.not_before
            and now >= self.quota_until
            and len(self.in_flight) < self.config.max_parallel_requests
            and len(self.abandoned) < self.config.max_parallel_requests
            and not self.breaker.is_open(now)
        )

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
        times = [self.not_before, self.quota_until, self.breaker.open_until or 0.0]
        later = max(times)
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
