"""A probe: a call of our own that costs nothing and shows whether a backend is there; nobody waits for its answer.

It is carried out on one of the backend's own threads, is never repeated, and touches neither quota nor breaker.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol, runtime_checkable

from showcaller.actors.errors import (
    BackendCrashedError,
    BackendTimeoutError,
    BackendUnreachableError,
    MalformedResponseError,
    ServerError,
    ShowcallerError,
)
from showcaller.actors.kernel.address import Address
from showcaller.actors.kernel.clock import Clock
from showcaller.actors.kernel.message import Recipient
from showcaller.actors.log import TRANSPORT_RAISED
from showcaller.actors.messages import Observation, Observed, Wake
from showcaller.actors.transport import Attempt, Failed, Pause, TransportEvent

SPEAKS = (BackendUnreachableError, BackendTimeoutError, MalformedResponseError, ServerError)
"""What speaks against a backend when its probe fails of it: it does not work. That it does not know what is asked,
or does not tell everyone, says nothing about the calls that are wanted of it."""


@runtime_checkable
class Probing(Protocol):
    """A transport that can find out whether its backend is there, for nothing."""

    def probe(self, attempt: Attempt) -> Iterator[TransportEvent]:
        """Like Transport.attempt, with its deadlines and its cancellation, and without an answer.

        It ends by itself when the backend is there, and with `Failed` as the last event when it is not.
        """


class Probe:
    """A job for the workers.

    Args:
        attempt: the deadline, the timeouts and what cancels it.
        transport: how.
        slot: the id of the backend's slot.
        clock: for the latency.
        supervisor: who is told that there may be a free seat.
        monitor: who is told what it has shown.

    Attributes:
        done: has it ended?
        abandoned: does it hang, so that its thread is not counted on?
    """

    def __init__(
        self,
        attempt: Attempt,
        transport: Probing,
        *,
        slot: str,
        clock: Clock,
        supervisor: Recipient,
        monitor: Address,
    ) -> None:
        self.attempt = attempt
        self.done = False
        self.abandoned = False
        self._transport = transport
        self._slot = slot
        self._clock = clock
        self._supervisor = supervisor
        self._monitor = monitor
        self._began = clock.now()
        self._events: Iterator[TransportEvent] | None = None

    @property
    def in_the_way(self) -> bool:
        """Does it take a seat that a request could have?"""
        return not self.done and not self.abandoned

    def step(self) -> float | None:
        """Go on until the end (None), or until a pause of so many seconds is due."""
        try:
            return self._advance()
        except ShowcallerError as error:
            self._end(error)
        except BaseException as error:
            self._end(
                BackendCrashedError(f"{self.attempt.backend}: its transport raised {type(error).__name__}")
            )
            TRANSPORT_RAISED.say(self.attempt.backend, error=error)
            if not isinstance(error, Exception):
                raise
        return None

    def wait(self, seconds: float) -> None:
        """Spend a pause on a thread; ends early when it is cancelled."""
        self.attempt.cancel.wait(seconds)

    def give_up(self, error: ShowcallerError) -> None:
        """It hangs: its thread is not counted on any more."""
        self.abandoned = True
        self._tell(error)

    def _advance(self) -> float | None:
        if self._events is None:
            self._events = self._transport.probe(self.attempt)
        for event in self._events:
            match event:
                case Pause():
                    return event.seconds
                case Failed():
                    self._end(event.error)
                    return None
        self._end(None)
        return None

    def _end(self, error: ShowcallerError | None) -> None:
        raised: BaseException | None = None
        close = getattr(self._events, "close", None)
        if close is not None:
            try:
                # Before it is over: what is not closed is under way.
                close()
            except BaseException as bug:  # noqa: BLE001 - the seat is free all the same
                raised = bug
        self.done = True
        if not self.abandoned:
            self._tell(error)
        self._supervisor.tell(Wake())
        if raised is not None:
            TRANSPORT_RAISED.say(self.attempt.backend, error=raised)
            if not isinstance(raised, Exception):
                raise raised

    def _tell(self, error: ShowcallerError | None) -> None:
        if self.attempt.cancel.cancelled and not self.abandoned:
            return
        seen = Observation(
            request_id=self.attempt.request_id,
            number=self.attempt.number,
            backend=self.attempt.backend,
            slot=self._slot,
            at=self._clock.wall(),
            latency=self._clock.now() - self._began,
            first_token=None,
            error=None if error is None else type(error).__name__,
            blames_backend=isinstance(error, SPEAKS),
            usage=None,
            payload=self.attempt.payload,
            content="",
            metadata={},
            probe=True,
        )
        self._monitor.offer(Observed((seen,)))
