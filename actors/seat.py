"""A seat carries out one attempt: it pulls the transport's events, and completes the flight itself.

Stepped by a thread, or in virtual time by a simulation. The client has its answer before any actor hears
of it; the supervisor hears of every attempt exactly once, when the seat is free again.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from showcaller.actors.answer_checks import check, is_checked, parsed_of
from showcaller.actors.attempt import AttemptRecord
from showcaller.actors.content_text import text_of
from showcaller.actors.enums import Source
from showcaller.actors.errors import (
    BackendCrashedError,
    BackendTimeoutError,
    ConfigurationError,
    MalformedResponseError,
    RequestCancelledError,
    ResponseValidationError,
    ShowcallerError,
)
from showcaller.actors.kernel.clock import Clock
from showcaller.actors.kernel.message import Recipient
from showcaller.actors.log import CHECK_RAISED, TRANSPORT_RAISED
from showcaller.actors.messages import AttemptFinished
from showcaller.actors.models import BackendResponse, StreamChunk
from showcaller.actors.ticket import Ticket
from showcaller.actors.transport import Attempt, Chunk, Done, Failed, Pause, Sent, Transport, TransportEvent

STALL_POLL = 0.05
"""Seconds after which a seat whose reader is slow looks at the clock again."""


class Seat:
    """A job for the workers: one attempt at one backend.

    Args:
        record, attempt: what to carry out.
        transport: how.
        clock: for latencies.
        supervisor: who is told of the end.
        reader_timeout: seconds that a reader may leave the stream full before it is cancelled.
    """

    def __init__(
        self,
        record: AttemptRecord,
        attempt: Attempt,
        transport: Transport,
        *,
        clock: Clock,
        supervisor: Recipient,
        reader_timeout: float,
    ) -> None:
        self.record = record
        self._attempt = attempt
        self._transport = transport
        self._clock = clock
        self._supervisor = supervisor
        self._reader_timeout = reader_timeout
        self._events: Iterator[TransportEvent] | None = None
        self._began = 0.0
        self._sent = False
        self._first_chunk: float | None = None
        self._held: StreamChunk | None = None
        self._held_since = 0.0
        self._stalled = 0.0

    def step(self) -> float | None:
        """Go on until the end (None), or until a pause of so many seconds is due."""
        try:
            return self._advance()
        except ShowcallerError as error:
            self._end(error)
        except BaseException as error:
            self._end(
                BackendCrashedError(
                    f"{self._attempt.backend}: its transport raised {type(error).__name__}; this is a bug in the "
                    "transport, the log has the place",
                    backend=self._attempt.backend,
                    maybe_executed=self._sent,
                )
            )
            TRANSPORT_RAISED.say(self._attempt.backend, error=error)
            if not isinstance(error, Exception):
                raise
        return None

    def wait(self, seconds: float) -> None:
        """Spend a pause on a thread; ends early when there is room again or the attempt is cancelled."""
        stream = self.record.flight.stream
        if self._held is not None and stream is not None:
            stream.wait_room(seconds)
        else:
            self._attempt.cancel.wait(seconds)

    def _advance(self) -> float | None:
        if self._events is None:
            self._began = self._clock.now()
            if not self.record.flight.claim(self.record):
                self._report(None, begun=False)
                return None
            self._events = self._transport.attempt(self._attempt)
        if self._held is not None and not self._hand_over(self._held):
            return STALL_POLL
        for event in self._events:
            match event:
                case Sent():
                    self._sent = True
                case Chunk():
                    if not self._begin_stream():
                        self._report(self._unwanted(), begun=True)
                        return None
                    if not self._hand_over(StreamChunk(event.text, event.delta)):
                        return STALL_POLL
                case Pause():
                    return event.seconds
                case Done():
                    self._answer(event)
                    return None
                case Failed():
                    self._end(event.error)
                    return None
        self._end(
            MalformedResponseError(
                f"{self._attempt.backend}: its transport ended without an outcome; this is a bug in the transport",
                backend=self._attempt.backend,
                maybe_executed=self._sent,
            )
        )
        return None

    def _begin_stream(self) -> bool:
        if self._first_chunk is not None:
            return True
        self._first_chunk = self._clock.now() - self._began
        return self.record.flight.commit(self.record)

    def _hand_over(self, chunk: StreamChunk) -> bool:
        stream = self.record.flight.stream
        if stream is None or stream.offer(chunk):
            if self._held is not None:
                self._stalled += self._clock.now() - self._held_since
                self._held = None
            return True
        now = self._clock.now()
        if self._held is None:
            self._held, self._held_since = chunk, now
        waited = now - self._held_since
        if waited >= self._reader_timeout or (waited and self._is_overdue()):
            raise self._unread(self._stalled + waited)
        return False

    def _unread(self, seconds: float) -> RequestCancelledError:
        return RequestCancelledError(
            f"the stream of request {self.record.flight.id} was not read for {seconds:.3g} s; read faster, leave "
            "the `with` block early, or raise reader_timeout and the backend's timeout.total",
            maybe_executed=True,
        )

    def _answer(self, done: Done) -> None:
        ended = self._clock.now()
        message = done.message
        content = text_of(message.get("content"))
        parsed: Any = None
        flight = self.record.flight

        def make(ticket: Ticket, source: Source) -> BackendResponse:
            return BackendResponse(
                content=content,
                message=message,
                # Not one value for all: who has a response may change what is in it.
                parsed=parsed if source is Source.LIVE else parsed_of(flight.request, content),
                finish_reason=done.finish_reason,
                usage=done.usage,
                backend=self._attempt.backend,
                model=done.model,
                route=self.record.lane,
                source=source,
                attempts=flight.dispatches,
                latency=self._clock.now() - ticket.created,
                request_id=ticket.request_id,
                raw=done.raw,
            )

        tickets = flight.tickets if is_checked(flight.request) else ()
        if tickets:
            draft = make(tickets[0], Source.LIVE)
            self.record.answered = True
            try:
                checked = check(flight.request, draft)
            except (ResponseValidationError, ConfigurationError) as error:
                self._refuse(error, done, ended)
                return
            content, parsed = checked.content, checked.parsed
        if flight.stream is not None and self._first_chunk is None and not self._begin_stream():
            self._report(self._unwanted(), begun=True)
            return
        flight.answer(self.record, make)
        self._report(None, begun=True, done=done, ended=ended)

    def _refuse(self, error: ShowcallerError, done: Done, ended: float) -> None:
        """The answer will not do; it was paid for all the same."""
        cause = error.__cause__
        # Its frames hold the whole answer, and it outlives the attempt.
        error.__traceback__ = error.__cause__ = error.__context__ = None
        self._report(error, begun=True, done=done, ended=ended)
        if cause is not None:
            CHECK_RAISED.say(self.record.flight.id, error.message, error=cause)
            if not isinstance(cause, Exception):
                raise cause

    def _end(self, error: ShowcallerError) -> None:
        if isinstance(error, BackendTimeoutError) and self._stalled and self._is_overdue():
            # It was the reader who took the time.
            error = self._unread(self._stalled)
        if isinstance(error, RequestCancelledError) and not self._attempt.cancel.cancelled:
            self.record.flight.fail(error)
        self._report(error, begun=True)

    def _is_overdue(self) -> bool:
        return self._clock.now() >= self._attempt.deadline

    def _unwanted(self) -> RequestCancelledError:
        return RequestCancelledError(
            f"attempt {self.record.number} of {self.record.flight.id} is not wanted any more",
            maybe_executed=self._sent,
        )

    def _report(
        self,
        error: ShowcallerError | None,
        *,
        begun: bool,
        done: Done | None = None,
        ended: float | None = None,
    ) -> None:
        events, self._events = self._events, None
        close = getattr(events, "close", None)
        raised: BaseException | None = None
        if close is not None:
            try:
                close()
            except BaseException as bug:  # noqa: BLE001 - the outcome is known already, and must be told
                raised = bug
        # What the caller's own checks took is not the backend's time.
        now = self._clock.now() if ended is None else ended
        self._supervisor.tell(
            AttemptFinished(
                record=self.record,
                error=error,
                begun=begun,
                usage=None if done is None else done.usage,
                content="" if done is None else text_of(done.message.get("content")),
                latency=now - self._began,
                first_token=self._first_chunk,
                ended=now,
            )
        )
        if raised is not None:
            TRANSPORT_RAISED.say(self._attempt.backend, error=raised)
            if not isinstance(raised, Exception):
                raise raised
