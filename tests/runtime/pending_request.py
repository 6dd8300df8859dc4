"""A pending request with a real ticket, which the test answers, fails or cancels."""

from __future__ import annotations

from showcaller.actors.enums import RequestPriority
from showcaller.actors.errors import RequestCancelledError, ServerError
from showcaller.actors.models import Answered, BackendResponse, Errored
from showcaller.actors.ticket import Ticket
from showcaller.runtime.pending import Pending

BOUND = 10.0


class Request:
    """A pending request with a real ticket; `withdrawn` counts how often it was given up upstream."""

    def __init__(self, callbacks, request_id="r-1"):
        self.pending = Pending(request_id, self._withdraw, callbacks)
        self.ticket = Ticket(
            request_id,
            priority=RequestPriority.NORMAL,
            created=0.0,
            deadline=1.0,
            deliver=self.pending.settle,
        )
        self.withdrawn = 0

    def _withdraw(self):
        gone = self.ticket.complete(Errored("r-1", RequestCancelledError("cancelled")))
        self.withdrawn += gone
        return gone

    def answer(self, content="Hi"):
        response = BackendResponse(
            content=content,
            message={"role": "assistant", "content": content},
            backend="a",
            model="m",
            request_id="r-1",
        )
        return self.ticket.complete(Answered("r-1", response))

    def fail(self, error=None):
        return self.ticket.complete(Errored("r-1", error or ServerError("no")))
