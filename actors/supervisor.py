"""The supervisor: routes each flight, and decides the life of the backends' actors.

A thin actor over Departures, Arrivals and Fleet. What must not be forgotten lives in the roster and in the
flights, from which its next incarnation is rebuilt.
"""

from __future__ import annotations

from showcaller.actors.arrivals import Arrivals
from showcaller.actors.departures import Departures
from showcaller.actors.enums import BackendState
from showcaller.actors.errors import BackendDrainedError, BackendTimeoutError, ShowcallerError
from showcaller.actors.fleet import Fleet
from showcaller.actors.kernel.child import RestartDue
from showcaller.actors.kernel.clock import Timer
from showcaller.actors.kernel.message import Down, Recipient
from showcaller.actors.kernel.system import ActorSystem
from showcaller.actors.messages import (
    AddBackend,
    AttemptFinished,
    DrainBackend,
    DrainDue,
    Execute,
    Flush,
    Granted,
    HealthChanged,
    ProbeBackend,
    ProbeOverdue,
    Promoted,
    Ready,
    Refused,
    ResetBackend,
    RetryDue,
    Route,
    StopDue,
    Sweep,
    Wake,
    WindDown,
    Withdrawn,
)
from showcaller.actors.outbox import DELAY
from showcaller.actors.prober import Prober
from showcaller.actors.reasons import hangs_in_checks
from showcaller.actors.roster import Roster
from showcaller.actors.tree_actor import TreeActor

SWEEP_SECONDS = 1.0
"""How often overdue attempts are looked for, while there are any at all."""
LAST_REPORTS = 0.25
"""Seconds that a stop waits for what seats that are at their end have to report: what was spent, and said."""
GRACE = 2.0
"""Seconds past its deadline after which a seat that is not back is taken to hang."""


