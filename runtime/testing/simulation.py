"""A simulation: a real Runtime on a simulated machine, with simulated backends, traffic and faults."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from time import perf_counter
from types import TracebackType
from typing import Any, Protocol, Self, Unpack

from showcaller.actors.backend_config import BackendConfig
from showcaller.actors.configuration import RuntimeConfig
from showcaller.actors.errors import ConfigurationError
from showcaller.actors.escalation import Escalation
from showcaller.actors.kernel.actor import MARK
from showcaller.actors.kernel.context import paced_by
from showcaller.actors.kernel.reply import ReplyFuture
from showcaller.actors.validators import is_number, nearest
from showcaller.runtime.config import load_config
from showcaller.runtime.prompt import Options
from showcaller.runtime.runtime import Runtime
from showcaller.runtime.testing import watch
from showcaller.runtime.testing.backend import SimulatedBackend
from showcaller.runtime.testing.batching import Batching
from showcaller.runtime.testing.behaviour import Behaviour
from showcaller.runtime.testing.chronicler import Chronicler
from showcaller.runtime.testing.client import Client, Plan
from showcaller.runtime.testing.clock import START
from showcaller.runtime.testing.door import Door
from showcaller.runtime.testing.errors import SimulationError
from showcaller.runtime.testing.inspector import Inspector
from showcaller.runtime.testing.report import Report
from showcaller.runtime.testing.saboteur import Saboteur
from showcaller.runtime.testing.schedule import Schedule, SeededSchedule
from showcaller.runtime.testing.silence import silence_simulations
from showcaller.runtime.testing.timeline import Moment
from showcaller.runtime.testing.traffic import Prompts, Traffic
from showcaller.runtime.testing.world import World

SETTLING = 2.0
"""Seconds after the last outcome in which what is owed to quotas and observers is sent."""


class Fault(Protocol):
    """Something that goes wrong at a time."""

    @property
    def lasts(self) -> float:
        """Seconds until it is over by itself; 0 when it is over at once."""

    def apply(self, simulation: Simulation) -> None:
        """Let it go wrong now."""


class Simulation:
    """A runtime in virtual time; use it as a context manager.

    Inside the `with` block `simulation.runtime` is a real Runtime: what waits on it lets virtual time pass.

    Args:
        config: a RuntimeConfig, or the path of a TOML file; its credentials are never looked up.
        seed: two simulations of the same seed that are used in the same way are the same run; by default
            what the pytest plugin says, else 0.
        behaviours: how backends answer, by name; the others as Behaviour.of_type says.
        schedule: who goes on; by default drawn from the seed.

    Attributes:
        seed: the same as the argument.
        runtime: the Runtime, inside the `with` block.
        world, saboteur: the machine, and what goes wrong in it.
        backends: the simulated backends by name; one that was removed stays.
        made: the same in the order in which they were made; a name that was added again is there twice.
        clients: the callers of its traffic, in the order of their arrival.
        door: knows all requests, also those that were sent by `runtime` itself.
        inspector: watches, and knows which invariants did not hold.
        timeline: what happened.
        replies: what was asked of the supervisor meanwhile; each gets its answer.
        escalations: what `on_failed` was called with.
        batches: the callers that use a batcher.
        began: when it was entered, in seconds of the computer's own clock.
    """

    def __init__(
        self,
        config: RuntimeConfig | str | Path,
        *,
        seed: int | None = None,
        behaviours: Mapping[str, Behaviour] | None = None,
        schedule: Schedule | None = None,
    ) -> None:
        self.config = config if isinstance(config, RuntimeConfig) else load_config(config)
        self.seed = (watch.default_seed or 0) if seed is None else seed
        self.saboteur = Saboteur()
        self.world = self._make_world(schedule or SeededSchedule(self.rng("schedule")))
        self.saboteur.deliver = self._deliver_later
        self.inspector = Inspector(self)
        self.world.observers += [self.inspector, Chronicler(self)]
        self.backends: dict[str, SimulatedBackend] = {}
        self.made: list[SimulatedBackend] = []
        self.clients: list[Client] = []
        self.runtime: Runtime
        self.door = Door(self.world.clock)
        self._behaviours = dict(behaviours or {})
        names = [backend.name for backend in self.config.backends]
        for name in self._behaviours:
            if name not in names:
                raise ConfigurationError(f"behaviours: no backend is named {name!r}{nearest(name, names)}")
        self._traffic_rng = self.rng("traffic")
        self._stack = ExitStack()
        self.timeline: list[Moment] = []
        self.replies: list[ReplyFuture] = []
        self.escalations: list[Escalation] = []
        self.batches: list[Batching] = []
        self._planned: list[tuple[float, str, Callable[[], None]]] | None = []
        self._last = 0.0

    def _make_world(self, schedule: Schedule) -> World:
        return World(schedule, self.rng("actors"), self.saboteur)

    def rng(self, purpose: str) -> random.Random:
        """A source of randomness of its own for each purpose, so that none disturbs another."""
        return random.Random(f"{self.seed}/{purpose}")

    # --- its life ---

    def __enter__(self) -> Self:
        self.began = perf_counter()
        silence_simulations()
        self._stack.enter_context(paced_by(self.world))
        try:
            self.runtime = Runtime.start(
                self.config,
                transports=self._make_backend,
                on_failed=self.escalations.append,
                machine=self.world,
            )
            self.door.open(self.runtime._edge)
        except BaseException:
            self._stack.close()
            raise
        planned, self._planned = self._planned, None
        for time, name, act in planned or ():
            self.world.at(time, name, act)
        for told in watch.begun:
            told(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.world.trace.closed = True
        try:
            if kind is None:
                self.runtime.stop(0.0)
                self._look_for_what_is_left()
        finally:
            self._stack.close()

    def _look_for_what_is_left(self) -> None:
        known = len(self.inspector.violations)
        self.inspector.at_stop()
        left = self.inspector.violations[known:]
        if left:
            raise SimulationError(f"after the stop, with seed {self.seed}: {'; '.join(left)}")

    @property
    def now(self) -> float:
        """Virtual seconds since the beginning."""
        return self.world.clock.now() - START

    # --- what happens ---

    def traffic(
        self,
        *,
        rate: float,
        duration: float,
        prompts: Prompts = None,
        start: float = 0.0,
        streams: float = 0.0,
        cancels: float = 0.0,
        patience: float = 2.0,
        read_pause: float = 0.0,
        reads: int | None = None,
        **options: Unpack[Options],
    ) -> None:
        """Let requests arrive; see Traffic."""
        traffic = Traffic(
            rate=rate,
            duration=duration,
            start=start,
            prompts=prompts,
            streams=streams,
            cancels=cancels,
            patience=patience,
            read_pause=read_pause,
            reads=reads,
            options=options,
        )
        self.add_traffic(traffic)

    def add_traffic(self, traffic: Traffic) -> None:
        """Let requests arrive."""
        self._last = max(self._last, traffic.start + traffic.duration)
        self._plan_arrival(traffic, self.now)

    def _plan_arrival(self, traffic: Traffic, after: float) -> None:
        at = traffic.next_arrival(after, self._traffic_rng)
        if at is not None:
            self._plan(at, "arrival", lambda: self._arrive(traffic, at))

    def _arrive(self, traffic: Traffic, at: float) -> None:
        self.send(traffic.plan(len(self.clients) + 1, self._traffic_rng))
        self._plan_arrival(traffic, at)

    def send(self, plan: Plan) -> Client:
        """Let one caller send its request now."""
        client = Client(self.world, self.door, plan, len(self.clients) + 1)
        self.clients.append(client)
        client.send()
        return client

    def at(self, time: float, fault: Fault | Callable[[], None]) -> None:
        """Let something happen at a virtual time, in seconds from the beginning.

        Args:
            time: when.
            fault: one of `faults`, or any function; it must not wait.

        Raises:
            ConfigurationError: one of them is wrong.
        """
        if not is_number(time) or time < 0:
            raise ConfigurationError(f"time = {time!r}: use seconds from the beginning, 0 or more")
        if not callable(fault) and not callable(getattr(fault, "apply", None)):
            raise ConfigurationError(f"fault = {fault!r}: use one of faults, or a function without arguments")
        lasts = 0.0 if callable(fault) else fault.lasts
        self._last = max(self._last, time + lasts)
        self._plan(time, "plan", fault if callable(fault) else lambda: self._strike(fault))

    def _strike(self, fault: Fault) -> None:
        # A machine that was suspended is late, and so is the end of what begins then.
        self._last = max(self._last, self.now + fault.lasts)
        fault.apply(self)

    def _plan(self, time: float, name: str, act: Callable[[], None]) -> None:
        # Before there is a runtime nothing may strike, not even at 0.
        if self._planned is None:
            self.world.at(START + time, name, act)
        else:
            self._planned.append((START + time, name, act))

    def advance(self, seconds: float) -> None:
        """Let so much time pass.

        Raises:
            ConfigurationError: `seconds` is no number of 0 or more.
        """
        if not is_number(seconds) or seconds < 0:
            raise ConfigurationError(f"seconds = {seconds!r}: use a number of 0 or more")
        self.world.run_until(self.world.clock.now() + seconds)

    def _make_backend(self, config: BackendConfig) -> SimulatedBackend:
        behaviour = self._behaviours.get(config.name) or Behaviour.of_type(config.backend_type)
        backend = SimulatedBackend(
            config,
            behaviour,
            clock=self.world.clock,
            rng=self.rng(f"backend {config.name} {len(self.made)}"),
            waker=self.world.waker,
        )
        before = self.backends.get(config.name)
        if before is not None:
            # What is wrong with an endpoint is wrong with it under its new configuration too.
            backend.conditions = before.conditions
        self.backends[config.name] = backend
        self.made.append(backend)
        return backend

    def _deliver_later(self, owner: str, message: Any, delay: float) -> None:
        slot = owner.removeprefix(MARK).partition("#")[0]
        address = self.runtime._tree.address(slot)

        def put() -> None:
            self.saboteur.delivering(lambda: address.tell(message))

        self.world.at(self.world.clock.now() + delay, f"late for {slot}", put)

    def note(self, what: str) -> None:
        """Put something on the timeline."""
        self.timeline.append(Moment(self.now, what))

    def run(self) -> Report:
        """Let everything happen that is planned, and wait until every request has its outcome."""
        while self.world.clock.now() < START + self._last:
            self.world.run_until(START + self._last)
        items = [item for batching in self.batches for item in batching.added]
        deadlines = [sent.deadline for sent in self.door.requests if sent.completed is None]
        deadlines += [item.deadline for item in items if not item.pending.done()]
        longest = max(deadlines, default=0.0) - self.world.clock.now() + 1.0
        self.world.pass_until(
            lambda: self.runtime._edge.account.open == 0 and all(item.pending.done() for item in items),
            longest,
        )
        self.advance(SETTLING)
        self._judge()
        return Report.of(self)

    def _judge(self) -> None:
        self.inspector.at_end()
