"""The door of a simulated runtime: notes every request that goes through it, whoever sends it, and how it ends."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from showcaller.actors.errors import ShowcallerError
from showcaller.actors.kernel.clock import Clock
from showcaller.actors.models import ChatRequest, Outcome
from showcaller.actors.ticket import Ticket
from showcaller.runtime.edge import Edge
from showcaller.runtime.pending import Pending
from showcaller.runtime.testing.client import Plan, Sent


class Door:
    """See the module's text.

    Attributes:
        requests: all of them, in the order of their coming.
    """

    def __init__(self, clock: Clock) -> None:
        self.requests: list[Sent] = []
        self._clock = clock

    def open(self, edge: Edge) -> None:
        """Stand before an edge."""
        self._accept = edge.accept
        edge.accept = self.accept  # type: ignore[method-assign]

    def accept(
        self,
        request: ChatRequest,
        *,
        stream: bool = False,
        share: bool = True,
        timeout: float | None = None,
        on_outcome: Callable[[Outcome], object] | None = None,
    ) -> tuple[Ticket, Pending]:
        """As the edge does, for whoever uses the runtime itself, and reads a stream where nobody looks on."""
        sent = Sent(Plan(prompt=request, stream=stream, reads=0), self._clock.now(), request)
        try:
            return self.admit(sent, stream=stream, share=share, timeout=timeout, on_outcome=on_outcome)
        except ShowcallerError as error:
            self.refused(sent, error)
            raise

    def admit(
        self, sent: Sent, *, on_outcome: Callable[[Outcome], object] | None = None, **options: Any
    ) -> tuple[Ticket, Pending]:
        """Let `sent.request` in, and note in `sent` what becomes of it.

        Raises:
            ShowcallerError: it was refused.
        """
        assert sent.request is not None

        def heard(outcome: Outcome) -> None:
            sent.outcomes.append(outcome)
            if on_outcome is not None:
                on_outcome(outcome)

        def completed() -> None:
            sent.completed = self._clock.now()

        ticket, pending = self._accept(sent.request, on_outcome=heard, **options)
        sent.ticket, sent.pending = ticket, pending
        sent.request_id, sent.deadline = pending.request_id, ticket.deadline
        self.requests.append(sent)
        pending.when_done(completed)
        return ticket, pending

    def refused(self, sent: Sent, error: ShowcallerError) -> None:
        """Note that a request was not let in."""
        sent.refused, sent.completed = error, self._clock.now()
        self.requests.append(sent)
