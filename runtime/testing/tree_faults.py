"""Faults of the tree's actors: how they die, fail to start, wait, and cannot do their work.

An actor is one of ACTORS, or a backend's by the backend's name. When a backend is gone, its faults change nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from showcaller.actors.analytics import Analytics
from showcaller.actors.backend import Backend
from showcaller.actors.deduplicator import Deduplicator
from showcaller.actors.errors import ConfigurationError
from showcaller.actors.health_monitor import HealthMonitor
from showcaller.actors.kernel.actor import KernelActor
from showcaller.actors.kernel.address import Address
from showcaller.actors.kernel.restart import RestartIntensity
from showcaller.actors.quota_manager import QuotaManager
from showcaller.actors.recorder import Recorder
from showcaller.actors.supervisor import Supervisor
from showcaller.actors.validators import nearest, refuse
from showcaller.runtime.testing.fault import Strike, exception_class, fault, seconds, share_of, whole_number
from showcaller.runtime.testing.saboteur import ON_START, Breakage, Crash, Nudge

if TYPE_CHECKING:
    from showcaller.runtime.testing.simulation import Simulation

ACTORS: Final[dict[str, type[KernelActor]]] = {
    "supervisor": Supervisor,
    "quota_manager": QuotaManager,
    "deduplicator": Deduplicator,
    "health_monitor": HealthMonitor,
    "recorder": Recorder,
    "analytics": Analytics,
}
"""The actors that every tree has beside its backends'."""


def handlers_of(actor: str) -> list[str]:
    """The handlers that an actor can crash in; of a backend's actor for every other name."""
    own = ACTORS.get(actor, Backend)
    return [
        name
        for name in dir(own)
        if name.startswith("on_") and name not in ("on_receive", "on_failure", ON_START)
    ]


# --- dying ---


@fault
def crash(actor: str, handler: str | None = None, *, after: bool = False, base: bool = False) -> Strike:
    """An actor dies.

    Args:
        actor: which.
        handler: while it handles the next message of that kind, such as on_granted; on_stop: when it is
            stopped; None: at its next message, of which there is one now.
        after: when the handler has done its work; else before it.
        base: of an exception that is none of Exception's.
    """
    if handler is not None and handler not in handlers_of(actor):
        raise refuse(
            "crash", "handler", handler, f"use a handler of the actor{nearest(handler, handlers_of(actor))}"
        )

    def begin(simulation: Simulation) -> None:
        slot = _Slot.find(simulation, "crash", actor)
        if slot is not None:
            slot.kill(Crash(handler=handler, after=after, base=base))

    return Strike(begin=begin)


@fault
def restart_storm(actor: str, crashes: int, every: float) -> Strike:
    """An actor dies `crashes` times, once in `every` seconds; more than 5 in a minute are too many for it."""
    whole_number("restart_storm", "crashes", crashes)
    seconds("restart_storm", every=every)

    def strike(simulation: Simulation) -> None:
        slot = _Slot.find(simulation, "restart_storm", actor)
        if slot is not None:
            slot.kill(Crash())

    def begin(simulation: Simulation) -> None:
        strike(simulation)
        now = simulation.world.clock.now()
        for number in range(1, crashes):
            simulation.world.at(now + number * every, f"storm over {actor}", lambda: strike(simulation))

    return Strike(begin=begin, lasts=(crashes - 1) * every, heals=_survives(crashes))


@fault
def fail_start(actor: str, times: int = 1) -> Strike:
    """An actor dies, and its next `times` starts fail in on_start."""
    return _failing("fail_start", actor, times, lambda slot: slot.fail_starts(times))


@fault
def fail_init(actor: str, times: int = 1) -> Strike:
    """An actor dies, and the next `times` times it cannot be made: its __init__ raises."""
    return _failing("fail_init", actor, times, lambda slot: slot.fail_inits(times))


@fault
def no_thread(actor: str, times: int = 1) -> Strike:
    """No thread can be started, `times` times: for the seats of a backend, or for an actor, which dies first."""
    return _failing("no_thread", actor, times, lambda slot: slot.refuse_threads(times))


def _failing(owner: str, actor: str, times: int, prepare: Callable[[_Slot], None]) -> Strike:
    whole_number(owner, "times", times)

    def begin(simulation: Simulation) -> None:
        slot = _Slot.find(simulation, owner, actor)
        if slot is None:
            return
        prepare(slot)
        if owner != "no_thread" or actor in ACTORS:
            slot.kill(Crash())

    return Strike(begin=begin, heals=_survives(times + 1))


