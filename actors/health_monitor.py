"""The health monitor: judges each backend by its last attempts, and tells the supervisor when its judgement changes.

Each change is told once, those that time alone makes as well: a backend that gets nothing because it was UNHEALTHY
must not be so for ever.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager

from attrs import frozen

from showcaller.actors.enums import BackendState
from showcaller.actors.kernel import fork
from showcaller.actors.kernel.clock import Clock, Timer
from showcaller.actors.kernel.message import Message, Recipient
from showcaller.actors.messages import HealthChanged, Observed, ProbeBackend
from showcaller.actors.policies.backend_health import BackendHealthMonitor
from showcaller.actors.policies.health_window import HealthThresholds
from showcaller.actors.policies.probe_schedule import ProbeSchedule
from showcaller.actors.records import BackendHealthStatus
from showcaller.actors.slot import BackendSlot
from showcaller.actors.tree_actor import TreeActor


@frozen(eq=False)
class Reassess(Message):
    """To the health monitor: an attempt has become too old to count."""


@frozen(eq=False)
class ProbeDue(Message):
    """To the health monitor: nothing may have been heard of a backend for long."""


class HealthBoard:
    """What is known of the health of each slot: written by the actor, which it outlives, and read from any thread.

    A slot that was removed is forgotten, and one that has its name later is another. An attempt counts from when
    it was heard of, on the runtime's own clock, so that a wall clock that is set changes nothing; `last_check` is in
    wall seconds all the same.

    Args:
        thresholds: what counts as healthy.
        clock: the runtime's.
        slots: says which slots there are now, by name; another mapping whenever that has changed.
    """

    def __init__(
        self, thresholds: HealthThresholds, clock: Clock, slots: Callable[[], Mapping[str, BackendSlot]]
    ) -> None:
        self._clock = clock
        self._find_slots = slots
        self._born = fork.generation()
        self._lock = threading.Lock()
        self._monitor = BackendHealthMonitor(thresholds)
        self._slots: Mapping[str, BackendSlot] = {}
        self._told: dict[str, BackendState] = {}
        self._heard_at: dict[str, float] = {}
        self._last: Callable[[], Observed | None] = lambda: None

    # --- for the actor ---

    def hear(self, message: Observed) -> None:
        """Count the attempts of a message, once, if it is delivered a second time after a crash."""
        with self._known() as now:
            if self._last() is message:
                return
            self._last = weakref.ref(message)
            for seen in message.observations:
                slot = self._slots.get(seen.backend)
                if slot is None or slot.id != seen.slot:
                    continue
                if seen.error is None:
                    self._monitor.record_success(seen.backend, None if seen.probe else seen.latency, now)
                elif seen.blames_backend:
                    self._monitor.record_failure(seen.backend, now)
                else:
                    continue
                self._heard_at[seen.backend] = seen.at

    def take_changes(self) -> list[HealthChanged]:
        """What the supervisor has to be told, because it is not what it was told last."""
        changes = []
        with self._known() as now:
            for name, slot in self._slots.items():
                state = self._monitor.get_state(name, now)
                if state is not self._told.get(name, BackendState.UNKNOWN):
                    self._told[name] = state
                    rate = self._monitor.get_success_rate(name, now)
                    changes.append(HealthChanged(slot.id, name, state, rate))
        return changes

    def seconds_to_departure(self) -> float | None:
        """Until the first attempt of any backend is too old to count; None when there is none."""
        with self._known() as now:
            times = [at for name in self._slots if (at := self._monitor.next_departure(name)) is not None]
            return max(0.0, min(times) - now) if times else None

    def slot_ids(self) -> list[str]:
        """Of all slots there are now."""
        with self._known():
            return [slot.id for slot in self._slots.values()]

    # --- for everyone ---

    def get_status(self, backend: str) -> BackendHealthStatus:
        """What is known of a backend now; UNKNOWN when that is nothing."""
        with self._known() as now:
            return self._monitor.get_status(backend, now, heard_at=self._heard_at.get(backend))

    def get_all_status(self) -> dict[str, BackendHealthStatus]:
        """What is known of every backend there is, by name and in order."""
        with self._known() as now:
            heard_at = self._heard_at
            return {
                name: self._monitor.get_status(name, now, heard_at=heard_at.get(name)) for name in self._slots
            }

    def is_healthy(self, backend: str) -> bool:
        """Is it HEALTHY? One that is not known well enough is not."""
        return self.get_status(backend).state is BackendState.HEALTHY

    def get_healthiest(self, candidates: Iterable[str] | None = None) -> str | None:
        """The best by state, then by success rate, then by median latency; the first of those that are equal.

        Args:
            candidates: names of backends; one that is not there is UNKNOWN. None: all that are in service.

        Returns:
            its name, or None when there are no candidates.
        """
        # Gone through outside of the lock: what a caller passes may be anything.
        names = None if candidates is None else list(candidates)
        with self._known() as now:
            if names is None:
                names = [name for name, slot in self._slots.items() if slot.out_of_service is None]
            return self._monitor.get_healthiest(now, names)

    @contextmanager
    def _known(self) -> Iterator[float]:
        """Under the lock, with those slots that are there now; gives the time."""
        fork.refuse_if_forked(self._born)
        with self._lock:
            slots = self._find_slots()
            if slots is not self._slots:
                for name, slot in self._slots.items():
                    if slots.get(name) is not slot:
                        self._monitor.forget(name)
                        self._told.pop(name, None)
                        self._heard_at.pop(name, None)
                self._slots = slots
            yield self._clock.now()


class HealthMonitor(TreeActor):
    """One incarnation of the health monitor; `me` is the address of its slot, `probes` None when there are none."""

    def __init__(
        self,
        board: HealthBoard,
        clock: Clock,
        supervisor: Recipient,
        me: Recipient,
        probes: ProbeSchedule | None,
    ) -> None:
        super().__init__()
        self._board = board
        self._clock = clock
        self._supervisor = supervisor
        self._me = me
        self._probes = probes
        self._timer: Timer | None = None
        self._probe_timer: Timer | None = None

    def on_start(self) -> None:
        """Take over what the board holds."""
        if self._probes is not None:
            self._look_round(self._probes)
        self._go_on()

    def on_observed(self, message: Observed) -> None:
        """Attempts have finished."""
        self._board.hear(message)
        if self._probes is not None:
            for seen in message.observations:
                if seen.error is None or seen.blames_backend:
                    self._probes.heard(seen.slot, self._clock.now())
        self._go_on()

    def on_reassess(self, _message: Reassess) -> None:
        """An attempt has become too old to count."""
        if self._timer is not None:
            # It may be another, when this one was set by the incarnation before.
            self._timer.cancel()
            self._timer = None
        self._go_on()

    def on_probe_due(self, _message: ProbeDue) -> None:
        """Nothing may have been heard of a backend for long."""
        if self._probe_timer is not None:
            self._probe_timer.cancel()
        if self._probes is not None:
            self._look_round(self._probes)

    def _look_round(self, probes: ProbeSchedule) -> None:
        """Have those probed of which nothing was heard; those that have come meanwhile are watched from now on."""
        now = self._clock.now()
        probes.watch(self._board.slot_ids(), now)
        for slot in probes.take_due(now):
            self._supervisor.tell(ProbeBackend(slot))
        due = probes.next_due
        delay = probes.interval if due is None else max(0.0, due - now)
        self._probe_timer = self._clock.call_later(delay, self._me, ProbeDue())

    def _go_on(self) -> None:
        """Tell what has changed, and see to it that time is noticed to pass."""
        for change in self._board.take_changes():
            self._supervisor.tell(change)
        delay = None if self._timer is not None else self._board.seconds_to_departure()
        if delay is not None:
            self._timer = self._clock.call_later(delay, self._me, Reassess())
