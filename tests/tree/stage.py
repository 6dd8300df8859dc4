"""A stage: the whole tree, stepped by hand on the test's own thread, with a clock that only the test moves."""

from __future__ import annotations

import heapq
import itertools
import random
from collections import deque
from collections.abc import Iterator
from typing import Any

from showcaller.actors.backend_config import BackendConfig
from showcaller.actors.configuration import RuntimeConfig
from showcaller.actors.errors import BackendError, RequestCancelledError, ServerError
from showcaller.actors.kernel.cell import Cell
from showcaller.actors.kernel.message import Down
from showcaller.actors.kernel.reply import ReplyFuture
from showcaller.actors.kernel.system import ActorSystem
from showcaller.actors.kernel.workers import Job
from showcaller.actors.messages import DrainBackend, Escalated, Provoke
from showcaller.actors.models import ChatRequest, Usage
from showcaller.actors.route_config import RouteConfig
from showcaller.actors.settings import HealthConfig, QuotaConfig, RuntimeSettings
from showcaller.actors.transport import Attempt, Done, Failed, Pause, Sent, TransportEvent
from showcaller.runtime.edge import Edge
from showcaller.runtime.pending import Pending
from showcaller.runtime.tree import Tree
from tests.hand_clock import HandClock


class HandDispatcher:
    """Steps cells one message at a time, in the order in which they became ready."""

    def __init__(self) -> None:
        self.ready: deque[Cell] = deque()

    def attach(self, cell: Cell) -> None:
        cell.mailbox.on_ready = lambda: self.ready.append(cell)
        self.ready.append(cell)

    def step(self) -> bool:
        if not self.ready:
            return False
        cell = self.ready.popleft()
        cell.turn(1)
        if not cell.ended.is_set() and not cell.mailbox.park():
            self.ready.append(cell)
        return True


class HandWorkers:
    """Seats that are stepped by the stage; a pause becomes a time at which to go on."""

    def __init__(self, stage: Stage, limit: int) -> None:
        self.stage = stage
        self.limit = limit
        self.abandoned: list[Job] = []
        self.closed = False

    def run(self, job: Job) -> None:
        if self.closed:
            raise RuntimeError("closed")
        self.stage.resume_at(self.stage.clock.time, job)

    def abandon(self, job: Job) -> None:
        self.abandoned.append(job)

    def close(self) -> None:
        self.closed = True

    def join(self, timeout: float) -> int:
        return 0


class Script:
    """A transport that plays one list of events for each attempt, the last list again and again.

    A number among the events is a pause of so many seconds. A cancelled attempt ends at its next event.
    """

    def __init__(self, *plays: list[TransportEvent | float | Exception]) -> None:
        self.plays = plays
        self.attempts: list[Attempt] = []
        self.closed = False

    def attempt(self, attempt: Attempt) -> Iterator[TransportEvent]:
        play = self.plays[min(len(self.attempts), len(self.plays) - 1)]
        self.attempts.append(attempt)
        for event in play:
            if attempt.cancel.cancelled:
                yield Failed(RequestCancelledError("cancelled"))
                return
            if isinstance(event, Exception):
                raise event
            yield Pause(event) if isinstance(event, float) else event

    def close(self) -> None:
        self.closed = True


def answer(text: str = "hi") -> Done:
    """A whole answer."""
    return Done(
        message={"role": "assistant", "content": text},
        finish_reason="stop",
        usage=Usage(input_tokens=3, output_tokens=2),
        model="m",
    )


OK: list[TransportEvent | float | Exception] = [Sent(), 0.1, answer()]
HANG: list[TransportEvent | float | Exception] = [Sent(), 1e9]


def failing(error: Exception) -> Script:
    """A transport whose every attempt fails of this."""
    return Script([Sent(), 0.05, Failed(error)])  # type: ignore[arg-type]


def down(name: str = "a") -> ServerError:
    """What a backend says that is down, and may have carried it out all the same."""
    return ServerError(f"{name}: HTTP 500", backend=name, status=500, maybe_executed=True)


def failed(error: type[BackendError], name: str, **fields: Any) -> list[Any]:
    """A play that fails at once, of an error of this kind."""
    return [Sent(), Failed(error(f"{name}: {error.__name__}", backend=name, **fields))]