def _survives(deaths: int) -> bool:
    return deaths <= RestartIntensity().max_restarts


# --- waiting and failing ---


@fault
def stall(actor: str, duration: float) -> Strike:
    """An actor does nothing for `duration` seconds; its messages wait."""
    seconds("stall", duration=duration)

    def begin(simulation: Simulation) -> None:
        slot = _Slot.find(simulation, "stall", actor)
        if slot is not None:
            stalls, until = simulation.saboteur.stalls, simulation.world.clock.now() + duration
            stalls[slot.name] = max(until, stalls.get(slot.name, 0.0))

    return Strike(begin=begin, lasts=duration)


@fault
def slow_actor(actor: str, pause: float, duration: float) -> Strike:
    """An actor takes `pause` seconds for each message, for `duration` seconds: storage that is slow."""
    seconds("slow_actor", pause=pause, duration=duration)
    return _hampered("slow_actor", actor, duration, lambda slot: slot.slow(pause))


@fault
def broken(actor: str, error: type[Exception] = OSError, *, duration: float, share: float = 1.0) -> Strike:
    """An actor's handlers raise instead of doing their work: storage that is full or broken.

    Args:
        actor: which; recorder and analytics are those that store.
        error: what they raise is one of these, with OSError "No space left on device".
        duration: seconds.
        share: in which part of all cases.
    """
    seconds("broken", duration=duration)
    share_of("broken", share)
    exception_class("broken", "error", error)
    return _hampered("broken", actor, duration, lambda slot: slot.break_down(error, share))


@fault
def overload(actor: str, duration: float) -> Strike:
    """An actor's mailbox is full for `duration` seconds: what may be refused is refused, and telemetry dropped."""
    seconds("overload", duration=duration)
    return _hampered("overload", actor, duration, lambda slot: slot.overload())


def _hampered(
    owner: str, actor: str, duration: float, begin_at: Callable[[_Slot], Callable[[], None]]
) -> Strike:
    def begin(simulation: Simulation) -> Callable[[], None] | None:
        slot = _Slot.find(simulation, owner, actor)
        return None if slot is None else begin_at(slot)

    return Strike(begin=begin, lasts=duration)


class _Slot:
    """A place of the tree, and what can be done to it."""

    def __init__(self, simulation: Simulation, actor: str, name: str, address: Address) -> None:
        self.name = name
        self._actor = actor
        self._address = address
        self._simulation = simulation
        self._saboteur = simulation.saboteur

    @classmethod
    def find(cls, simulation: Simulation, owner: str, actor: str) -> _Slot | None:
        """The slot of an actor; None when it is that of a backend which is not there now.

        Raises:
            ConfigurationError: there is and was no such actor.
        """
        tree = simulation.runtime._tree
        if actor in ACTORS:
            return cls(simulation, actor, actor, tree.address(actor))
        if actor not in simulation.backends:
            names = (*ACTORS, *simulation.backends)
            raise ConfigurationError(
                f"{owner}.actor = {actor!r}: no actor and no backend has that name{nearest(actor, names)}"
            )
        slot = tree.roster.slots.get(actor)
        if slot is None or slot.child is None:
            return None
        return cls(simulation, actor, slot.id, slot.child.address)

    def kill(self, how: Crash) -> None:
        self._saboteur.crashes[self.name].append(how)
        if how.handler is None:
            self._address.tell(Nudge("a fault of the simulation"))

    def fail_starts(self, times: int) -> None:
        self._saboteur.failing_starts[self.name] += times

    def fail_inits(self, times: int) -> None:
        self._saboteur.failing_inits[self.name] += times

    def refuse_threads(self, times: int) -> None:
        # A backend's seats are a pool that has the backend's name.
        self._saboteur.threadless[self._actor] += times

    def slow(self, pause: float) -> Callable[[], None]:
        slow, name = self._saboteur.slow, self.name
        slow.setdefault(name, []).append(pause)

        def end() -> None:
            slow[name].remove(pause)
            if not slow[name]:
                del slow[name]

        return end

    def break_down(self, error: type[Exception], share: float) -> Callable[[], None]:
        rng = self._simulation.rng(f"{self.name} broken at {self._simulation.now}")
        breakage = Breakage(error, share, rng)
        broken = self._saboteur.broken[self.name]
        broken.append(breakage)
        return lambda: broken.remove(breakage)

    def overload(self) -> Callable[[], None]:
        overloaded, name = self._saboteur.overloaded, self.name
        overloaded[name] += 1

        def end() -> None:
            overloaded[name] -= 1

        return end
