"""What goes wrong inside the tree: crashes, failing starts, stalls, and results that go astray.

Faults tell it what to do; it does it at the next chance, to the real actors, from outside.
"""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Callable
from typing import Any

from attrs import define, frozen
from pykka.messages import _ActorStop

from showcaller.actors.kernel.actor import MARK, KernelActor
from showcaller.actors.kernel.cell import Cell
from showcaller.actors.messages import AttemptFinished, Provoke, WindDown
from showcaller.runtime.testing.errors import InjectedCrashError, InjectedExitError, injected

ON_START = "on_start"
ON_STOP = "on_stop"


def slot_of(owner: str) -> str:
    """The slot of a mailbox's owner."""
    return owner.removeprefix(MARK).partition("#")[0]


class Nudge(Provoke):
    """To an actor that is to crash, so that it has a message to crash at; else it changes nothing."""


# The guardian redelivers what an actor died of, but no drill.
Nudge.handler = Provoke.handler


@frozen(kw_only=True)
class Crash:
    """A death that is waiting for its chance.

    Attributes:
        handler: at the next message with this handler, such as on_granted; None: at the next message.
        after: when the handler has done its work; else before.
        base: of an exception that is none of Exception's.
    """

    handler: str | None = None
    after: bool = False
    base: bool = False


@define(eq=False)
class Meddling:
    """What becomes of the results of a backend's attempts on their way to the supervisor.

    Attributes:
        backend: whose.
        left: of how many.
        passes: do they arrive when they should?
        again: seconds after which a copy of each arrives.
    """

    backend: str
    left: float
    passes: bool
    again: tuple[float, ...]


@frozen(eq=False)
class Breakage:
    """An actor's handlers raise instead of doing their work.

    Attributes:
        error: what.
        share: in which part of all cases; `rng` draws it.
    """

    error: type[Exception]
    share: float
    rng: random.Random


class Saboteur:
    """See the module's text.

    Slots are named as in the tree: "supervisor", or "backend:openai@1".

    Attributes:
        crashes: what each slot is to die of.
        failing_starts: how many of a slot's next starts fail in on_start; `failing_inits`: in __init__.
        threadless: how many of the next threads of an actor or a pool cannot be started.
        meddling: what becomes of results; the first that fits one counts.
        stalls: until when a slot does nothing. slow: how many seconds it takes for each message; the most counts.
        broken: which handlers raise. overloaded: which slots' bounded lanes take nothing.
        deliver: puts a message into the mailbox of an owner after so many seconds.
        injected: how many deaths it has caused.
    """

    def __init__(self) -> None:
        self.crashes: defaultdict[str, list[Crash]] = defaultdict(list)
        self.failing_starts: Counter[str] = Counter()
        self.failing_inits: Counter[str] = Counter()
        self.threadless: Counter[str] = Counter()
        self.meddling: list[Meddling] = []
        self.stalls: dict[str, float] = {}
        self.slow: dict[str, list[float]] = {}
        self.broken: defaultdict[str, list[Breakage]] = defaultdict(list)
        self.overloaded: Counter[str] = Counter()
        self.deliver: Callable[[str, Any, float], None] = lambda owner, message, delay: None
        self.injected = 0
        self._delivering = False
        self._slept: dict[str, float] = {}
        self._struck: dict[str, Any] = {}

    # --- what the world asks about messages ---

    def let_through(self, owner: str, message: Any) -> bool:
        """May a message arrive now?"""
        if self._delivering or not self.meddling or not isinstance(message, AttemptFinished):
            return True
        for meddling in self.meddling:
            if meddling.backend == message.record.slot and meddling.left > 0:
                meddling.left -= 1
                for delay in meddling.again:
                    self.deliver(owner, message, delay)
                return meddling.passes
        return True

    def delivering(self, put: Callable[[], None]) -> None:
        """Put a message that was held back."""
        self._delivering = True
        try:
            put()
        finally:
            self._delivering = False

    def is_overloaded(self, owner: str) -> bool:
        """Does the bounded lane of a mailbox take nothing?"""
        return self.overloaded.total() > 0 and self.overloaded[slot_of(owner)] > 0

    # --- what the world asks about actors ---

    def cast(self, slot: str, actor_class: type[KernelActor]) -> type[KernelActor]:
        """What is made when an actor is to be made."""
        if self.failing_inits[slot] > 0:
            self.failing_inits[slot] -= 1
            self.injected += 1
            return Stillborn
        return actor_class

    def before(self, cell: Cell, message: Any) -> None:
        """An actor is about to handle a message, or for None to start."""
        if message is None:
            if self.failing_starts[cell.slot] > 0:
                self.failing_starts[cell.slot] -= 1
                self._replace(cell, ON_START, Crash())
            return
        handler = ON_STOP if isinstance(message, _ActorStop) else getattr(message, "handler", None)
        if handler is None:
            return
        crash = self._crash_at(cell.slot, handler, message)
        if crash is not None:
            self._replace(cell, handler, crash, works=not isinstance(message, Nudge))
        elif isinstance(message, Nudge):
            self._replace(cell, handler, None, works=False)
        elif (error := self._breakage_at(cell.slot, message)) is not None:
            self._replace(cell, handler, error)

    def stalled_until(self, slot: str, now: float) -> float:
        """When an actor that could go on now does go on."""
        until = self.stalls.get(slot, 0.0)
        pauses = self.slow.get(slot)
        if pauses is None:
            self._slept.pop(slot, None)
            return until
        due = self._slept.pop(slot, None)
        if due is not None and now >= due:
            return until
        self._slept[slot] = due if due is not None else now + max(pauses)
        return max(until, self._slept[slot])

    def refuses_threads(self, name: str) -> bool:
        """Can no thread be started for that pool or actor? Asked once for each that would be."""
        if self.threadless[name] > 0:
            self.threadless[name] -= 1
            return True
        return False

    # --- inside ---

    def _crash_at(self, slot: str, handler: str, message: Any) -> Crash | None:
        # Never twice at the same message: who dies of one twice is rightly not given it again.
        if self._struck.get(slot) is message:
            return None
        for crash in self.crashes.get(slot, ()):
            if crash.handler in (None, handler):
                self.crashes[slot].remove(crash)
                self._struck[slot] = message
                return crash
        return None

    def _breakage_at(self, slot: str, message: Any) -> Exception | None:
        if isinstance(message, WindDown | _ActorStop):
            return None
        for breakage in self.broken.get(slot, ()):
            if breakage.share >= 1.0 or breakage.rng.random() < breakage.share:
                return injected(breakage.error)
        return None

    def _replace(
        self, cell: Cell, handler: str, how: Crash | Exception | None, *, works: bool = True
    ) -> None:
        """Let the actor's handler do something else, this once: die, raise, or for None nothing at all."""
        actor: Any = cell._actor
        work = getattr(actor, handler, None)
        if work is None:
            return
        self.injected += how is not None

        def once(*args: Any) -> None:
            delattr(actor, handler)
            if isinstance(how, Exception):
                raise how
            if how is not None:
                if how.after and works:
                    work(*args)
                raise (InjectedExitError if how.base else InjectedCrashError)("a fault of the simulation")

        setattr(actor, handler, once)


class Stillborn(KernelActor):
    """An actor that cannot be made."""

    def __init__(self, *_args: Any, **_kwargs: Any) -> None:
        raise InjectedCrashError("a fault of the simulation")
