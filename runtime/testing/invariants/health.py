"""Health: what is believed of each backend follows from what was observed of it, and each change is told once."""

from __future__ import annotations

from typing import Any

from attrs import define, frozen

from showcaller.actors.enums import BackendState
from showcaller.actors.kernel.actor import MARK
from showcaller.actors.messages import HealthChanged, Observed
from showcaller.actors.policies.health_window import ROUNDING, HealthThresholds
from showcaller.runtime.testing.invariants.findings import Findings
from showcaller.runtime.testing.invariants.view import View

MONITOR = "health_monitor"


@frozen
class _Attempt:
    until: float
    ok: bool


@define(eq=False)
class _Account:
    """What was observed of one slot.

    Attributes:
        attempts: those that count.
        moment: as of when.
        before: the state at the end of the moment before.
        told: the state that the supervisor was told last.
    """

    thresholds: HealthThresholds
    attempts: list[_Attempt]
    moment: float = 0.0
    before: BackendState = BackendState.UNKNOWN
    told: BackendState = BackendState.UNKNOWN

    def add(self, ok: bool, now: float) -> None:
        self.let_pass(now)
        self.attempts = [*self.attempts, _Attempt(now + self.thresholds.period, ok)]
        self.attempts = self.attempts[-self.thresholds.window :]

    def let_pass(self, now: float) -> None:
        """Judge at the end of each moment at which something left."""
        for moment in sorted({attempt.until for attempt in self.attempts if attempt.until <= now} | {now}):
            if moment > self.moment:
                self.before, self.moment = self.state, moment
            self.attempts = [attempt for attempt in self.attempts if attempt.until > moment]

    @property
    def errors(self) -> int:
        return sum(not attempt.ok for attempt in self.attempts)

    @property
    def state(self) -> BackendState:
        wanted, count = self.thresholds, len(self.attempts)
        if count < wanted.least:
            return BackendState.UNKNOWN
        if self.errors in (0, count):
            return BackendState.UNHEALTHY if self.errors else BackendState.HEALTHY
        rate, margin = 1.0 - self.errors / count, max(wanted.margin, 1.0 / count)
        match self.before:
            case BackendState.UNKNOWN:
                healthy, degraded = wanted.healthy, wanted.degraded
            case BackendState.HEALTHY:
                healthy, degraded = wanted.healthy - margin, wanted.degraded - margin
            case BackendState.DEGRADED:
                healthy, degraded = wanted.healthy + margin, wanted.degraded - margin
            case _:
                healthy, degraded = wanted.healthy + margin, wanted.degraded + margin
        if rate >= healthy - ROUNDING:
            return BackendState.HEALTHY
        return BackendState.DEGRADED if rate >= degraded - ROUNDING else BackendState.UNHEALTHY


class HealthChecks:
    """Watches the health monitor."""

    def __init__(self, view: View, findings: Findings) -> None:
        self._view = view
        self._findings = findings
        self._accounts: dict[str, _Account] = {}
        self._heard: Observed | None = None
        self._said: list[HealthChanged] = []
        self._late: set[int] = set()
        self._known: dict[int, HealthChanged] = {}
        self._held: dict[str, BackendState] = {}
        self._change: HealthChanged | None = None

    def changed(self, message: HealthChanged) -> None:
        """A HealthChanged has arrived; it may arrive again, when the supervisor has died."""
        if id(message) in self._known:
            return
        self._known[id(message)] = message
        self._said.append(message)
        if not self._view.world.current.name.startswith(f"{MARK}{MONITOR}#"):
            # What was told while there was no supervisor comes to its successor, when all may be different.
            self._late.add(id(message))

    def after_step(self, message: Any, *, crashed: bool) -> None:
        """The health monitor has done something; what it said meanwhile is what it should have said."""
        tree = self._view.tree
        assert tree is not None
        # It may die of a fault before its work or after it, and only the board knows which.
        done = not crashed or tree.health._last() is message
        if done and isinstance(message, Observed) and message is not self._heard:
            self._heard = message
            self._count(message)
        said, self._said = self._said, []
        for change in said:
            account, slot = self._account(change.backend), self._view.slot(change.backend)
            if account is None or slot is None or slot.id != change.slot:
                continue
            if change.state is account.told:
                self._say(
                    "again", change.backend, f"the supervisor is told again that it is {account.told.value}"
                )
            if change.state is not account.state and id(change) not in self._late:
                self._say(
                    "said",
                    change.backend,
                    f"the supervisor is told that it is {change.state.value}, and it is {account.state.value}",
                )
            account.told = change.state

    def before_step(self, message: Any) -> None:
        """The supervisor is about to handle a message."""
        self._change = message if isinstance(message, HealthChanged) else None
        tree = self._view.tree
        if self._change is not None and tree is not None:
            self._held = {slot.id: slot.health for slot in tree.roster.slots.values()}

    def after_supervisor(self) -> None:
        """It was handled: a change is one of the slot that it names, and of no other that has its name now."""
        change, tree = self._change, self._view.tree
        if change is None or tree is None:
            return
        for slot in tree.roster.slots.values():
            before = self._held.get(slot.id)
            if slot.id != change.slot and slot.health is not before:
                self._say("held", slot.name, f"is taken to be {slot.health.value} because another slot is")

    def look(self) -> None:
        """What is said of each slot is what was observed of it, and the supervisor knows."""
        view, tree = self._view, self._view.tree
        assert tree is not None
        if self._heard is None:
            return
        # What could not be delivered at once is still to be judged.
        knows = not self._said and all(
            view.actor(slot) is not None and not view.waiting(slot) for slot in (MONITOR, "supervisor")
        )
        for name in tree.roster.slots:
            account, status = self._account(name), tree.health.get_status(name)
            assert account is not None
            seen, held = (
                (account.state, len(account.attempts), account.errors),
                (status.state, status.attempts, status.error_count),
            )
            if seen != held:
                self._say(
                    "fold",
                    name,
                    f"it is said to be {_words(*held)}, and what was observed is {_words(*seen)}",
                )
            if knows and account.told is not account.state:
                self._say(
                    "untold",
                    name,
                    f"it is {account.state.value}, and the supervisor was told last that it is {account.told.value}",
                )

    def _account(self, backend: str) -> _Account | None:
        """That of the slot which has the name now, as of now; one that has just come has an empty one."""
        slot, tree = self._view.slot(backend), self._view.tree
        if slot is None or tree is None:
            return None
        account = self._accounts.get(slot.id)
        if account is None:
            account = self._accounts[slot.id] = _Account(tree.health._monitor._thresholds, [])
        account.let_pass(self._view.clock.now())
        return account

    def _count(self, message: Observed) -> None:
        for seen in message.observations:
            account, slot = self._account(seen.backend), self._view.slot(seen.backend)
            if account is None or slot is None or slot.id != seen.slot:
                continue
            if seen.error is None or seen.blames_backend:
                account.add(seen.error is None, self._view.clock.now())

    def _say(self, kind: str, backend: str, text: str) -> None:
        self._findings.say(f"health {kind}", backend, text)


def _words(state: BackendState, attempts: int, errors: int) -> str:
    return f"{state.value} by {errors} errors in {attempts} attempts"
