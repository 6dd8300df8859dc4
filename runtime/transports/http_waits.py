"""How long an attempt may wait for what, and the error when it took longer."""

from __future__ import annotations

from collections.abc import Callable

from showcaller.actors.errors import BackendTimeoutError
from showcaller.actors.transport import Attempt

CONNECT = "connect"
BEGIN = "first_token"
IDLE = "idle"
TOTAL = "total"

_SAYS = {
    CONNECT: "did not connect",
    BEGIN: "did not begin to answer",
    IDLE: "fell silent in the middle of its answer",
    TOTAL: "did not finish before the attempt's deadline",
}


class Waits:
    """The clocks of one attempt: each of its timeouts, and over them all its deadline.

    Args:
        attempt: with the timeouts, in seconds.
        now: seconds of the clock that the deadline is given in.
    """

    def __init__(self, attempt: Attempt, now: Callable[[], float]) -> None:
        self._backend = attempt.backend
        self._timeout = attempt.timeout
        self._now = now
        self._started = now()
        self._deadline = attempt.deadline
        self._first_by = 0.0
        self._waits_for = TOTAL

    def first_token_from_now(self) -> None:
        """The request begins to leave: the clock of the first token starts."""
        self._first_by = self._now() + self._timeout.first_token

    def end_within(self, seconds: float) -> None:
        """Bring the deadline forward."""
        self._deadline = min(self._deadline, self._now() + seconds)

    def left(self, what: str) -> float:
        """Seconds, more than 0, to wait for `what`; the deadline may come first.

        Raises:
            BackendTimeoutError: none are left.
        """
        now = self._now()
        if what == CONNECT:
            by = self._started + self._timeout.connect
        elif what == BEGIN:
            by = self._first_by
        else:
            by = now + self._timeout.idle
        if by > self._deadline:
            what, by = TOTAL, self._deadline
        self._waits_for = what
        if by <= now:
            raise self.timed_out(sent=bool(self._first_by))
        return by - now

    def timed_out(self, did: str = "", *, sent: bool) -> BackendTimeoutError:
        """The error for the wait that `left` was last asked about."""
        what = self._waits_for
        seconds = {
            CONNECT: self._timeout.connect,
            BEGIN: self._timeout.first_token,
            IDLE: self._timeout.idle,
        }.get(what, self._now() - self._started)
        return BackendTimeoutError(
            f"backend {self._backend!r} {did or _SAYS[what]}: {what} timeout after {seconds:.3g} s. "
            f"Fix: raise its timeout.{what}, or the request's timeout.",
            backend=self._backend,
            maybe_executed=sent,
        )
