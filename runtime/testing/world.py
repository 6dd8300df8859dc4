"""The world of a simulation: the machine on which a runtime runs without a thread, in virtual time.

Everything that could be a thread is a process here: each actor, each job, the clock, each plan from outside.
One step lets one of them do one thing, whichever the schedule chooses, and time goes on when nothing is left
that can happen now. Two runs with the same schedule are the same run.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from typing import Any, Protocol

from pykka._envelope import Envelope

from showcaller.actors.kernel.cell import Cell
from showcaller.actors.kernel.context import stepping
from showcaller.actors.kernel.errors import BlockingCallError
from showcaller.actors.kernel.mailbox import Mailbox
from showcaller.actors.kernel.system import ActorSystem
from showcaller.actors.kernel.workers import Workers
from showcaller.runtime.testing.clock import START, VirtualClock
from showcaller.runtime.testing.errors import (
    DeadlockError,
    InjectedExitError,
    SimulationError,
)
from showcaller.runtime.testing.mailbox import SimulatedMailbox
from showcaller.runtime.testing.process import ActorProcess, Agenda, JobProcess, PlannedProcess, Process
from showcaller.runtime.testing.saboteur import Saboteur
from showcaller.runtime.testing.schedule import Schedule
from showcaller.runtime.testing.system import SimulatedSystem
from showcaller.runtime.testing.trace import Trace
from showcaller.runtime.testing.workers import SimulatedWorkers

AT_ONE_MOMENT = 200_000
"""More steps than that without time going on are taken for a run that never ends."""


class Observer(Protocol):
    """Sees everything that happens between steps; changes nothing."""

    def sent(self, owner: str, message: Any) -> None:
        """A message has arrived in a mailbox."""

    def taken(self, cell: Cell, message: Any) -> None:
        """An actor has taken a message out of its mailbox, and is about to handle it."""

    def handled(self, cell: Cell) -> None:
        """An actor has handled a message, or has started."""

    def at_rest(self) -> None:
        """Nothing can happen any more at this moment."""


class World:
    """See the module's text. It is a Machine, a Dispatcher and a Pacemaker.

    Args:
        schedule: who goes on.
        rng: the actors' own source of randomness.
        saboteur: decides which processes misbehave, and how; a new one lets everything be.

    Attributes:
        steps: how many there have been.
        current: the process whose step it is; between steps the user of the simulation.
        observers: who is told what happens.
    """

    def __init__(self, schedule: Schedule, rng: random.Random, saboteur: Saboteur) -> None:
        self.name = "r"
        self.clock = VirtualClock()
        self.trace = Trace()
        self.steps = 0
        self.user = self.current = Process("user", 0)
        self.observers: list[Observer] = []
        self.system: ActorSystem = SimulatedSystem(
            cast=saboteur.cast,
            clock=self.clock,
            rng=rng,
            shared=self,
            pinned=self,
            workers=self._make_workers,
            mailbox=self._make_mailbox,
        )
        self.callbacks: Workers = self._make_workers("callbacks", 4)
        self.finalizers: Workers = self._make_workers("finalizers", 1)
        self.choose = schedule.choose
        self._saboteur = saboteur
        self._ready: list[Process] = []
        self._agenda = Agenda()
        self._clock_process = Process("clock", 0)
        self._actors: dict[str, ActorProcess] = {}
        self._asked: dict[str, str] = {}
        self._at_this_moment = 0
        self._refused: BlockingCallError | None = None

    # --- as a machine, a dispatcher, and what makes mailboxes and workers ---

    stuck = None

    def start(self) -> None:
        """Nothing is to be started."""

    def stop(self, left: Callable[[], float]) -> int:
        """End what has not ended by itself; how many that are."""
        left_over = list(self._actors.values())
        for process in left_over:
            process.cell.end()
        self._actors.clear()
        return len(left_over)

    def attach(self, cell: Cell) -> None:
        """Step the cell from now on."""
        if self._saboteur.refuses_threads(cell.slot):
            raise RuntimeError(f"no thread could be started for {cell.name}")
        process = ActorProcess(cell, self.steps)
        self._actors[cell.name] = process
        cell.mailbox.on_ready = lambda: self._make_ready(process)
        self._make_ready(process)

    def _make_mailbox(self, owner: str, capacity: int) -> Mailbox:
        return SimulatedMailbox(owner, capacity, self)

    def _make_workers(self, name: str, limit: int) -> SimulatedWorkers:
        return SimulatedWorkers(name, limit, self)

    # --- plans ---

    def at(self, time: float, name: str, act: Callable[[], None]) -> None:
        """Do something at a virtual time, as the process `name`."""
        self._agenda.add(max(time, self.clock.time), PlannedProcess(name, self.steps, act))

    def go_on(self, process: JobProcess, pause: float) -> None:
        """Let a job go on after so many seconds; after an endless pause only when it is woken."""
        process.wakes_at = self.clock.time + pause
        if process.wakes_at < math.inf:
            self._agenda.add(process.wakes_at, process)

    def waker(self) -> Callable[[], None] | None:
        """What lets the job whose step it is go on at once; None outside of a job."""
        process = self.current
        return (lambda: self._wake(process)) if isinstance(process, JobProcess) else None

    def _wake(self, process: JobProcess) -> None:
        if process.wakes_at is not None and process.wakes_at > self.clock.time:
            self.go_on(process, 0.0)

    # --- steps ---

    def step(self) -> bool:
        """Let one thing happen, now or at the next moment at which something can; False when nothing can."""
        while not self._something_ready():
            at = self._next_at()
            if at is None:
                return False
            self._move_to(at)
        self._one_step()
        return True

    def run_until(self, time: float) -> None:
        """Let everything happen that is due up to a time, and move to it."""
        while True:
            while self._something_ready():
                self._one_step()
            at = self._next_at()
            if at is None or at > time:
                break
            self._move_to(at)
        self._rest()
        self.clock.time = max(self.clock.time, time)

    def pass_until(self, ready: Callable[[], bool], timeout: float | None) -> None:
        """Let things happen until `ready`, or for `timeout` virtual seconds.

        Raises:
            SimulationError: there is no timeout, and nothing can happen any more.
        """
        until = None if timeout is None else self.clock.time + max(0.0, timeout)
        while not ready():
            if not self._something_ready():
                at = self._next_at()
                if until is not None and (at is None or at > until):
                    self._rest()
                    self.clock.time = max(self.clock.time, until)
                    return
                if at is None:
                    raise SimulationError("the caller waits, and nothing can happen any more")
                self._move_to(at)
            else:
                self._one_step()

    def beat(self) -> None:
        """Let one thing happen.

        Raises:
            SimulationError: nothing can happen any more.
        """
        if not self.step():
            raise SimulationError("a coroutine waits, and nothing can happen any more")

    def refused(self, error: BlockingCallError) -> None:
        """A step has tried to wait: that is an error of the run, whatever the actor makes of it."""
        self._refused = error

    def _something_ready(self) -> bool:
        while (due := self._agenda.pop_due(self.clock.time)) is not None:
            planned_for, process = due
            if isinstance(process, JobProcess):
                if process.wakes_at != planned_for:
                    # It was woken earlier.
                    continue
                process.wakes_at = None
            self._ready.append(process)
        return bool(self._ready) or self._timer_is_due()

    def _timer_is_due(self) -> bool:
        at = self.clock.timers.next_at()
        return at is not None and at <= self.clock.time

    def _next_at(self) -> float | None:
        agenda, timers = self._agenda.next_at(), self.clock.timers.next_at()
        return min((at for at in (agenda, timers) if at is not None), default=None)

    def _move_to(self, time: float) -> None:
        self._rest()
        self.clock.time = max(self.clock.time, time)
        self._at_this_moment = 0

    def _rest(self) -> None:
        for observer in self.observers:
            observer.at_rest()

    def _one_step(self) -> None:
        ready = self._ready
        count = len(ready) + self._timer_is_due()
        chosen = self.choose(count) if count > 1 else 0
        self.steps += 1
        self._at_this_moment += 1
        if self._at_this_moment > AT_ONE_MOMENT:
            raise SimulationError(f"{AT_ONE_MOMENT} steps were made and no time has passed")
        # In the order in which they became ready, so that the first choice is first in, first out.
        process = self._clock_process if chosen == len(ready) else ready.pop(chosen)
        self.current = process
        try:
            with stepping(process.name):
                self._let_go_on(process)
        finally:
            self.current = self.user
            self.user.knows = self.steps
        refused, self._refused = self._refused, None
        if refused is not None:
            raise DeadlockError(self._cycle(process.name)) from refused

    def _let_go_on(self, process: Process) -> None:
        match process:
            case ActorProcess():
                self._step_actor(process)
            case JobProcess():
                self.trace.add(f"{self.clock.time - START:.6f} {process.name} goes on")
                pause = process.job.step()
                if pause is None:
                    process.finished(process)
                elif process.wakes_at is None:
                    self.go_on(process, pause)
            case PlannedProcess():
                self.trace.add(f"{self.clock.time - START:.6f} {process.name}")
                process.act()
            case _:
                process.knows = self.steps
                timer = self.clock.timers.pop_due(self.clock.time)
                if timer is not None:
                    self.trace.add(f"{self.clock.time - START:.6f} timer {type(timer.message).__name__}")
                    timer.fire()

    def _step_actor(self, process: ActorProcess) -> None:
        cell = process.cell
        until = self._saboteur.stalled_until(cell.slot, self.clock.time)
        if until > self.clock.time:
            self._agenda.add(until, process)
            return
        if cell.phase == "__init__":
            self.trace.add(f"{self.clock.time - START:.6f} {process.name} starts")
            self._saboteur.before(cell, None)
        cell.turn(1)
        for observer in self.observers:
            observer.handled(cell)
        if cell.interrupt is not None and not isinstance(cell.interrupt, InjectedExitError):
            raise cell.interrupt
        if cell.ended.is_set():
            self._actors.pop(cell.name, None)
        elif not cell.mailbox.park():
            self._make_ready(process)

    def _make_ready(self, process: ActorProcess) -> None:
        self._ready.append(process)

    # --- what mailboxes report ---

    def let_through(self, mailbox: Mailbox, envelope: Envelope[Any]) -> bool:
        """A message is put into a mailbox; False when it gets lost, or comes later."""
        if envelope.reply_to is not None:
            self._asked[self.current.name] = mailbox.owner
        if not self._saboteur.let_through(mailbox.owner, envelope.message):
            return False
        for observer in self.observers:
            observer.sent(mailbox.owner, envelope.message)
        return True

    def is_overloaded(self, owner: str) -> bool:
        """Does a fault say that a mailbox's bounded lane takes nothing?"""
        return self._saboteur.is_overloaded(owner)

    def received(self, mailbox: Mailbox, envelope: Envelope[Any], put_in: int | None) -> None:
        """An actor takes a message out of its mailbox and is about to handle it."""
        process = self._actors.get(mailbox.owner)
        if process is None:
            return
        if put_in is not None and put_in > process.knows:
            process.knows = put_in
        message = envelope.message
        self.trace.add(f"{self.clock.time - START:.6f} {mailbox.owner} gets {type(message).__name__}")
        for observer in self.observers:
            observer.taken(process.cell, message)
        self._saboteur.before(process.cell, message)

    def refuses_threads(self, name: str) -> bool:
        """Does a fault say that no thread can be started for a pool?"""
        return self._saboteur.refuses_threads(name)

    def _cycle(self, waiting: str) -> str:
        """Who waits for whom, from the one whose step it was."""
        names = [waiting]
        while names[-1] in self._asked and self._asked[names[-1]] not in names:
            names.append(self._asked[names[-1]])
        back = self._asked.get(names[-1], waiting)
        path = " -> ".join([*names, back])
        return (
            f"{waiting} waits inside a handler, and while it waits nothing else can go on: {path}. An actor sends "
            "tells and gets its answers as messages"
        )
