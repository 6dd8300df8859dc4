"""What the actors of the tree say to each other. Frozen and unvalidated: they are made by us alone.

Verbs ask for something; past tense tells what has happened. Telemetry is refusable: it may be dropped.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from attrs import field, frozen

from showcaller.actors.enums import BackendState
from showcaller.actors.errors import ShowcallerError
from showcaller.actors.kernel.message import Message
from showcaller.actors.models import ChatRequest, Usage
from showcaller.actors.transport import Attempt

if TYPE_CHECKING:
    from showcaller.actors.attempt import AttemptRecord
    from showcaller.actors.flight import Flight
    from showcaller.actors.kernel.reply import ReplyFuture
    from showcaller.actors.probe import Probe
    from showcaller.actors.slot import BackendSlot

Key = tuple[int, int]
"""Names an attempt and its reservation: the flight's order and the attempt's number."""

# --- the way of a request ---------------------------------------------------------------------------


@frozen(eq=False)
class Submit(Message):
    """What a user sends to `runtime.supervisor`: carry out this request. By ask, the reply is its Outcome."""

    request: ChatRequest


@frozen(eq=False)
class Coalesce(Message):
    """To the deduplicator: let this flight's request wait for an identical one, or let it fly."""

    flight: Flight


@frozen(eq=False)
class Route(Message):
    """To the supervisor: find a backend for this flight."""

    flight: Flight


@frozen(eq=False)
class FlightDone(Message):
    """To the deduplicator: this flight of the key has its outcome."""

    key: bytes
    flight: Flight


@frozen(eq=False)
class Withdrawn(Message):
    """To the supervisor: nobody waits for this flight any more."""

    flight: Flight


@frozen(eq=False)
class Promoted(Message):
    """To the supervisor: a more urgent request waits for a flight now."""


@frozen(eq=False)
class Reserve(Message):
    """To the quota manager: may this attempt spend one request and so many tokens?"""

    attempt: AttemptRecord
    backend: str
    tokens: int


@frozen(eq=False)
class Granted(Message):
    """To the supervisor: it may."""

    attempt: AttemptRecord


@frozen(eq=False)
class Refused(Message):
    """To the supervisor: it may not, and nothing of that backend (None: of any) may for `retry_after` seconds."""

    attempt: AttemptRecord
    backend: str | None
    limit: str
    retry_after: float


@frozen(eq=False)
class Execute(Message):
    """To a backend: carry out this attempt."""

    record: AttemptRecord
    attempt: Attempt


@frozen(kw_only=True, eq=False)
class AttemptFinished(Message):
    """To the supervisor: the attempt has ended, and its seat is free.

    Attributes:
        record: the attempt.
        error: what it failed of; None: it answered, or it was not begun.
        begun: was anything done?
        usage: tokens, when it answered.
        content: the text, when it answered.
        latency: seconds from claim to end.
        first_token: seconds from claim to the first chunk, or None.
        ended: when, in seconds of the runtime's clock.
    """

    record: AttemptRecord
    error: ShowcallerError | None
    begun: bool
    usage: Usage | None = None
    content: str = field(default="", repr=False)
    latency: float = 0.0
    first_token: float | None = None
    ended: float = 0.0


# --- the settlement and the observers ---------------------------------------------------------------


@frozen(kw_only=True, eq=False)
class Settlement:
    """How a reservation ended: `tokens` spent, or None when it was not carried out and is refunded."""

    key: Key
    backend: str
    tokens: int | None


@frozen(eq=False)
class Settle(Message):
    """To the quota manager: these reservations have ended. Never dropped."""

    settlements: tuple[Settlement, ...]


@frozen(kw_only=True, eq=False)
class Observation:
    """One finished attempt, for the observers.

    Attributes:
        request_id, number: which attempt of which request.
        backend: where it went; `slot` tells it from another backend that has the name later.
        at: when it ended, in wall seconds.
        latency: seconds it took. first_token: seconds to the first chunk, or None.
        error: the kind of the failure, or None.
        blames_backend: does the failure speak against the backend's health? Not when the caller had too little time.
        usage: tokens, when it answered.
        payload, content: what was asked and answered.
        metadata: the request's.
        probe: was it none of a request's, but one of ours, to see whether the backend is there?
    """

    request_id: str
    number: int
    backend: str
    slot: str
    at: float
    latency: float
    first_token: float | None
    error: str | None
    blames_backend: bool
    usage: Usage | None
    payload: bytes = field(repr=False)
    content: str = field(repr=False)
    metadata: Mapping[str, Any] = field(repr=False)
    probe: bool = False


@frozen(eq=False)
class Observed(Message):
    """To the observers: these attempts have finished. May be dropped."""

    refusable: ClassVar[bool] = True
    observations: tuple[Observation, ...]


@frozen(eq=False)
class HealthChanged(Message):
    """To the supervisor: the health of a slot is another now, with that share of successes."""

    slot: str
    backend: str
    state: BackendState
    success_rate: float


@frozen(eq=False)
class ProbeBackend(Message):
    """To the supervisor: nothing was heard of that slot for long; see whether it is there."""

    slot: str


# --- the supervisor's own timers --------------------------------------------------------------------


@frozen(eq=False)
class RetryDue(Message):
    """The backoff of a flight has passed."""

    flight: Flight


@frozen(eq=False)
class Wake(Message):
    """A backend may be eligible again: look at the queues."""


@frozen(eq=False)
class ProbeOverdue(Message):
    """A probe should be back."""

    slot: BackendSlot
    probe: Probe


@frozen(eq=False)
class Flush(Message):
    """Send what was collected for the quota manager and the observers."""


@frozen(eq=False)
class Sweep(Message):
    """Look for attempts that are overdue and for flights that are done but still queued."""


# --- the tree ---------------------------------------------------------------------------------------


@frozen(eq=False)
class Ready(Message):
    """To the supervisor: say, by a reply of None, that the tree stands."""

    reply: ReplyFuture


@frozen(eq=False)
class AddBackend(Message):
    """To the supervisor: a new slot. The reply is None, or the error that refuses it."""

    slot: BackendSlot
    reply: ReplyFuture


@frozen(eq=False)
class DrainBackend(Message):
    """To the supervisor: give the backend nothing new; `remove` it when it is empty or `deadline` has passed.

    The reply, when it is empty, is the number of attempts that had to be cancelled.
    """

    backend: str
    deadline: float
    remove: bool
    reply: ReplyFuture


@frozen(eq=False)
class ResetBackend(Message):
    """To the supervisor: forget the backend's crashes, and let it work again at once.

    The reply is None, or the error that says that there is no such backend.
    """

    backend: str
    reply: ReplyFuture


@frozen(eq=False)
class DrainDue(Message):
    """The drain deadline of a slot has passed."""

    slot: BackendSlot


@frozen(eq=False)
class WindDown(Message):
    """To the guardian and the supervisor: stop your children, then yourself."""


@frozen(eq=False)
class StopDue(Message):
    """To the supervisor: who has not reported by now is not waited for."""


@frozen(eq=False)
class Provoke(Message):
    """To any actor of the tree: crash now. A drill."""

    reason: str


@frozen(eq=False)
class Escalated(Message):
    """To the runtime: an actor without which nothing works crashed too often."""

    slot: str
    crash: str
