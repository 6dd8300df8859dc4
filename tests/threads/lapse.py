"""The same simulations on real threads: real locks, a real clock that runs faster, and nothing that schedules."""

from __future__ import annotations

import math
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Self

from attrs import evolve

from showcaller.actors.backend_config import BackendConfig
from showcaller.actors.kernel.cell import Cell
from showcaller.actors.kernel.clock import SystemClock, TimerHeap
from showcaller.actors.kernel.mailbox import Mailbox
from showcaller.actors.kernel.system import ActorSystem
from showcaller.actors.kernel.workers import ThreadWorkers
from showcaller.actors.transport import Attempt, Pause, TransportEvent
from showcaller.runtime.machine import ThreadMachine
from showcaller.runtime.testing.backend import SimulatedBackend
from showcaller.runtime.testing.clock import EPOCH, START
from showcaller.runtime.testing.errors import injected
from showcaller.runtime.testing.saboteur import Saboteur
from showcaller.runtime.testing.schedule import Schedule
from showcaller.runtime.testing.simulation import Simulation
from showcaller.runtime.testing.world import World

SPEED = 30.0
"""Seconds of a simulation that pass in a real one, while requests are on their way."""
CALLERS = 8
POLL = 0.002
HEARING = 900.0
"""Seconds of the faster clock that callers may take on a machine that has other things to do."""


class LapseClock(SystemClock):
    """A system clock that can run faster, and that faults can set."""

    def __init__(self) -> None:
        super().__init__()
        self._pace = (START, time.monotonic(), 1.0)
        self.wall_offset = EPOCH - START

    def now(self) -> float:
        then, real, speed = self._pace
        return then + (time.monotonic() - real) * speed

    def wall(self) -> float:
        return self.now() + self.wall_offset

    @property
    def time(self) -> float:
        """As of a virtual clock."""
        return self.now()

    @time.setter
    def time(self, now: float) -> None:
        with self._lock:
            self._pace = (now, time.monotonic(), self._pace[2])
            self._changed.notify()

    def run_at(self, speed: float) -> None:
        """From now on let so many seconds pass in a real one."""
        with self._lock:
            self._pace = (self.now(), time.monotonic(), speed)
            self._changed.notify()

    @property
    def timers(self) -> TimerHeap:
        """As of a virtual clock."""
        return self._timers

    def _pause(self, seconds: float) -> float:
        return seconds / self._pace[2]


class SabotagedMailbox(Mailbox):
    """Lets the saboteur kill its actor, as the simulated one does."""

    def __init__(self, owner: str, capacity: int, world: ThreadWorld) -> None:
        super().__init__(owner, capacity)
        self._world = world

    def _take(self, envelope: Any) -> Exception | None:
        if not self._world.may_pass(self.owner, envelope.message):
            return None
        return super()._take(envelope)

    def get(self) -> Any:
        envelope = super().get()
        self._world.before(self.owner, envelope.message)
        return envelope


