"""Random runs of the whole tree: whatever happens in whatever order, no request is lost and every account is right."""

from __future__ import annotations

import heapq
import random
from collections import Counter
from typing import Any

import pytest

from showcaller.actors.configuration import RuntimeConfig
from showcaller.actors.enums import CircuitState
from showcaller.actors.errors import OverloadedError
from showcaller.actors.kernel.child import ChildState
from showcaller.actors.kernel.reply import ReplyFuture
from showcaller.actors.messages import AddBackend, DrainBackend, RetryDue
from showcaller.actors.models import Answered
from showcaller.actors.route_config import RouteConfig
from showcaller.actors.settings import QuotaConfig, RuntimeSettings
from showcaller.actors.slot import BackendSlot
from showcaller.runtime.pending import Pending
from tests.tree.stage import Script, Stage, backend
from tests.tree.weather import Weather

NAMES = ("a", "b", "c")
QUOTA = 10_000
ESSENTIAL = ("supervisor", "quota_manager", "deduplicator")
HANDLERS = {
    "supervisor": [
        "on_route",
        "on_granted",
        "on_refused",
        "on_attempt_finished",
        "on_retry_due",
        "on_down",
        "on_restart_due",
        "on_drain_backend",
        "on_drain_due",
        "on_add_backend",
        "on_wake",
        "on_sweep",
        "on_flush",
        "on_withdrawn",
        "on_promoted",
        "on_health_changed",
    ],
    "quota_manager": ["on_reserve", "on_settle"],
    "deduplicator": ["on_coalesce", "on_flight_done"],
}


class RestlessStage(Stage):
    """A stage on which seats, timers and actors take turns in any order that threads could take."""

    def __init__(self, config: RuntimeConfig, transports: dict[str, Script], dice: random.Random) -> None:
        self.dice = dice
        super().__init__(config, transports, dice.randrange(2**32))

    def step(self) -> bool:
        """One thing that can happen now; False when there is none."""
        due = [job for job in self.jobs if job[0] <= self.clock.time]
        at = self.clock.timers.next_at()
        choices = ["actor"] * (3 * bool(self.dispatcher.ready))
        choices += ["seat"] * bool(due) + ["timer"] * (at is not None and at <= self.clock.time)
        if not choices:
            return False
        match self.dice.choice(choices):
            case "actor":
                self.dispatcher.step()
            case "timer":
                timer = self.clock.timers.pop_due(self.clock.time)
                assert timer is not None
                timer.fire()
            case "seat":
                job = self.dice.choice(due)
                self.jobs.remove(job)
                heapq.heapify(self.jobs)
                pause = job[2].step()
                if pause is not None:
                    self.resume_at(self.clock.time + pause, job[2])
        return True

    def settle(self) -> None:
        """Step everything that can go on without time passing."""
        for _ in range(100_000):
            if not self.step():
                return
        raise AssertionError("the tree does not come to rest")


