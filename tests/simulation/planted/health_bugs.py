"""Bugs of health, probes and slow start."""

from __future__ import annotations

import weakref
from typing import Any

import pytest
from attrs import evolve

from showcaller.actors import routing
from showcaller.actors.enums import (
    BackendState,
)
from showcaller.actors.health_monitor import HealthBoard
from showcaller.actors.messages import Observed
from showcaller.actors.policies.backend_health import BackendHealthMonitor
from showcaller.actors.policies.health_window import HealthWindow
from showcaller.actors.policies.slow_start import LEAST_SHARE
from showcaller.actors.slot import BackendSlot
from showcaller.actors.supervisor import Supervisor
from tests.simulation.planted.bug import planted


@planted
def health_flaps(patch: pytest.MonkeyPatch) -> None:
    """A backend's state is left as soon as its rate has passed a threshold, without a margin."""
    real = HealthWindow.state.fget
    assert real is not None

    def state(self: HealthWindow) -> BackendState:
        before, self._before = self._before, BackendState.UNKNOWN
        try:
            return real(self)
        finally:
            self._before = before

    patch.setattr(HealthWindow, "state", property(state))


@planted
def health_told_again(patch: pytest.MonkeyPatch) -> None:
    """The supervisor is told of a backend's state whenever something was observed, changed or not."""
    real = HealthBoard.take_changes

    def take_changes(self: HealthBoard) -> Any:
        self._told.clear()
        return real(self)

    patch.setattr(HealthBoard, "take_changes", take_changes)


@planted
def health_of_the_removed(patch: pytest.MonkeyPatch) -> None:
    """A backend that is added again has the health of the one that had its name."""
    patch.setattr(BackendHealthMonitor, "forget", lambda self, backend: None)


@planted
def all_ejected(patch: pytest.MonkeyPatch) -> None:
    """Every unhealthy backend is left out, however few remain to carry what all have carried."""
    patch.setattr(routing, "ejected", lambda unhealthy, of: set(unhealthy))


@planted
def none_ejected(patch: pytest.MonkeyPatch) -> None:
    """An unhealthy backend gets its share as if it were well."""
    patch.setattr(routing, "ejected", lambda unhealthy, of: set())


@planted
def health_of_the_namesake(patch: pytest.MonkeyPatch) -> None:
    """What the attempts of a removed backend show is held against the one that has its name now."""
    real = HealthBoard.hear

    def hear(self: HealthBoard, message: Observed) -> None:
        if self._last() is message:
            return
        ids = {name: slot.id for name, slot in self._find_slots().items()}
        real(self, Observed(tuple(evolve(s, slot=ids.get(s.backend, s.slot)) for s in message.observations)))
        self._last = weakref.ref(message)

    patch.setattr(HealthBoard, "hear", hear)


@planted
def drained_and_probed(patch: pytest.MonkeyPatch) -> None:
    """A backend that takes no attempts is probed all the same."""
    patch.setattr(BackendSlot, "takes_probe", lambda self, now: self.probe is None or self.probe.done)


@planted
def probes_pile_up(patch: pytest.MonkeyPatch) -> None:
    """A backend is probed although a probe of it is under way."""
    real = BackendSlot.takes_probe

    def takes_probe(self: BackendSlot, now: float) -> bool:
        probe, self.probe = self.probe, None
        try:
            return real(self, now)
        finally:
            self.probe = probe

    patch.setattr(BackendSlot, "takes_probe", takes_probe)


@planted
def slow_for_ever(patch: pytest.MonkeyPatch) -> None:
    """A backend that has come back never gets more than what it begins with."""
    patch.setattr(
        BackendSlot, "warmth", lambda self, now, window: 1.0 if self.warming_since is None else LEAST_SHARE
    )


@planted
def restarted_at_full_speed(patch: pytest.MonkeyPatch) -> None:
    """A backend whose actor has been restarted gets its whole share at once."""
    real = Supervisor.on_restart_due

    def on_restart_due(self: Supervisor, due: Any) -> None:
        before = {slot: slot.warming_since for slot in self._roster.slots.values()}
        real(self, due)
        for slot, since in before.items():
            slot.warming_since = since

    patch.setattr(Supervisor, "on_restart_due", on_restart_due)