class Stage:
    """The tree and its edge without a thread."""

    def __init__(self, config: RuntimeConfig, transports: dict[str, Script], seed: int = 0) -> None:
        self.clock = HandClock(1000.0, ahead=1_700_000_000.0)
        self.dispatcher = HandDispatcher()
        self.jobs: list[tuple[float, int, Job]] = []
        self.order = itertools.count()
        self.told: list[Any] = []
        self.system = ActorSystem(
            clock=self.clock,
            rng=random.Random(seed),
            shared=self.dispatcher,
            pinned=self.dispatcher,
            workers=lambda name, limit: HandWorkers(self, limit),
        )
        self.transports = transports
        self.tree = Tree(self.system, config, transports)
        self.edge = Edge(
            config.runtime,
            clock=self.clock,
            roster=self.tree.roster,
            flights=self.tree.flights,
            deduplicator=self.tree.address("deduplicator"),
            supervisor=self.tree.address("supervisor"),
            callbacks=HandWorkers(self, 1),
            name="r",
        )
        self.tree.start(self)
        self.settle()

    def tell(self, message: Down | Escalated) -> None:
        """As the guardian's parent."""
        self.told.append(message)

    def resume_at(self, at: float, job: Job) -> None:
        heapq.heappush(self.jobs, (at, next(self.order), job))

    def submit(self, prompt: str = "hello", *, stream: bool = False, **options: Any) -> Pending:
        """Ask; nothing moves before `settle` or `advance`."""
        ticket, pending = self.edge.accept(ChatRequest(prompt, **options), stream=stream)
        pending.ticket = ticket  # type: ignore[attr-defined]
        return pending

    def settle(self) -> None:
        """Step everything that can go on without time passing."""
        for _ in range(100_000):
            if self.dispatcher.step():
                continue
            if self.jobs and self.jobs[0][0] <= self.clock.time:
                _, _, job = heapq.heappop(self.jobs)
                pause = job.step()
                if pause is not None:
                    self.resume_at(self.clock.time + pause, job)
                continue
            timer = self.clock.timers.pop_due(self.clock.time)
            if timer is None:
                return
            timer.fire()
        raise AssertionError("the tree does not come to rest")

    def advance(self, seconds: float) -> None:
        """Let time pass, event by event."""
        until = self.clock.time + seconds
        self.settle()
        while True:
            times = [at for at in (self.clock.timers.next_at(), self.jobs[0][0] if self.jobs else None) if at]
            at = min(times, default=until)
            if at > until:
                break
            if at <= self.clock.time and at == until:
                break
            self.clock.time = max(self.clock.time, at)
            self.settle()
        self.clock.time = until
        self.settle()
        self.check()

    def crash(self, slot: str) -> None:
        """Let an actor of the tree die."""
        child = self.tree.children.get(slot) or self.tree.roster.slots[slot].child
        assert child is not None
        child.address.tell(Provoke("a drill"))

    def sabotage(self, slot: str, handler: str, *, after: bool) -> list[int]:
        """Let an actor die at its next message of one kind, before or after it has done its work.

        Returns:
            a list that is empty until it has happened.
        """
        child = self.tree.children.get(slot) or self.tree.roster.slots[slot].child
        assert child is not None
        assert child.address.ref is not None
        actor = child.address.ref._actor_weakref()
        work = getattr(actor, handler)
        happened: list[int] = []

        def die(message: Any) -> None:
            delattr(actor, handler)
            happened.append(1)
            if after:
                work(message)
            raise RuntimeError("sabotaged")

        setattr(actor, handler, die)
        return happened

    def wake_cancelled(self) -> None:
        """Let the seats whose attempts were cancelled notice it now, as a woken read does."""
        self.jobs = [(self.clock.time, order, job) for _, order, job in self.jobs]
        heapq.heapify(self.jobs)

    def check(self) -> None:
        """What must hold at every moment."""
        account = self.edge.account
        assert account.accepted == account.answered + account.failed + account.open
        for slot in self.tree.roster.slots.values():
            assert len(slot.in_flight) <= slot.config.max_parallel_requests

    def at_rest(self) -> None:
        """What must hold when nothing is open any more."""
        self.check()
        assert self.edge.account.open == 0
        assert len(self.tree.flights) == 0
        self.advance(1.0)
        for slot in self.tree.roster.slots.values():
            assert not slot.in_flight, slot.name
        assert self.tree.quotas.outstanding == 0


def backend(name: str, **options: Any) -> BackendConfig:
    """An HTTP backend that is never called: its transport is scripted."""
    options.setdefault("model", f"model-of-{name}")
    return BackendConfig(name=name, backend_type="openai", base_url="http://127.0.0.1:9/v1", **options)


def stage(
    scripts: dict[str, Script],
    *,
    strategy: str = "failover",
    seed: int = 0,
    quota: QuotaConfig | None = None,
    health: HealthConfig | None = None,
    settings: dict[str, Any] | None = None,
    route: dict[str, Any] | None = None,
    **options: Any,
) -> Stage:
    """A stage with a backend for each script, all of them targets of the route `fast`."""
    config = RuntimeConfig(
        runtime=RuntimeSettings(model="fast", **(settings or {})),
        backends=[backend(name, **options) for name in scripts],
        routes=[RouteConfig(name="fast", routing_strategy=strategy, targets=list(scripts), **(route or {}))],
        quota=quota or QuotaConfig(),
        health=health or HealthConfig(),
    )
    return Stage(config, scripts, seed)


def drain(s: Stage, name: str, seconds: float, *, remove: bool = False) -> ReplyFuture:
    """Ask the supervisor to drain a backend."""
    reply = ReplyFuture()
    s.tree.address("supervisor").tell(DrainBackend(name, s.clock.now() + seconds, remove, reply))
    s.settle()
    return reply
