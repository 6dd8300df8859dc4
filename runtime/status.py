"""What `runtime.status()` says: a snapshot that is read without waiting for any actor."""

from __future__ import annotations

from collections.abc import Mapping

from attrs import field, frozen

from showcaller.actors.enums import BackendState, CircuitState, RequestPriority
from showcaller.actors.kernel.child import Child
from showcaller.actors.quota_manager import WHOLE_RUNTIME
from showcaller.actors.records import BackendHealthStatus
from showcaller.actors.slot import BackendSlot
from showcaller.runtime.edge import Account
from showcaller.runtime.tree import Tree


@frozen(kw_only=True)
class ActorStatus:
    """One of the tree's actors.

    Attributes:
        name: its slot.
        state: running, restarting, failed, stopping or stopped.
        generation: which incarnation it is.
        restarts: how often it was started again.
        last_crash: what the last crash was, or None.
        next_start_in: seconds until it is started again, or None.
    """

    name: str
    state: str
    generation: int
    restarts: int
    last_crash: str | None
    next_start_in: float | None = None


@frozen(kw_only=True)
class BackendStatus:
    """One backend.

    Attributes:
        name: its name.
        actor: its actor.
        health: what its last attempts say, as of now; RETIRED when its provider has taken it away.
        circuit: its breaker.
        half_open_in: seconds until its open breaker lets a probe through, or None.
        in_flight: attempts at it now, of at most `limit`.
        hanging: seats that were abandoned.
        out_of_service: why it takes nothing, or None.
    """

    name: str
    actor: ActorStatus
    health: BackendState
    circuit: CircuitState
    in_flight: int
    limit: int
    hanging: int
    out_of_service: str | None
    half_open_in: float | None = None


@frozen(kw_only=True)
class RetryBudgetStatus:
    """What all requests together may still spend on retries.

    Attributes:
        left: so many retries, at once.
        burst: so many at most.
    """

    left: float
    burst: float


@frozen(kw_only=True)
class RuntimeStatus:
    """The whole runtime at one moment.

    Attributes:
        account: what the edge has accepted, answered, failed and refused.
        backends: each of them.
        actors: the tree's other actors.
        quotas: what is left, by scope and limit.
        retry_budget: what may be spent on retries now.
        observations_dropped: finished attempts that some observer was too busy to see.
        stuck: what the watchdog says of the shared thread, or None.
        waiting: how many upstream calls are queued, by the priority's name.
    """

    account: Account
    backends: tuple[BackendStatus, ...]
    actors: tuple[ActorStatus, ...]
    quotas: Mapping[str, Mapping[str, int]]
    retry_budget: RetryBudgetStatus
    observations_dropped: int
    stuck: str | None
    waiting: Mapping[str, int] = field(factory=dict)


def take_status(tree: Tree, account: Account, stuck: str | None) -> RuntimeStatus:
    """The status of a tree."""
    clock = tree.system.clock
    now = clock.now()
    slots = tree.roster.slots
    health = tree.health.get_all_status()
    left = tree.quotas.remaining(clock.wall())
    return RuntimeStatus(
        account=account,
        backends=tuple(_backend_status(slot, health.get(slot.name), now) for slot in slots.values()),
        actors=tuple(_actor_status(name, child, now) for name, child in tree.children.items()),
        quotas={scope: limits for scope, limits in left.items() if scope == WHOLE_RUNTIME or scope in slots},
        retry_budget=RetryBudgetStatus(
            left=tree.roster.retry_budget.level(now), burst=float(tree.config.runtime.retry_burst)
        ),
        observations_dropped=sum(child.address.lost for child in tree.children.values()),
        stuck=stuck,
        waiting={one.name.lower(): tree.roster.waiting[one] for one in RequestPriority},
    )


def _seconds_until(at: float | None, now: float) -> float | None:
    return None if at is None else max(0.0, at - now)


def _actor_status(name: str, child: Child, now: float) -> ActorStatus:
    return ActorStatus(
        name=name,
        state=child.state.value,
        generation=child.generation,
        restarts=child.restarts,
        last_crash=child.last_crash,
        next_start_in=_seconds_until(child.next_start, now),
    )


def _backend_status(slot: BackendSlot, health: BackendHealthStatus | None, now: float) -> BackendStatus:
    child = slot.child
    actor = (
        ActorStatus(name=slot.name, state="starting", generation=0, restarts=0, last_crash=None)
        if child is None
        else _actor_status(slot.name, child, now)
    )
    # By the clock, not by what the supervisor was told: it holds when the core is stuck.
    state = BackendState.UNKNOWN if health is None else health.state
    if slot.retired:
        state = BackendState.RETIRED
    circuit = slot.breaker.state(now)
    return BackendStatus(
        name=slot.name,
        actor=actor,
        health=state,
        circuit=circuit,
        in_flight=len(slot.in_flight),
        limit=slot.config.max_parallel_requests,
        hanging=len(slot.abandoned),
        out_of_service=slot.out_of_service,
        half_open_in=None
        if circuit is not CircuitState.OPEN
        else _seconds_until(slot.breaker.open_until, now),
    )
