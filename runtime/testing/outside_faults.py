"""Faults that come from outside the tree: time, callers, and somebody who changes the configuration."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from attrs import evolve, fields

from showcaller.actors.backend_config import BackendConfig
from showcaller.actors.errors import ConfigurationError, RuntimeStoppedError, ShowcallerError
from showcaller.actors.kernel.reply import ReplyFuture
from showcaller.actors.messages import AddBackend, DrainBackend, ResetBackend
from showcaller.actors.validators import is_number, refuse
from showcaller.runtime.backends import Change
from showcaller.runtime.closing import close_all
from showcaller.runtime.testing.batching import Batching
from showcaller.runtime.testing.fault import Strike, fault, known_backend, seconds, share_of, whole_number

if TYPE_CHECKING:
    from showcaller.runtime.testing.simulation import Simulation

# --- time ---


@fault
def wall_skip(by: float) -> Strike:
    """The wall clock jumps `by` seconds, forward or backward, as when it is set; nothing else does."""
    if not is_number(by):
        raise refuse("wall_skip", "by", by, "use seconds, forward or (less than 0) backward")

    def begin(simulation: Simulation) -> None:
        simulation.world.clock.wall_offset += by

    return Strike(begin=begin)


@fault
def suspend(duration: float) -> Strike:
    """The machine sleeps: all clocks are `duration` seconds further at once, and every timer fires late."""
    seconds("suspend", duration=duration)

    def begin(simulation: Simulation) -> None:
        simulation.world.clock.time += duration

    return Strike(begin=begin, lasts=duration)


# --- callers ---


@fault
def cancel(share: float = 1.0, *, nth: int | None = None) -> Strike:
    """Callers give up what is open now.

    Args:
        share: which part of the open requests.
        nth: only that one of them, the oldest being 1; when there are fewer, none.
    """
    share_of("cancel", share)
    if nth is not None:
        whole_number("cancel", "nth", nth)

    def begin(simulation: Simulation) -> None:
        waiting = [client for client in simulation.clients if client.sent.completed is None]
        rng = simulation.rng(f"cancel at {simulation.now}")
        if nth is not None:
            waiting = waiting[nth - 1 : nth]
        for client in waiting:
            if rng.random() < share:
                client.cancel()

    return Strike(begin=begin)


@fault
def cancel_everything() -> Strike:
    """Every caller gives up."""

    def begin(simulation: Simulation) -> None:
        for client in simulation.clients:
            if client.sent.completed is None:
                client.cancel()

    return Strike(begin=begin)


@fault
def batch(
    requests: int, *, max_size: int = 10, max_wait: float = 5.0, max_concurrency: int = 32, pause: float = 0.0
) -> Strike:
    """A caller adds requests to a batcher, one in `pause` seconds, and waits for none of them.

    Args:
        requests: how many.
        max_size, max_wait, max_concurrency: as for `Runtime.batcher`.
        pause: seconds between two of them.
    """
    whole_number("batch", "requests", requests)
    seconds("batch", max_wait=max_wait, pause=pause)

    def begin(simulation: Simulation) -> None:
        batcher = simulation.runtime.batcher(
            max_size=max_size, max_wait=max_wait, max_concurrency=max_concurrency, max_pending=10 * max_size
        )
        batching = Batching(batcher)
        simulation.batches.append(batching)

        def add() -> None:
            try:
                batching.add()
            except ShowcallerError as error:
                simulation.note(f"a batcher refuses: {type(error).__name__}")

        now = simulation.world.clock.now()
        for number in range(requests):
            simulation.world.at(now + number * pause, "batching", add)

    return Strike(begin=begin, lasts=requests * pause)


# --- configuration; nothing may wait in a step, and so these ask, and go on when they are answered ---


class _Adding(ReplyFuture):
    """The reply to an addition; there is one at a time, as with `runtime.backends.add`."""


@fault
def add(config: BackendConfig) -> Strike:
    """A backend is added, as `runtime.backends.add` does; when its name is taken, that is refused."""
    if not isinstance(config, BackendConfig):
        raise refuse("add", "config", config, "use a BackendConfig")

    def begin(simulation: Simulation) -> None:
        _add(simulation, config)

    return Strike(begin=begin)


@fault
def drain(backend: str, timeout: float = 30.0) -> Strike:
    """A backend is drained: it gets nothing new; what is in flight after `timeout` seconds is cancelled."""
    seconds("drain", timeout=timeout)

    def begin(simulation: Simulation) -> None:
        known_backend(simulation, "drain", backend)
        _drain(simulation, backend, timeout, remove=False)

    return Strike(begin=begin, lasts=timeout, heals=False)


@fault
def reset(backend: str) -> Strike:
    """Somebody gives a backend another chance, as `runtime.backends.reset` does, whatever state it is in."""

    def begin(simulation: Simulation) -> None:
        known_backend(simulation, "reset", backend)
        _send(simulation, ResetBackend(backend, ReplyFuture()))

    return Strike(begin=begin)


@fault
def remove(backend: str, timeout: float = 30.0) -> Strike:
    """A backend is drained and taken out."""
    seconds("remove", timeout=timeout)

    def begin(simulation: Simulation) -> None:
        known_backend(simulation, "remove", backend)
        _drain(simulation, backend, timeout, remove=True)

    return Strike(begin=begin, lasts=timeout, heals=False)


@fault
def replace(backend: str, *, drain_timeout: float = 30.0, **changes: Any) -> Strike:
    """A backend is removed, and added again with another configuration.

    Routes forget a target that is removed: it is reached by its own name and its model's then.

    Args:
        backend: which.
        drain_timeout: seconds that its removal may take.
        changes: fields of its BackendConfig.
    """
    seconds("replace", drain_timeout=drain_timeout)
    known = {one.name for one in fields(BackendConfig)} - {"name"}
    for name, value in changes.items():
        if name not in known:
            raise refuse("replace", name, value, f"use a field of BackendConfig: {', '.join(sorted(known))}")

    def begin(simulation: Simulation) -> None:
        known_backend(simulation, "replace", backend)
        before = simulation.backends[backend].config

        def again() -> None:
            _add(simulation, evolve(before, **changes))

        _drain(simulation, backend, drain_timeout, remove=True, then=again)

    return Strike(begin=begin, lasts=drain_timeout, heals=False)


def _add(simulation: Simulation, config: BackendConfig) -> None:
    tree = simulation.runtime._tree
    adding = next((one for one in simulation.replies if isinstance(one, _Adding) and not one._done), None)
    if adding is not None:
        adding.add_done_callback(_soon(simulation, f"add {config.name}", lambda: _add(simulation, config)))
        return
    try:
        # What the supervisor would say to a name that is taken; a slot opens a ledger when it is made.
        evolve(tree.roster.config, backends=(*tree.roster.config.backends, config))
    except ConfigurationError as error:
        simulation.note(f"{config.name} is not added: {error}")
        return
    slot = tree.make_slot(config, simulation._make_backend(config))
    _send(simulation, AddBackend(slot, _Adding()))


def _drain(
    simulation: Simulation,
    backend: str,
    timeout: float,
    *,
    remove: bool,
    then: Callable[[], None] = lambda: None,
) -> None:
    tree = simulation.runtime._tree
    slot = tree.roster.slots.get(backend)
    if slot is None:
        simulation.note(f"{backend} is not there")
        return

    def gone() -> None:
        close_all({backend: slot.transport}, tree.system.workers)
        then()

    deadline = simulation.world.clock.now() + timeout
    draining = DrainBackend(backend, deadline, remove, ReplyFuture())
    if _send(simulation, draining) and remove:
        draining.reply.add_done_callback(_soon(simulation, f"{backend} is gone", gone))


def _send(simulation: Simulation, change: Change) -> bool:
    """Ask the supervisor as `runtime.backends` does, without waiting; False when the runtime has stopped."""
    backends, reply = simulation.runtime.backends, change.reply
    try:
        backends._send(change)
    except RuntimeStoppedError:
        return False
    simulation.replies.append(reply)
    reply.add_done_callback(lambda: backends._forget(reply))
    return True


def _soon(simulation: Simulation, name: str, act: Callable[[], None]) -> Callable[[], None]:
    return lambda: simulation.world.at(simulation.world.clock.now(), name, act)