class Supervisor(TreeActor):
    """One incarnation of the supervisor; `me` is the address of its slot."""

    def __init__(
        self,
        system: ActorSystem,
        roster: Roster,
        departures: Departures,
        arrivals: Arrivals,
        fleet: Fleet,
        prober: Prober,
        me: Recipient,
    ) -> None:
        super().__init__()
        self._clock = system.clock
        self._roster = roster
        self._departures = departures
        self._arrivals = arrivals
        self._fleet = fleet
        self._prober = prober
        self._me = me
        self._wake: Timer | None = None
        self._sweep: Timer | None = None
        self._flushing = False
        self._stopping = False
        self._hurried = False

    def on_start(self) -> None:
        """Take over what the roster holds."""
        self._fleet.take_over()
        self._departures.take_over()
        self._go_on()

    def _go_on(self) -> None:
        """After every change: let go what can, and see to the timers."""
        if self._stopping:
            return
        if self._fleet.settle_drains():
            self._departures.changed()
        delay = self._departures.pump()
        if delay is not None:
            self._wake_in(delay)
        outbox = self._roster.outbox
        if outbox.is_full:
            outbox.flush()
        elif len(outbox) and not self._flushing:
            self._flushing = True
            self._clock.call_later(DELAY, self._me, Flush())
        if self._sweep is None and not self._departures.is_idle:
            self._sweep = self._clock.call_later(SWEEP_SECONDS, self._me, Sweep())

    def _wake_in(self, delay: float) -> None:
        at = self._clock.now() + delay
        if self._wake is not None:
            if self._wake.at <= at:
                return
            self._wake.cancel()
        self._wake = self._clock.call_later(delay, self._me, Wake())

    def on_stop(self) -> None:
        """Leave nothing unsent."""
        self._roster.outbox.flush()

    def on_ready(self, message: Ready) -> None:
        """Asked whether the tree stands, which it does by then."""
        message.reply.set(None)

    # --- the way of a request ---

    def on_route(self, message: Route) -> None:
        """A flight comes in."""
        self._departures.admit(message.flight)
        self._go_on()

    def on_granted(self, message: Granted) -> None:
        """A reservation was made."""
        self._departures.granted(message.attempt)
        self._go_on()

    def on_refused(self, message: Refused) -> None:
        """A reservation was refused."""
        self._departures.refused(message)
        self._go_on()

    def on_attempt_finished(self, message: AttemptFinished) -> None:
        """An attempt has ended and its seat is free."""
        self._arrivals.finished(message)
        self._go_on()
        if self._stopping:
            self._stop_when_alone()

    def on_retry_due(self, message: RetryDue) -> None:
        """The backoff of a flight has passed."""
        if not message.flight.live:
            self._departures.queue(message.flight)
            self._go_on()

    def on_withdrawn(self, _message: Withdrawn) -> None:
        """Nobody waits for a flight any more: its place in the queue may be another's."""
        self._go_on()

    def on_promoted(self, _message: Promoted) -> None:
        """A waiting flight is more urgent than it was."""
        self._departures.resort()
        self._go_on()

    # --- the backends ---

    def on_down(self, down: Down) -> None:
        """A backend's actor has ended."""
        slot = self._fleet.on_down(down)
        if self._stopping:
            self._stop_when_alone()
            return
        if slot is not None:
            in_hand = down.in_hand.record if isinstance(down.in_hand, Execute) else None
            for record in list(slot.in_flight.values()):
                if record.generation == down.generation:
                    self._arrivals.orphaned(slot, record, in_hand=record is in_hand)
            if slot.out_of_service:
                self._departures.changed()
        self._go_on()

    def on_restart_due(self, due: RestartDue) -> None:
        """The backoff of a backend's actor has passed."""
        if not self._stopping:
            slot = self._fleet.on_restart_due(due)
            if slot is not None:
                slot.warm_up(self._clock.now())
            self._go_on()

    def on_health_changed(self, message: HealthChanged) -> None:
        """The health monitor has judged anew."""
        slot = self._roster.slots.get(message.backend)
        if slot is None or slot.id != message.slot:
            return
        left_out = slot.health is BackendState.UNHEALTHY and not slot.pardoned
        if left_out and message.state is not BackendState.UNHEALTHY:
            slot.warm_up(self._clock.now())
        slot.health, slot.success_rate, slot.pardoned = message.state, message.success_rate, False

    def on_probe_backend(self, message: ProbeBackend) -> None:
        """The health monitor wants to know of a backend."""
        if not self._stopping:
            self._prober.begin(message)

    def on_add_backend(self, message: AddBackend) -> None:
        """A slot joins."""
        if self._fleet.add(message):
            message.slot.warm_up(self._clock.now())
            self._departures.changed()
            self._go_on()

    def on_reset_backend(self, message: ResetBackend) -> None:
        """A slot shall have another chance."""
        slot = self._fleet.reset(message, self._clock.now())
        if slot is not None:
            self._departures.changed()
            self._go_on()

    def on_drain_backend(self, message: DrainBackend) -> None:
        """A slot shall get nothing new."""
        slot = self._fleet.drain(message, self._clock.now())
        if slot is not None:
            self._prober.cancel(slot)
            self._departures.changed()
            self._go_on()

    def on_drain_due(self, message: DrainDue) -> None:
        """A drain has lasted long enough: what is still in flight is cancelled."""
        slot = message.slot
        if slot.drains:
            for record in list(slot.in_flight.values()):
                slot.drain_cancelled += 1
                self._arrivals.given_up(slot, record, BackendDrainedError.of(slot.name))
            self._go_on()

    # --- timers ---

    def on_wake(self, _message: Wake) -> None:
        """A backend may be eligible again."""
        if self._wake is not None:
            self._wake.cancel()
            self._wake = None
        self._go_on()

    def on_probe_overdue(self, message: ProbeOverdue) -> None:
        """A probe should be back."""
        self._prober.overdue(message)
        self._go_on()

    def on_flush(self, _message: Flush) -> None:
        """Send what was collected."""
        self._flushing = False
        self._roster.outbox.flush()

    def on_sweep(self, _message: Sweep) -> None:
        """Give up the attempts whose seats hang."""
        if self._sweep is not None:
            # It may be another, when this one was set by the incarnation before.
            self._sweep.cancel()
            self._sweep = None
        for slot, record in self._departures.sweep(self._clock.now(), GRACE):
            error: ShowcallerError = BackendTimeoutError(
                f"{slot.name}: attempt {record.number} did not come back {GRACE:g} s after its deadline; "
                "its seat is abandoned",
                backend=slot.name,
                maybe_executed=True,
            )
            self._arrivals.given_up(slot, record, hangs_in_checks(record) if record.answered else error)
        self._go_on()

    # --- the end ---

    def on_wind_down(self, _message: WindDown) -> None:
        """Stop the backends, then oneself."""
        self._stopping = True
        self._prober.cancel_all()
        self._fleet.stop()
        self._clock.call_later(LAST_REPORTS, self._me, StopDue())
        self._stop_when_alone()

    def on_stop_due(self, _message: StopDue) -> None:
        """What a seat that hangs would report is lost."""
        self._hurried = True
        self._stop_when_alone()

    def _stop_when_alone(self) -> None:
        if self._fleet.stopped and (self._hurried or not self._fleet.is_at_work):
            self.stop()
