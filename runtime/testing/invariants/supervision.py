"""Supervision: incarnations, their deaths and what follows from them, after the rules of actors/kernel/restart.py."""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from collections.abc import Iterable

from attrs import frozen

from showcaller.actors.kernel.cell import Cell
from showcaller.actors.kernel.child import Child, ChildState, RestartDue
from showcaller.actors.kernel.clock import Timer
from showcaller.actors.kernel.message import Down
from showcaller.actors.messages import Settle
from showcaller.actors.tree_actor import DrillError
from showcaller.runtime.testing.errors import Injected
from showcaller.runtime.testing.invariants.findings import Findings
from showcaller.runtime.testing.invariants.view import View, in_mailbox

ROUNDING = 1e-6
NO_THREAD = "start of its thread"
"""The phase in which a fault that takes threads away lets an actor die."""
CAUSES = (Injected.__name__, DrillError.__name__, NO_THREAD)
WANTED = (Injected, DrillError)
"""What an actor may die of: what was made to kill it."""
DOWN = frozenset({ChildState.RESTARTING, ChildState.FAILED})


@frozen
class _Fall:
    """A death that was taken note of: when, for how long at least, and which incarnation was to end it."""

    at: float
    least: float
    parent: int


class SupervisionChecks:
    """Watches the lives of all actors.

    Attributes:
        orderly: did the supervisor's last incarnation end because it was stopped?
    """

    def __init__(self, view: View, findings: Findings) -> None:
        self._view = view
        self._findings = findings
        self.orderly = False
        self._live: dict[str, Cell] = {}
        self._generations: dict[str, int] = {}
        self._downs: dict[tuple[str, int], Down] = {}
        self._states: dict[str, ChildState] = {}
        self._history: defaultdict[str, deque[float]] = defaultdict(deque)
        self._falls: dict[str, _Fall] = {}
        self._last_settle: Settle | None = None
        self._starts: defaultdict[str, int] = defaultdict(int)
        self._escalations: Counter[str] = Counter()

    @property
    def live(self) -> Iterable[Cell]:
        """The incarnations that have started and not ended."""
        return self._live.values()

    # --- incarnations ---

    def started(self, cell: Cell) -> None:
        """An incarnation has had a turn without a message, the first of which is its start."""
        other = self._live.get(cell.slot)
        if other is cell:
            return
        if other is not None and not other.ended.is_set():
            self._findings.say(
                "two", cell.slot, f"incarnation {cell.generation} lives beside incarnation {other.generation}"
            )
        last = self._generations.get(cell.slot, 0)
        if cell.generation <= last:
            self._findings.say("generation", cell.slot, f"incarnation {cell.generation} comes after {last}")
        self._generations[cell.slot] = cell.generation
        self._live[cell.slot] = cell

    def ended(self, cell: Cell) -> None:
        """An incarnation has had its last turn."""
        if self._live.get(cell.slot) is cell:
            del self._live[cell.slot]

    def down(self, down: Down) -> None:
        """A Down was sent."""
        known = self._downs.setdefault((down.slot, down.generation), down)
        if known is not down:
            self._findings.say("downs", down.slot, f"two Downs came of incarnation {down.generation}")
            return
        crash = down.crash
        if down.slot == "supervisor":
            self.orderly = crash is None
        elif isinstance(down.in_hand, Settle):
            self._forgive(down.in_hand)
        if crash is None or isinstance(crash.error, WANTED) or _without_thread(crash.phase, crash.error):
            return
        self._findings.say("crash", f"{down.slot} in {crash.phase}", f"unexpected crash: {crash}")

    def _forgive(self, settle: Settle) -> None:
        """What the quota manager has died of twice is not given to it again."""
        if settle is self._last_settle:
            self._view.forgiven.update(settlement.key for settlement in settle.settlements)
        self._last_settle = settle

    # --- slots ---

    def look(self, parent: str, children: Iterable[Child]) -> None:
        """A parent has done something: what has become of its children?"""
        tree = self._view.tree
        assert tree is not None
        incarnation = 1 if parent == "guardian" else tree.children[parent].generation
        for child in children:
            before, state = self._states.get(child.slot), child.state
            if state is before:
                continue
            self._states[child.slot] = state
            if before is None and state in DOWN:
                # It has died before it was seen.
                before = ChildState.RUNNING
            if before is ChildState.RUNNING and state in DOWN:
                self._fell(child, incarnation)
            elif before in DOWN and state is ChildState.RUNNING:
                self._rose(child, incarnation)

    def _fell(self, child: Child, parent: int) -> None:
        now, intensity, history = self._view.clock.now(), child._intensity, self._history[child.slot]
        while history and history[0] <= now - intensity.period:
            history.popleft()
        earlier = len(history)
        failed = child.state is ChildState.FAILED
        if failed != (earlier >= intensity.max_restarts):
            self._findings.say(
                "intensity",
                child.slot,
                f"{'was given up' if failed else 'is restarted'} after {earlier} restarts in {intensity.period:g} s, "
                f"and {intensity.max_restarts} are allowed",
            )
        if failed:
            self._escalations[_name(child.slot)] += 1
            history.clear()
            least = most = intensity.retry_failed_after
        else:
            history.append(now)
            least = intensity.backoff(earlier)
            most = least * (1 + intensity.jitter)
        self._falls[child.slot] = _Fall(now, least, parent)
        due = [timer.at for timer in self._restarts_of(child)]
        if not any(now + least - ROUNDING <= at <= now + most + ROUNDING for at in due):
            self._findings.say(
                "backoff", child.slot, f"is not to be started again in {least:.3f} to {most:.3f} s"
            )

    def _rose(self, child: Child, incarnation: int) -> None:
        self._starts[child.slot] += 1
        if child.restarts != self._starts[child.slot]:
            self._findings.say(
                "restarts",
                child.slot,
                f"counts {child.restarts} restarts, and there were {self._starts[child.slot]}",
            )
        fall = self._falls.pop(child.slot, None)
        waited = self._view.clock.now() - (0.0 if fall is None else fall.at)
        # A new parent does at once what its predecessor was about to do.
        if fall is not None and fall.parent == incarnation and waited < fall.least - ROUNDING:
            self._findings.say(
                "early",
                child.slot,
                f"was started again after {waited:.3f} s, and {fall.least:.3f} s are the least",
            )

    def was_reset(self, child: Child, *, certain: bool) -> None:
        """Somebody has given a slot another chance, perhaps: its past counts no more."""
        self._history[child.slot].clear()
        if child.state is ChildState.RUNNING:
            self._falls.pop(child.slot, None)
        elif certain and child.state is ChildState.FAILED:
            self._findings.say("reset", child.slot, "is FAILED after it was reset")

    # --- at rest ---

    def at_rest(self) -> None:
        """Who is said to run does, or its death is on its way; who waits for a restart gets it."""
        view, tree = self._view, self._view.tree
        assert tree is not None
        if tree.guardian is None or not tree.guardian.is_alive():
            return
        self._find_missing(tree.children.values(), in_mailbox(tree.guardian))
        if view.actor("supervisor") is not None:
            slots = [slot.child for slot in tree.roster.slots.values() if slot.child is not None]
            self._find_missing(slots, view.waiting("supervisor"))

    def _find_missing(self, children: Iterable[Child], waiting: list[object]) -> None:
        for child in children:
            ref = child.address.ref
            if child.state is ChildState.RUNNING and (ref is None or not ref.is_alive()):
                if not any(isinstance(m, Down) and m.slot == child.slot for m in waiting):
                    self._findings.say(
                        "missing",
                        child.slot,
                        f"incarnation {child.generation} is gone, and its parent does not know",
                    )
            elif child.state in DOWN and not waiting and not self._restarts_of(child):
                self._findings.say(
                    "forgotten", child.slot, f"is {child.state.value}, and nothing will start it again"
                )

    def _restarts_of(self, child: Child) -> list[Timer]:
        return [
            timer
            for _, _, timer in self._view.clock.timers._heap
            if isinstance(timer.message, RestartDue) and timer.message.slot == child.slot
        ]

    def at_end(self) -> None:
        """The runtime has not failed as a whole, unless it was made to; whoever was given up was reported once."""
        if self._states:
            # On real threads nobody has seen the falls.
            self._check_escalations()
        closed = self._view.edge._closed
        if closed is None or "cannot go on" not in closed.message:
            return
        if not any(cause in closed.message for cause in CAUSES):
            reason = closed.message.partition(";")[0]
            self._findings.say("failed", "the runtime", reason)

    def _check_escalations(self) -> None:
        told = Counter(escalation.actor for escalation in self._view.simulation.escalations)
        for actor in sorted(told | self._escalations):
            if told[actor] != self._escalations[actor]:
                self._findings.say(
                    "escalation",
                    actor,
                    f"was given up {self._escalations[actor]} times, and on_failed was called {told[actor]} times",
                )


def _name(slot: str) -> str:
    """What an actor is called to those who do not know that a name may be another slot's later."""
    return slot.removeprefix("backend:").rpartition("@")[0] or slot


def _without_thread(phase: str, error: BaseException) -> bool:
    return phase == NO_THREAD and "no thread could be started" in str(error)
