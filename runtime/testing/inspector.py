"""Watches a world while it runs, and notes every invariant that does not hold."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from showcaller.actors.kernel.cell import Cell
from showcaller.actors.kernel.child import RestartDue
from showcaller.actors.kernel.message import Down
from showcaller.actors.messages import (
    AddBackend,
    AttemptFinished,
    Coalesce,
    DrainBackend,
    Execute,
    Granted,
    HealthChanged,
    Reserve,
    ResetBackend,
    Route,
)
from showcaller.runtime.testing.invariants.admissions import AdmissionChecks
from showcaller.runtime.testing.invariants.batches import BatchChecks
from showcaller.runtime.testing.invariants.breakers import BreakerChecks
from showcaller.runtime.testing.invariants.budgets import BudgetChecks
from showcaller.runtime.testing.invariants.dispatches import DispatchChecks
from showcaller.runtime.testing.invariants.ending import check_ending
from showcaller.runtime.testing.invariants.fallbacks import FallbackChecks
from showcaller.runtime.testing.invariants.findings import Findings
from showcaller.runtime.testing.invariants.health import HealthChecks
from showcaller.runtime.testing.invariants.persistence import PersistenceChecks
from showcaller.runtime.testing.invariants.probes import ProbeChecks
from showcaller.runtime.testing.invariants.quotas import QuotaChecks
from showcaller.runtime.testing.invariants.recovery import check_recovery
from showcaller.runtime.testing.invariants.requests import RequestChecks
from showcaller.runtime.testing.invariants.routes import RouteChecks
from showcaller.runtime.testing.invariants.state import StateChecks
from showcaller.runtime.testing.invariants.supervision import SupervisionChecks
from showcaller.runtime.testing.invariants.view import View
from showcaller.runtime.testing.invariants.warming import WarmingChecks

if TYPE_CHECKING:
    from showcaller.runtime.testing.simulation import Simulation
    from showcaller.runtime.tree import Tree

RESTS = 4
"""After so many rests everything is looked at; after what matters more, at the next."""
LIVES = (Down, RestartDue, AddBackend, ResetBackend, type(None))
"""What a parent handles when the life of a child changes; None: its own start."""


class Inspector:
    """An Observer of one simulation.

    Attributes:
        violations: what did not hold, in words, each once.
    """

    def __init__(self, simulation: Simulation) -> None:
        self._view = View(simulation)
        self._findings = Findings(simulation.world.clock)
        self.violations = self._findings.violations
        self._requests = RequestChecks(self._view, self._findings)
        self._dispatches = DispatchChecks(self._view, self._findings)
        self._breakers = BreakerChecks(self._view, self._findings)
        self._budgets = BudgetChecks(self._view, self._findings)
        self._routes = RouteChecks(self._view, self._findings)
        self._admissions = AdmissionChecks(self._view, self._findings)
        self._fallbacks = FallbackChecks(self._view, self._findings)
        self._persistence = PersistenceChecks(self._view, self._findings)
        self._quotas = QuotaChecks(self._view, self._findings)
        self._health = HealthChecks(self._view, self._findings)
        self._supervision = SupervisionChecks(self._view, self._findings)
        self._batches = BatchChecks(self._view, self._findings)
        self._warming = WarmingChecks(self._view, self._findings)
        self._probes = ProbeChecks(self._view, self._findings)
        self._state = StateChecks(self._view, self._findings)
        self._message: Any = None
        self._rests = 0
        self._look_now = False

    def sent(self, owner: str, message: Any) -> None:
        """A message has arrived in a mailbox."""
        match message:
            case Execute():
                self._dispatches.execute(message)
                self._fallbacks.execute(message)
            case Reserve():
                self._routes.reserve(message)
                self._admissions.reserve(message.attempt.flight)
                self._fallbacks.reserve(message.attempt)
            case Down():
                self._supervision.down(message)
            case HealthChanged():
                self._health.changed(message)
            case Route() | Coalesce():
                self._state.arrived(message.flight)

    def taken(self, cell: Cell, message: Any) -> None:
        """An actor has taken a message out of its mailbox, and is about to handle it."""
        self._message = message
        if cell.slot == "supervisor":
            self._breakers.before_step(message)
            self._probes.before_step(message)
            self._health.before_step(message)
            self._budgets.before_step(message)
            self._fallbacks.before_step()
            self._persistence.before_step(message)
        if isinstance(message, AttemptFinished):
            self._requests.before_finished(message)
            self._dispatches.before_finished(message)
            self._routes.before_finished(message)
            self._fallbacks.before_finished(message)
        elif isinstance(message, Coalesce):
            self._dispatches.coalesced(message.flight, cell.generation)

    def handled(self, cell: Cell) -> None:
        """An actor has handled a message, or has started."""
        message, self._message = self._message, None
        crashed = cell.ended.is_set()
        if message is None and cell.phase in ("on_start", "on_failure"):
            self._supervision.started(cell)
        if crashed:
            self._supervision.ended(cell)
            self._look_now = True
        tree = self._view.tree
        if tree is None:
            return
        if cell.slot == "supervisor":
            self._after_supervisor(tree, message, crashed=crashed)
        elif cell.slot == "health_monitor":
            self._health.after_step(message, crashed=crashed)
        elif cell.slot == "guardian":
            self._supervision.look("guardian", tree.children.values())
        elif cell.slot == "quota_manager" and isinstance(message, Reserve):
            self._quotas.after_reserve(message)

    def _after_supervisor(self, tree: Tree, message: Any, *, crashed: bool) -> None:
        if isinstance(message, ResetBackend):
            self._after_reset(message.backend, crashed=crashed)
        finished = message if isinstance(message, AttemptFinished) else None
        self._dispatches.after_step(finished)
        if isinstance(message, Granted):
            self._routes.after_granted(message.attempt)
        if finished is not None:
            self._routes.after_finished(finished)
        self._breakers.after_step()
        self._warming.after_step()
        self._probes.after_step()
        self._health.after_supervisor()
        self._budgets.after_step()
        self._persistence.after_step(message, crashed=crashed)
        if crashed or isinstance(message, LIVES):
            slots = [slot.child for slot in tree.roster.slots.values() if slot.child is not None]
            self._supervision.look("supervisor", slots)
        if not crashed and finished is not None:
            self._dispatches.after_finished(finished)
        elif not crashed and isinstance(message, DrainBackend):
            self._dispatches.after_drain(message)

    def _after_reset(self, backend: str, *, crashed: bool) -> None:
        slot = self._view.slot(backend)
        child = None if slot is None else slot.child
        # When the supervisor died of it, was that before or after its work?
        if slot is not None and child is not None and not (crashed and child._history._crashes):
            self._supervision.was_reset(child, certain=not crashed)
            self._dispatches.was_reset(slot, certain=not crashed)

    def at_rest(self) -> None:
        """Nothing can happen any more at this moment."""
        if self._view.tree is None:
            return
        view = self._view
        view.meddled = view.meddled or bool(view.saboteur.meddling)
        self._requests.at_rest()
        self._dispatches.at_rest()
        self._rests += 1
        if self._look_now or self._rests >= RESTS:
            self._look()

    def _look(self) -> None:
        self._rests, self._look_now = 0, False
        self._requests.look()
        self._admissions.look()
        self._supervision.at_rest()
        self._batches.look()
        self._health.look()
        self._probes.look()
        self._state.look()

    def at_end(self) -> None:
        """Everything has happened, and every request should have its outcome."""
        self._look()
        self._requests.at_end()
        self._quotas.at_end()
        self._budgets.at_end()
        self._supervision.at_end()
        self._batches.at_end()
        self._state.at_end()

    def check_recovery(self) -> None:
        """Once all faults are over: every backend that is there gets requests again. Lets time pass."""
        check_recovery(self._view, self._findings)
        self.at_end()

    def at_stop(self) -> None:
        """The runtime has stopped: nothing of it is left."""
        if self._view.tree is not None:
            supervision = self._supervision
            check_ending(self._view, self._findings, supervision.live, orderly=supervision.orderly)
