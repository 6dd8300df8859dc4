"""A transport around another that sees each attempt come and go, and can keep back its answers.

`Runtime.start(transports=...)` takes any transport. So what the demo says of the runtime does not rest on the
runtime's own word, and a backend can be made to fall silent.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

from showcaller.actors.errors import BackendTimeoutError, RequestCancelledError, ShowcallerError
from showcaller.actors.transport import Attempt, Done, Failed, Transport, TransportEvent


class Witness:
    """A Transport that passes everything on.

    Attributes:
        attempts: how many have begun.
        answers: how many of them ended with a whole answer.
        failed_seconds: seconds spent in those that did not.
    """

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self._lock = threading.Lock()
        self._open: set[tuple[str, int]] = set()
        self._silenced: frozenset[tuple[str, int]] = frozenset()
        self.attempts = 0
        self.answers = 0
        self.failed_seconds = 0.0

    @property
    def in_flight(self) -> int:
        """How many attempts are under way."""
        with self._lock:
            return len(self._open)

    def fall_silent(self) -> frozenset[tuple[str, int]]:
        """Let no attempt that is under way come back; they are returned, by request id and number."""
        with self._lock:
            self._silenced = frozenset(self._open)
            return self._silenced

    def attempt(self, attempt: Attempt) -> Iterator[TransportEvent]:
        """Carry out one attempt; see Transport."""
        key = (attempt.request_id, attempt.number)
        began, answered = time.monotonic(), False
        with self._lock:
            self.attempts += 1
            self._open.add(key)
        events = self._transport.attempt(attempt)
        try:
            for event in events:
                answered = isinstance(event, Done) and self._comes_back(key)
                if answered or not isinstance(event, Done):
                    yield event
                    continue
                attempt.cancel.wait(max(0.0, attempt.deadline - time.monotonic()))
                yield Failed(_never_came_back(attempt))
        finally:
            close = getattr(events, "close", None)
            if close is not None:
                close()
            with self._lock:
                self._open.discard(key)
                if not answered:
                    self.failed_seconds += time.monotonic() - began

    def _comes_back(self, key: tuple[str, int]) -> bool:
        with self._lock:
            if key in self._silenced:
                return False
            self._open.discard(key)
            self.answers += 1
            return True

    def close(self) -> None:
        """Close the other."""
        self._transport.close()


def _never_came_back(attempt: Attempt) -> ShowcallerError:
    if attempt.cancel.cancelled:
        return RequestCancelledError(
            f"{attempt.backend}: the attempt is not wanted any more", maybe_executed=True
        )
    return BackendTimeoutError(
        f"{attempt.backend}: its answer was kept back until the deadline",
        backend=attempt.backend,
        maybe_executed=True,
    )