class ThreadWorld(World):
    """What a simulation asks of its world, given by threads."""

    def __init__(self, schedule: Schedule, rng: Any, saboteur: Saboteur) -> None:
        super().__init__(schedule, rng, saboteur)
        self.clock: Any = LapseClock()
        machine = ThreadMachine(self.clock)
        self._machine = machine
        self._cells: dict[str, Cell] = {}
        self._sabotage = threading.RLock()
        self._callers = ThreadWorkers("callers", CALLERS)
        self._turns: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)
        self._planned: dict[Act, float] = {}
        self.raised: list[BaseException] = []
        self.system = ActorSystem(
            clock=self.clock,
            rng=rng,
            shared=self._watched(machine.system.shared),
            pinned=self._watched(machine.system.pinned),
            workers=ThreadWorkers,
            mailbox=lambda owner, capacity: SabotagedMailbox(owner, capacity, self),
        )
        self.callbacks, self.finalizers = machine.callbacks, machine.finalizers

    def _watched(self, dispatcher: Any) -> Any:
        world = self

        class Watched:
            def attach(self, cell: Cell) -> None:
                if world._saboteur.refuses_threads(cell.slot):
                    raise injected(RuntimeError)
                world._cells[cell.name] = cell
                with world._sabotage:
                    world._saboteur.before(cell, None)
                dispatcher.attach(cell)

        return Watched()

    def start(self) -> None:
        self._machine.start()

    def stop(self, left: Callable[[], float]) -> int:
        self._callers.close()
        return self._machine.stop(left) + self._callers.join(left())

    def at(self, when: float, name: str, act: Callable[[], None]) -> None:
        planned = Act(self, self._turns[name], act)
        self._planned[planned] = when
        self.clock.call_later(max(0.0, when - self.clock.now()), self, planned)

    def over(self, act: Act, error: BaseException | None) -> None:
        """A plan is carried out, or was broken off by an error."""
        del self._planned[act]
        if error is not None:
            self.raised.append(error)

    def tell(self, act: Act) -> None:
        """A plan is due, on the clock's thread: let a caller's thread carry it out."""
        self._callers.run(act)

    @property
    def moves(self) -> bool:
        """Is there a plan or a timer that is due, or an actor that has something to do?"""
        now = self.clock.now()
        return (
            any(when <= now for when in list(self._planned.values()))
            or (self.clock.timers.next_at() or math.inf) <= now
            or not all(
                cell.ended.is_set() or (cell.mailbox._parked and cell.mailbox.empty())
                for cell in list(self._cells.values())
            )
        )

    @contextmanager
    def standstill(self, quiet: Callable[[], bool]) -> Iterator[None]:
        """Wait until it is quiet, and let no message pass until the block is left."""
        until = self.clock.now() + HEARING
        while True:
            with self._sabotage:
                if quiet() or self.clock.now() > until:
                    yield
                    return
            time.sleep(POLL)

    def waker(self) -> None:
        """A pause on a thread is woken by its job."""

    def run_until(self, when: float) -> None:
        self.pass_until(lambda: False, when - self.clock.now())

    def pass_until(self, ready: Callable[[], bool], timeout: float | None) -> None:
        until = None if timeout is None else self.clock.now() + timeout
        while not ready() and (until is None or self.clock.now() < until):
            time.sleep(POLL)

    def may_pass(self, owner: str, message: Any) -> bool:
        with self._sabotage:
            if not self._saboteur.let_through(owner, message):
                return False
            for observer in self.observers:
                observer.sent(owner, message)
            return True

    def before(self, owner: str, message: Any) -> None:
        cell = self._cells.get(owner)
        if cell is not None:
            with self._sabotage:
                self._saboteur.before(cell, message)


class Act:
    """A job that does one thing and says so; those of one caller one after the other."""

    def __init__(self, world: ThreadWorld, turn: threading.Lock, act: Callable[[], None]) -> None:
        self._world = world
        self._turn = turn
        self._act = act

    def step(self) -> None:
        error = None
        try:
            with self._turn:
                self._act()
        except BaseException as raised:  # noqa: BLE001 - it fails the episode, not a thread
            error = raised
        self._world.over(self, error)

    def wait(self, seconds: float) -> None:
        """Never called."""


class LapseBackend(SimulatedBackend):
    """A simulated backend whose pauses are as much shorter as time runs faster."""

    def attempt(self, attempt: Attempt) -> Iterator[TransportEvent]:
        for event in super().attempt(attempt):
            yield evolve(event, seconds=event.seconds / SPEED) if isinstance(event, Pause) else event


class ThreadSimulation(Simulation):
    """A simulation on threads.

    It starts and stops in real time: what has ten seconds for that shall have them, and not a third of one,
    which a single garbage collection of a large process can take.
    """

    world: ThreadWorld

    def __enter__(self) -> Self:
        super().__enter__()
        self.world.clock.run_at(SPEED)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.world.clock.run_at(1.0)
        super().__exit__(kind, error, traceback)

    def advance(self, seconds: float) -> None:
        """And until every caller has done what is due and heard what was told to it: they have threads of their own."""
        super().advance(seconds)
        self.world.pass_until(self._quiet, HEARING)
        for error in self.world.raised:
            raise error

    def _judge(self) -> None:
        """Where nothing moves: what is on its way between two threads would be missed in both."""
        with self.world.standstill(self._quiet):
            super()._judge()

    def _quiet(self) -> bool:
        return (
            not self.world.moves
            and self.runtime.status().account.open == 0
            and not len(self.runtime._tree.roster.outbox)
            and all(sent.outcomes for sent in list(self.door.requests) if sent.refused is None)
        )

    def _make_world(self, schedule: Schedule) -> World:
        return ThreadWorld(schedule, self.rng("actors"), self.saboteur)

    def _make_backend(self, config: BackendConfig) -> SimulatedBackend:
        backend = super()._make_backend(config)
        lapse = LapseBackend(
            config, backend.behaviour, clock=self.world.clock, rng=self.rng(f"lapse {config.name}")
        )
        self.backends[config.name] = lapse
        self.made[-1] = lapse
        return lapse