class Run:
    """One random run."""

    def __init__(self, seed: int) -> None:
        self.dice = random.Random(seed)
        self.carried_out: Counter[tuple[str, int]] = Counter()
        self.outcomes: Counter[str] = Counter()
        self.pendings: list[tuple[Pending, bool, bool]] = []
        self.replies: list[ReplyFuture] = []
        self.sabotaged: set[str] = set()
        self.crashes: Counter[str] = Counter()
        dice = self.dice
        scripts: dict[str, Script] = {name: Weather(dice, self.carried_out) for name in NAMES}
        backends = [
            backend(
                name,
                model="shared",
                max_parallel_requests=dice.choice([1, 2, 4]),
                max_retries=dice.choice([0, 1, 2]),
                rate_limit_rpm=dice.choice([None, 30]),
                rate_limit_tpm=dice.choice([None, 4000]),
            )
            for name in NAMES
        ]
        strategy = dice.choice(["round_robin", "least_connections", "weighted", "failover"])
        config = RuntimeConfig(
            runtime=RuntimeSettings(model="fast", num_retries=dice.choice([0, 2, 4])),
            backends=backends,
            routes=[
                RouteConfig(name="fast", routing_strategy=strategy, targets=list(NAMES), allowed_fails=2),
                RouteConfig(name="two", targets=["b", "c"]),
            ],
            quota=QuotaConfig(requests_per_day=QUOTA),
        )
        self.stage = RestlessStage(config, scripts, dice)

    def go(self, steps: int) -> None:
        """So many things happen; then everything comes to its end."""
        s, dice = self.stage, self.dice
        for _ in range(steps):
            getattr(self, dice.choice(self.ACTS))()
            s.check()
            if dice.random() < 0.5:
                for _ in range(dice.randrange(8)):
                    s.step()
                continue
            s.advance(dice.choice([0.0, 0.0, 0.05, 0.3, 1.0, 7.0]))
            self.check()
        for _ in range(30):
            s.wake_cancelled()
            s.advance(10)
            self.check()
        self.check_end()

    # --- what may happen ---

    def submit(self) -> None:
        dice, s = self.dice, self.stage
        names = s.tree.roster.config.names
        if not names:
            return
        model = dice.choice(
            [name for name in ("fast", "fast", "two", "a", "shared") if name in names] or list(names)
        )
        stream, strict = dice.random() < 0.3, dice.random() < 0.2
        try:
            pending = s.submit(
                f"prompt {dice.randrange(4)}",
                model=model,
                stream=stream,
                temperature=dice.choice([0, 1]),
                priority=dice.choice(["low", "normal", "critical"]),
                timeout=dice.choice([0.2, 2.0, 30.0, 120.0]),
                max_tokens=dice.choice([None, 10, 3000]),
                idempotent=False if strict else None,
            )
        except OverloadedError:
            # Too many wait for it to be in time: refused, and so without an outcome.
            return
        pending.when_done(lambda: self.outcomes.update([pending.request_id]))
        self.pendings.append((pending, stream, strict))

    def cancel(self) -> None:
        if self.pendings:
            self.dice.choice(self.pendings)[0].cancel()

    def crash_an_actor(self) -> None:
        victim = self.dice.choice([*ESSENTIAL, "recorder", "health_monitor"])
        if self.crashes[victim] < 3:
            self.crashes[victim] += 1
            self.stage.crash(victim)

    def crash_a_backend(self) -> None:
        slots = [slot for slot in self.stage.tree.roster.slots.values() if slot.child is not None]
        if slots and self.dice.random() < 0.5:
            self.stage.crash(self.dice.choice(slots).name)

    def sabotage(self) -> None:
        """Once an actor: what kills its actor twice is dropped as poison, and that is another matter."""
        victim = self.dice.choice(ESSENTIAL)
        ref = self.stage.tree.children[victim].address.ref
        if victim not in self.sabotaged and ref is not None and ref.is_alive():
            self.sabotaged.add(victim)
            self.stage.sabotage(victim, self.dice.choice(HANDLERS[victim]), after=self.dice.random() < 0.5)

    def drain(self) -> None:
        if self.dice.random() < 0.2 and self.stage.tree.roster.slots:
            name = self.dice.choice(list(self.stage.tree.roster.slots))
            reply = ReplyFuture()
            self.replies.append(reply)
            until = self.stage.clock.now() + self.dice.choice([0.0, 1.0, 10.0])
            self.stage.tree.address("supervisor").tell(
                DrainBackend(name, until, self.dice.random() < 0.8, reply)
            )

    def add(self) -> None:
        missing = [name for name in NAMES if name not in self.stage.tree.roster.slots]
        if missing:
            reply = ReplyFuture()
            self.replies.append(reply)
            config = backend(missing[0], model="shared", max_parallel_requests=2)
            script = Weather(self.dice, self.carried_out)
            self.stage.tree.address("supervisor").tell(
                AddBackend(self.stage.tree.make_slot(config, script), reply)
            )

    ACTS = ("submit",) * 8 + ("cancel", "crash_an_actor", "crash_a_backend", "sabotage", "drain", "add")

    # --- what must hold ---

    def check(self) -> None:
        """What must hold whenever nothing can happen without time passing."""
        s = self.stage
        slots, now = s.tree.roster.slots, s.clock.now()
        child = s.tree.children["supervisor"]
        if child.state is not ChildState.RUNNING:
            return
        assert child.address.ref is not None
        departures = child.address.ref._actor_weakref()._departures
        table = departures._table
        queued = [flight for flight in s.tree.flights.in_order() if flight.queued]
        waiting_to_retry = {
            id(entry[2].message.flight)
            for entry in s.clock.timers._heap
            if isinstance(entry[2].message, RetryDue)
        }
        held = {id(record) for slot in slots.values() for record in slot.in_flight.values()}
        for flight in s.tree.flights.in_order():
            if flight.admitted:
                alive = [record for record in flight.live if id(record) in held]
                assert alive or flight.queued or id(flight) in waiting_to_retry, f"{flight.id} is lost"
        for slot in slots.values():
            assert table.connections[slot.name] == len(slot.in_flight)
            if (
                slot.breaker.state(now) is CircuitState.HALF_OPEN
                and slot.breaker._state is CircuitState.HALF_OPEN
            ):
                probes = [r for r in slot.in_flight.values() if r.epoch == slot.breaker.epoch]
                assert slot.breaker._probes == len(probes), f"{slot.name}: a probe leaked"
        chances = []
        for flight in queued:
            for slot in table.slots_of(flight):
                assert not slot.is_eligible(now) or now < departures._closed_until, (
                    f"{flight.id} could go to {slot.name}"
                )
                at = slot.next_chance(now)
                chances += [at] if at is not None else []
        if chances:
            wakes = [at for at, _, timer in s.clock.timers._heap if type(timer.message).__name__ == "Wake"]
            assert wakes
            assert min(wakes) <= min(chances) or now < departures._closed_until

    def check_end(self) -> None:
        """What must hold when all is over."""
        s = self.stage
        assert not s.told
        for pending, stream, strict in self.pendings:
            assert self.outcomes[pending.request_id] == 1, pending.request_id
            if stream:
                self._check_stream(pending)
            if strict:
                counts = [n for (request, _), n in self.carried_out.items() if request == pending.request_id]
                assert sum(counts) <= 1, pending.request_id
        s.at_rest()
        assert all(reply._done for reply in self.replies)
        used = QUOTA - s.tree.quotas.remaining(s.clock.wall())["all backends"]["requests_per_day"]
        assert used >= self.carried_out.total()
        assert not list(s.tree.flights.in_order())

    def _check_stream(self, pending: Pending) -> None:
        """All chunks are of one attempt, none is missing, and none comes twice."""
        texts: list[str] = []
        reader = pending.ticket.reader  # type: ignore[attr-defined]
        if not isinstance(pending.outcome, Answered):
            return
        while (chunk := reader.take(0.0)) is not None:
            texts.append(chunk.text)
        heads = {text.partition(":")[0] for text in texts}
        assert len(heads) <= 1, texts
        assert [int(text.partition(":")[2]) for text in texts] == list(range(len(texts)))
        if texts:
            assert heads == {pending.outcome.response.content}


def watch_dispatches(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was given to a backend that is draining, retired, open or full; it should stay empty."""
    wrong: list[str] = []
    tell = BackendSlot.tell

    def watched(self: BackendSlot, message: Any) -> None:
        reasons = {
            "draining": self.draining,
            "retired": self.retired,
            "open": self.breaker._state is CircuitState.OPEN,
            "full": len(self.in_flight) > self.config.max_parallel_requests,
        }
        wrong.extend(f"{self.name} is {reason}" for reason, holds in reasons.items() if holds)
        tell(self, message)

    monkeypatch.setattr(BackendSlot, "tell", watched)
    return wrong


@pytest.mark.parametrize("seed", range(60))
def test_no_random_run_loses_a_request_or_leaves_anything_behind(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Requests of all kinds, failures of all kinds, and crashes of all actors before and after their work."""
    wrong = watch_dispatches(monkeypatch)
    Run(seed).go(80)
    assert wrong == []
