"""One request that streams, over a real flight whose seat is played by the test."""

from __future__ import annotations

import threading

from showcaller.actors.enums import RequestPriority
from showcaller.actors.errors import RequestCancelledError
from showcaller.actors.flight import Flight
from showcaller.actors.models import BackendResponse, ChatRequest, Errored, StreamChunk
from showcaller.actors.ticket import Ticket
from showcaller.runtime.pending import Pending
from showcaller.runtime.streams import AsyncChatStream, ChatStream

BOUND = 10.0


class House:
    """One request that streams, its flight, and what the seat does with it."""

    def __init__(self, threads, order=1):
        self.cancelled = threading.Event()
        self.threads = threads
        self.pending = Pending(f"r-{order}", self._withdraw, threads)
        self.ticket = Ticket(
            f"r-{order}",
            priority=RequestPriority.NORMAL,
            created=0.0,
            deadline=1.0,
            deliver=self.pending.settle,
        )
        self.flight = Flight(
            self.ticket,
            ChatRequest("Hello"),
            order=order,
            lane="fast",
            key=b"key",
            stream=True,
            on_done=lambda flight: None,
        )

    def _withdraw(self):
        error = RequestCancelledError("cancelled")
        if not self.ticket.complete(Errored(self.ticket.request_id, error)):
            return False
        self.ticket.flight.detach(self.ticket, error)
        self.cancelled.set()
        return True

    def write(self, *texts):
        for text in texts:
            assert self.flight.stream.offer(StreamChunk(text))

    def answer(self):
        attempt = self.flight.next_attempt("a", generation=1, epoch=1, tokens=1, deadline=1.0)
        assert self.flight.dispatched(attempt, 1.0)
        assert self.flight.claim(attempt)
        assert self.flight.answer(attempt, self._respond)

    def _respond(self, ticket, source):
        text = self.flight.stream.text
        return BackendResponse(
            content=text,
            message={"role": "assistant", "content": text},
            backend="a",
            model="m",
            source=source,
            request_id=ticket.request_id,
        )

    def stream(self):
        return ChatStream(self.ticket, self.pending, self.threads)

    def async_stream(self):
        return AsyncChatStream(self.ticket, self.pending, self.threads)
