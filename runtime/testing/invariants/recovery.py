"""Liveness: when all faults are over, every backend that is there gets requests again."""

from __future__ import annotations

from showcaller.actors.enums import BackendState
from showcaller.actors.errors import BackendTimeoutError, BudgetExceededError, DeadlineExceededError
from showcaller.actors.kernel.child import ChildState
from showcaller.actors.models import Answered
from showcaller.actors.policies.health_window import HealthThresholds
from showcaller.actors.slot import BackendSlot
from showcaller.runtime.testing.client import Plan
from showcaller.runtime.testing.invariants.findings import Findings
from showcaller.runtime.testing.invariants.view import View

PATIENCE = 60.0
"""Seconds that a request gets."""
ROUNDS = 12
"""So often time is given to what is waiting for it: breakers, restarts, Retry-After."""
LOOKS = 10
"""So often it is looked whether everybody is held to be well again, while health windows run empty."""
SETTLING = 2.0
"""Seconds after the last answer in which what is owed is sent."""
SLOWNESS = (BackendTimeoutError, DeadlineExceededError, BudgetExceededError)
"""What a request may fail of although nothing is wrong: its backend is slow by nature, or a quota is used up."""


def check_recovery(view: View, findings: Findings) -> None:
    """Let breakers and restarts have their time, and send each backend a request."""
    tree, simulation = view.tree, view.simulation
    if tree is None:
        return
    _end_faults(view)
    for _ in range(ROUNDS):
        pause = max((_pause(view, slot) for slot in tree.roster.slots.values()), default=0.0)
        if pause == 0.0:
            break
        simulation.advance(pause)
        _end_faults(view)
    if view.edge._closed is not None:
        return
    _await_health(view, findings)
    for slot in list(tree.roster.slots.values()):
        child = slot.child
        if child is not None and child.state in (ChildState.RESTARTING, ChildState.FAILED):
            findings.say("recovery", slot.name, "is not started again although nothing is wrong any more")
        elif slot.out_of_service is None and not simulation.backends[slot.name].conditions:
            _ask(view, findings, slot.name)
    simulation.advance(SETTLING)


def _await_health(view: View, findings: Findings) -> None:
    """Nobody is left out for ever because of what it did once: a probe shows the contrary, or its window runs empty."""
    tree, simulation = view.tree, view.simulation
    assert tree is not None

    def unwell() -> list[BackendSlot]:
        return [
            slot
            for slot in tree.roster.slots.values()
            if slot.health is BackendState.UNHEALTHY
            and slot.out_of_service is None
            and not simulation.backends[slot.name].conditions
        ]

    for _ in range(LOOKS):
        if not unwell():
            return
        simulation.advance((HealthThresholds().period + SETTLING) / LOOKS)
    for slot in unwell():
        findings.say(
            "recovery", slot.name, "is still held to be unhealthy although nothing is wrong any more"
        )


def _end_faults(view: View) -> None:
    """What still waits for its chance to happen does not happen any more."""
    saboteur = view.saboteur
    for waiting in (saboteur.crashes, saboteur.failing_starts, saboteur.failing_inits, saboteur.threadless):
        waiting.clear()
    for meddling in saboteur.meddling:
        meddling.left = 0


def _pause(view: View, slot: BackendSlot) -> float:
    """Seconds until the slot may be given something, as far as that is known; 0.0 when it may be now."""
    now = view.clock.now()
    times = [slot.next_chance(now) or now]
    child = slot.child
    if child is not None and child.state is ChildState.FAILED:
        times.append(now + child._intensity.retry_failed_after)
    elif child is not None and child.state is ChildState.RESTARTING:
        times.append(now + child._intensity.backoff(child._intensity.max_restarts))
    if slot.in_flight:
        times.append(max(record.deadline for record in slot.in_flight.values()))
    return max(0.0, *(at - now for at in times))


def _ask(view: View, findings: Findings, backend: str) -> None:
    simulation = view.simulation
    upstream = simulation.backends[backend]
    before = len(upstream.served)
    plan = Plan(
        prompt="Is anybody there?", options={"model": backend, "timeout": PATIENCE, "temperature": 1.0}
    )
    sent = simulation.send(plan).sent
    view.world.pass_until(lambda: sent.completed is not None, PATIENCE)
    outcome = sent.decided
    slot = view.slot(backend)
    hangs = slot is None or slot.out_of_service is not None
    if isinstance(outcome, Answered) or hangs or view.edge._closed is not None:
        return
    error = sent.refused if outcome is None else outcome.error
    if isinstance(error, BudgetExceededError):
        return
    if len(upstream.served) == before:
        findings.say("recovery", backend, f"gets no request although nothing is wrong any more: {error}")
    elif not all(isinstance(one, SLOWNESS) for one in getattr(error, "attempts", ()) or (error,)):
        findings.say("recovery", backend, f"does not answer although nothing is wrong any more: {error}")
