"""Warming: who has come back starts slowly, from then on and for no longer; and nobody else does."""

from __future__ import annotations

from attrs import frozen

from showcaller.actors.enums import BackendState, CircuitState
from showcaller.actors.route_config import RouteConfig
from showcaller.actors.slot import BackendSlot
from showcaller.runtime.testing.invariants.findings import Findings
from showcaller.runtime.testing.invariants.view import View


@frozen
class _Seen:
    """A slot as it was after the supervisor's last step, and when it came back the last time."""

    generation: int
    circuit: CircuitState
    health: BackendState
    pardoned: bool
    since: float | None

    def came_back(self, slot: BackendSlot) -> bool:
        restarted = self.generation > 0 and slot.generation > self.generation
        closed = self.circuit is not CircuitState.CLOSED and slot.breaker._state is CircuitState.CLOSED
        left_out = self.health is BackendState.UNHEALTHY and not self.pardoned
        better = left_out and slot.health is not BackendState.UNHEALTHY
        return restarted or closed or better


class WarmingChecks:
    """Watches the slots after each step of the supervisor."""

    def __init__(self, view: View, findings: Findings) -> None:
        self._view = view
        self._findings = findings
        self._seen: dict[str, _Seen] = {}
        backends = view.simulation.config.backends
        self._first = {f"backend:{backend.name}@{number}" for number, backend in enumerate(backends, 1)}

    def after_step(self) -> None:
        """The supervisor has done something, or has died of it."""
        tree = self._view.tree
        if tree is None:
            return
        now = self._view.clock.now()
        for slot in tree.roster.slots.values():
            seen = self._seen.get(slot.id)
            if seen is None:
                since = None if slot.id in self._first else now
            else:
                since = now if seen.came_back(slot) else seen.since
            self._seen[slot.id] = _Seen(
                slot.generation, slot.breaker._state, slot.health, slot.pardoned, since
            )
            if slot.warming_since != since:
                self._findings.say(
                    "warming",
                    slot.name,
                    f"starts slowly since {slot.warming_since}, and came back at {since}",
                )


def weight_of(route: RouteConfig, slot: BackendSlot, now: float) -> float:
    """What counts of a slot's weight on a route now."""
    whole = next(target.weight or 1.0 for target in route.targets if target.backend == slot.name)
    return whole * part_of(route, slot, now)


def part_of(route: RouteConfig, slot: BackendSlot, now: float) -> float:
    """Which part of its weight that is."""
    if slot.warming_since is None or now >= slot.warming_since + route.slow_start:
        return 1.0
    return max(0.1, (now - slot.warming_since) / route.slow_start)
