"""What became of one simulated request, as its caller saw it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal, Self, TypeAlias

from attrs import field, frozen

from showcaller.actors.configuration import RuntimeConfig
from showcaller.actors.enums import RequestPriority
from showcaller.actors.errors import RequestCancelledError, UnknownModelError
from showcaller.actors.models import Answered
from showcaller.runtime.testing.client import Sent
from showcaller.runtime.testing.clock import START

RequestOutcome: TypeAlias = Literal["answered", "failed", "cancelled", "refused", "open"]


@frozen(kw_only=True)
class RequestReport:
    """Times are virtual seconds since the beginning.

    Attributes:
        request_id: "" when it was refused.
        model: what it named; None: the configured one.
        route: what that stood for; None when it stood for nothing.
        priority, stream: as it was sent.
        metadata: of its context.
        submitted, completed: when; `completed` is None while it is open.
        outcome: "cancelled" when its caller gave it up, "refused" when it was not accepted, "open" without one.
        error: the name of the error's type, or None.
        backend: which answered, or None.
        attempts: how many were made for it.
        source: live, coalesced, ... of an answer, or None.
    """

    request_id: str
    model: str | None = None
    route: str | None = None
    priority: RequestPriority = RequestPriority.NORMAL
    stream: bool = False
    metadata: Mapping[str, Any] = field(factory=dict)
    submitted: float
    completed: float | None = None
    outcome: RequestOutcome
    error: str | None = None
    backend: str | None = None
    attempts: int = 0
    source: str | None = None

    @property
    def latency(self) -> float | None:
        """Seconds from its submission to its outcome; None while it is open."""
        return None if self.completed is None else self.completed - self.submitted

    @classmethod
    def of(cls, sent: Sent, configs: Iterable[RuntimeConfig], attempts: int) -> Self:
        """The report of what a client sent.

        Args:
            sent: by the client.
            configs: what may say which route the request's model stands for; the first that does.
            attempts: how many were made under its id.
        """
        request = sent.request
        response = sent.outcome.response if isinstance(sent.outcome, Answered) else None
        model = sent.plan.options.get("model") if request is None else request.model
        return cls(
            request_id=sent.request_id,
            model=model,
            route=_route(model, configs) if response is None else response.route,
            priority=RequestPriority.NORMAL if request is None else request.priority,
            stream=sent.plan.stream,
            metadata={} if request is None or request.context is None else dict(request.context.metadata),
            submitted=sent.submitted - START,
            completed=None if sent.completed is None else sent.completed - START,
            outcome=_outcome(sent),
            error=None if sent.error is None else type(sent.error).__name__,
            backend=None if response is None else response.backend,
            attempts=attempts if response is None else response.attempts,
            source=None if response is None else response.source.value,
        )


def _route(model: str | None, configs: Iterable[RuntimeConfig]) -> str | None:
    for config in configs:
        try:
            return config.route_for(model).name
        except UnknownModelError:
            continue
    return None


def _outcome(sent: Sent) -> RequestOutcome:
    if sent.refused is not None:
        return "refused"
    if sent.outcome is None:
        return "open"
    if sent.ok:
        return "answered"
    return "cancelled" if isinstance(sent.error, RequestCancelledError) else "failed"
