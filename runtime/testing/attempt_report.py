"""What became of one attempt, as its simulated backend saw it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, Self, TypeAlias

from attrs import field, frozen

from showcaller.actors.errors import RequestCancelledError
from showcaller.runtime.testing.backend import Served
from showcaller.runtime.testing.clock import START
from showcaller.runtime.testing.request_report import RequestReport

AttemptOutcome: TypeAlias = Literal["answered", "failed", "cancelled", "open"]


@frozen(kw_only=True)
class AttemptReport:
    """Times are virtual seconds since the beginning.

    Attributes:
        backend: which was called.
        request_id: for which request; its `route` and `metadata` are None and empty when it was no client's.
        number: 1 for the first attempt of a request.
        started, sent, first_token, ended: when; None: it did not come to that.
        outcome: "cancelled" when the runtime wanted it no more, "open" when it has not ended.
        error: the name of the error's type; None also of a transport that raised, or ended without a word.
        output_tokens: of its answer.
    """

    backend: str
    request_id: str
    route: str | None = None
    metadata: Mapping[str, Any] = field(factory=dict)
    number: int = 1
    started: float
    sent: float | None = None
    first_token: float | None = None
    ended: float | None = None
    outcome: AttemptOutcome
    error: str | None = None
    output_tokens: int = 0

    @property
    def latency(self) -> float | None:
        """Seconds from its start to its end; None while it is open."""
        return None if self.ended is None else self.ended - self.started

    @property
    def first_token_latency(self) -> float | None:
        """Seconds from its start to its first token; None when there was none."""
        return None if self.first_token is None else self.first_token - self.started

    @classmethod
    def of(cls, served: Served, request: RequestReport | None) -> Self:
        """The report of a call.

        Args:
            served: by the backend.
            request: for which it was made; None when no client sent it.
        """
        return cls(
            backend=served.backend,
            request_id=served.request_id,
            route=None if request is None else request.route,
            metadata={} if request is None else request.metadata,
            number=served.number,
            started=served.started - START,
            sent=None if served.sent is None else served.sent - START,
            first_token=None if served.first_token is None else served.first_token - START,
            ended=None if served.ended is None else served.ended - START,
            outcome=_outcome(served),
            error=None if served.error is None else type(served.error).__name__,
            output_tokens=served.output_tokens,
        )


def _outcome(served: Served) -> AttemptOutcome:
    if served.ended is None:
        return "open"
    if served.answered:
        return "answered"
    if served.dropped or isinstance(served.error, RequestCancelledError):
        return "cancelled"
    return "failed"
