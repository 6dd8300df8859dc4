"""A transport around another that sees each attempt come and go, whatever the runtime counts.

`Runtime.start(transports=...)` takes any transport, so that what the demo says of the runtime does not rest on
the runtime's own word.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

from showcaller.actors.transport import Attempt, Done, Transport, TransportEvent


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
        self.attempts = 0
        self.answers = 0
        self.failed_seconds = 0.0

    @property
    def open(self) -> frozenset[tuple[str, int]]:
        """The attempts under way, by request id and number."""
        with self._lock:
            return frozenset(self._open)

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
                answered = isinstance(event, Done)
                if answered:
                    self._ended(key, began, answered=True)
                yield event
        finally:
            close = getattr(events, "close", None)
            if close is not None:
                close()
            if not answered:
                self._ended(key, began, answered=False)

    def _ended(self, key: tuple[str, int], began: float, *, answered: bool) -> None:
        with self._lock:
            self._open.discard(key)
            if answered:
                self.answers += 1
            else:
                self.failed_seconds += time.monotonic() - began

    def close(self) -> None:
        """Close the other."""
        self._transport.close()
