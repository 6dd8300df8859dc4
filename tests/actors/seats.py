"""Seats for tests: what they need, and the transports that they are given."""

from __future__ import annotations

from showcaller.actors.backend_config import Timeouts
from showcaller.actors.enums import RequestPriority
from showcaller.actors.flight import Flight
from showcaller.actors.models import ChatRequest, Usage
from showcaller.actors.seat import Seat
from showcaller.actors.ticket import Ticket
from showcaller.actors.transport import Attempt, Done
from tests.hand_clock import HandClock

BOUND = 10.0
READER_TIMEOUT = 7.0


class Script:
    """A transport that plays a list: events are yielded, errors raised, functions called."""

    def __init__(self, *steps, on_close=None):
        self.steps = steps
        self.on_close = on_close
        self.begun = self.closed = 0

    def attempt(self, attempt):
        self.begun += 1
        try:
            for step in self.steps:
                if isinstance(step, BaseException):
                    raise step
                if callable(step):
                    step()
                else:
                    yield step
        finally:
            self.closed += 1
            if self.on_close is not None:
                raise self.on_close

    def close(self):
        """Nothing is held."""


class Plain:
    """A transport whose iterator cannot be closed, or that raises before there is one."""

    def __init__(self, events=(), error=None):
        self.events, self.error = events, error

    def attempt(self, attempt):
        if self.error is not None:
            raise self.error
        return iter(self.events)

    def close(self):
        """Nothing is held."""


def done(content="Hi", **changed):
    fields = {
        "message": {"role": "assistant", "content": content},
        "finish_reason": "stop",
        "usage": Usage(input_tokens=3, output_tokens=4),
        "model": "m-1",
        "raw": {"id": "x"},
    } | changed
    return Done(**fields)


class House:
    """One flight with its client, and everything that a seat needs."""

    def __init__(self, *, stream=False):
        self.clock = HandClock()
        self.told = []
        self.outcomes = []
        self.landed = []
        self.ticket = Ticket(
            "r-1",
            priority=RequestPriority.NORMAL,
            created=90.0,
            deadline=200.0,
            deliver=self.outcomes.append,
        )
        self.flight = Flight(
            self.ticket,
            ChatRequest("Hello"),
            order=1,
            lane="fast",
            key=b"key",
            stream=stream,
            on_done=self.landed.append,
        )

    def tell(self, message):
        self.told.append(message)

    def seat(self, transport, *, dispatched=True, scope=None):
        record = self.flight.next_attempt("slot", generation=1, epoch=1, tokens=9, deadline=150.0)
        if scope is not None:
            record.scope = scope
        if dispatched:
            assert self.flight.dispatched(record, 150.0)
        attempt = Attempt(
            request_id=self.flight.id,
            number=record.number,
            backend="slot",
            payload=self.flight.request.payload,
            stream=self.flight.stream is not None,
            deadline=150.0,
            timeout=Timeouts(),
            cancel=record.scope,
        )
        return Seat(
            record,
            attempt,
            transport,
            clock=self.clock,
            supervisor=self,
            reader_timeout=READER_TIMEOUT,
        )

    def finish(self, transport, **options):
        """Step a seat to its end; what the supervisor was told."""
        seat = self.seat(transport, **options)
        while seat.step() is not None:
            pass
        return self.only

    @property
    def only(self):
        (finished,) = self.told
        return finished

    def read(self):
        texts = []
        while self.ticket.reader.ready:
            chunk = self.ticket.take_chunk(0.0)
            texts.append(None if chunk is None else chunk.text)
            if chunk is None:
                break
        return texts
