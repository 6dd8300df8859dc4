"""Bugs of supervision."""

from __future__ import annotations

from typing import Any

import pytest

from showcaller.actors.attempt import AttemptState
from showcaller.actors.fleet import Fleet
from showcaller.actors.flight import Flight
from showcaller.actors.kernel.cell import Cell
from showcaller.actors.kernel.child import Child, ChildState
from showcaller.actors.kernel.restart import GiveUp, RestartHistory
from showcaller.actors.policies.circuit_breaker import CircuitBreaker
from showcaller.actors.slot import BackendSlot
from tests.simulation.planted.bug import planted


@planted
def escalation_reported_twice(patch: pytest.MonkeyPatch) -> None:
    """Whoever is to be told that a backend was given up is told so twice."""
    real = Fleet._report

    def report(self: Fleet, slot: BackendSlot, child: Child, decision: Any) -> None:
        real(self, slot, child, decision)
        if isinstance(decision, GiveUp):
            real(self, slot, child, decision)

    patch.setattr(Fleet, "_report", report)


@planted
def reset_keeps_the_crashes(patch: pytest.MonkeyPatch) -> None:
    """A backend that was reset is started, and its earlier crashes still count."""
    patch.setattr(RestartHistory, "clear", lambda self: None)


@planted
def reset_leaves_the_breaker_open(patch: pytest.MonkeyPatch) -> None:
    """A backend that was reset gets no probe before its breaker's time."""
    patch.setattr(CircuitBreaker, "let_probe", lambda self, now: None)


@planted
def restart_counted_twice(patch: pytest.MonkeyPatch) -> None:
    """Each crash is counted twice, so that a slot is given up too early."""
    real = RestartHistory.crashed

    def crashed(self: RestartHistory, now: float, rng: Any) -> Any:
        decision = real(self, now, rng)
        self._crashes.append(now)
        return decision

    patch.setattr(RestartHistory, "crashed", crashed)


@planted
def restarted_for_ever(patch: pytest.MonkeyPatch) -> None:
    """The backoff of a restart does not grow, and no slot is ever given up."""
    real = RestartHistory.crashed

    def crashed(self: RestartHistory, now: float, rng: Any) -> Any:
        self._crashes.clear()
        return real(self, now, rng)

    patch.setattr(RestartHistory, "crashed", crashed)


@planted
def down_lost_in_on_start(patch: pytest.MonkeyPatch) -> None:
    """An incarnation that dies in on_start does not tell its parent."""
    real = Cell.turn

    def turn(self: Cell, messages: int) -> None:
        if self.phase != "__init__":
            real(self, messages)
            return
        report, self._report = self._report, lambda down: None  # type: ignore[method-assign]
        real(self, messages)
        if not self.ended.is_set():
            self._report = report  # type: ignore[method-assign]

    patch.setattr(Cell, "turn", turn)


@planted
def two_downs(patch: pytest.MonkeyPatch) -> None:
    """An incarnation that crashes tells its parent twice."""
    real = Cell.end

    def end(self: Cell) -> None:
        first = not self.ended.is_set()
        real(self)
        if first and self._generation_died:  # type: ignore[attr-defined]
            self._ending.release()
            real(self)

    patch.setattr(Cell, "end", end)
    crashed = Cell.crashed

    def died(self: Cell, error: BaseException) -> None:
        self._generation_died = True  # type: ignore[attr-defined]
        crashed(self, error)

    patch.setattr(Cell, "_generation_died", False, raising=False)
    patch.setattr(Cell, "crashed", died)


@planted
def two_incarnations(patch: pytest.MonkeyPatch) -> None:
    """A slot is started again although it runs, when its new supervisor and its old timer both say so."""
    real = Child.on_restart_due

    def on_restart_due(self: Child, due: Any) -> bool:
        if self.state is ChildState.RUNNING:
            self.start()
            return True
        return real(self, due)

    patch.setattr(Child, "on_restart_due", on_restart_due)


@planted
def orphan_not_committed(patch: pytest.MonkeyPatch) -> None:
    """An attempt that has begun to stream may be taken back, and its request sent to another backend."""
    real = Flight.next_attempt

    def next_attempt(self: Flight, *args: Any, **options: Any) -> Any:
        committed = [a for a in self._attempts.values() if a.state is AttemptState.COMMITTED]
        for attempt in committed:
            attempt.state = AttemptState.CLAIMED
        try:
            return real(self, *args, **options)
        finally:
            for attempt in committed:
                attempt.state = AttemptState.COMMITTED

    patch.setattr(Flight, "next_attempt", next_attempt)
