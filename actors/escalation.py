"""What the runtime's owner is told when an actor has crashed too often."""

from __future__ import annotations

from collections.abc import Callable

from attrs import frozen


@frozen(kw_only=True)
class Escalation:
    """An actor crashed more often than its restart intensity allows, and is FAILED.

    Attributes:
        actor: the actor: the backend's name for a backend's, else such as "recorder".
        is_backend: is it a backend's?
        cause: what the last crash was, without the error's own text.
        at: when, in wall seconds since the epoch.
        restarts: how often it was started again since the runtime's start.
        retry_after: seconds until it is tried again; None: never, the runtime cannot go on without it.
    """

    actor: str
    is_backend: bool
    cause: str
    at: float
    restarts: int
    retry_after: float | None


OnFailed = Callable[[Escalation], object]
