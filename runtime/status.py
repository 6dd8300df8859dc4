"""What `runtime.status()` says: a snapshot that is read without waiting for any actor."""

from __future__ import annotations

from collections.abc import Mapping

from attrs import frozen

from showcaller.actors.enums import BackendState, CircuitState
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
    """

    name: str
    state: str
    generation: int
    restarts: int
    last_crash: str | None


@frozen(kw_only=True)
class BackendStatus:
    """One backend.

    Attributes:
        name: its name.
        actor: its actor.
        health: what its last attempts say, as of now; RETIRED when its provider has taken it away.
        circuit: its breaker.
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


@frozen(kw_only=True)
class RuntimeStatus:
    """The whole runtime at one moment.

    Attributes:
        account: what the edge has accepted, answered, failed and refused.
        backends: each of them.
        actors: the tree's other actors.
        quotas: what is left, by scope and limit.
        observations_dropped: finished attempts that some observer was too busy to see.
        stuck: what the watchdog says of the shared thread, or None.
    """

    account: Account
    backends: tuple[BackendStatus, ...]
    actors: tuple[ActorStatus, ...]
    quotas: Mapping[str, Mapping[str, int]]
    observations_dropped: int
    stuck: str | None


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
        actors=tuple(_actor_status(name, child) for name, child in tree.children.items()),
        quotas={scope: limits for scope, limits in left.items() if scope == WHOLE_RUNTIME or scope in slots},
        observations_dropped=sum(child.address.lost for child in tree.children.values()),
        stuck=stuck,
    )


def _actor_status(name: str, child: Child) -> ActorStatus:
    return ActorStatus(
        name=name,
        state=child.state.value,
        generation=child.generation,
        restarts=child.restarts,
        last_crash=child.last_crash,
    )


def _backend_status(slot: BackendSlot, health: BackendHealthStatus | None, now: float) -> BackendStatus:
    child = slot.child
    actor = (
        ActorStatus(name=slot.name, state="starting", generation=0, restarts=0, last_crash=None)
        if child is None
        else _actor_status(slot.name, child)
    )
    # By the clock, not by what the supervisor was told: it holds when the core is stuck.
    state = BackendState.UNKNOWN if health is None else health.state
    if slot.retired:
        state = BackendState.RETIRED
    return BackendStatus(
        name=slot.name,
        actor=actor,
        health=state,
        circuit=slot.breaker.state(now),
        in_flight=len(slot.in_flight),
        limit=slot.config.max_parallel_requests,
        hanging=len(slot.abandoned),
        out_of_service=slot.out_of_service,
    )
