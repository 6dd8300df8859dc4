"""A ticket: one accepted request at the edge, and the arbiter of its one outcome. The first completion wins."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from showcaller.actors.enums import RequestPriority
from showcaller.actors.errors import ShowcallerError
from showcaller.actors.models import Outcome, StreamChunk
from showcaller.actors.stream_buffer import StreamReader

if TYPE_CHECKING:
    from showcaller.actors.flight import Flight


class Ticket:
    """Small, lock-based, never blocking.

    Attributes:
        request_id: the caller's id of the request.
        priority: how urgent it is.
        created: when it was accepted, in seconds of the runtime's clock.
        deadline: when it ends, answered or not, in seconds of the same clock.
        reader: its place in the stream, when it streams.
        flight: the upstream call that it waits for.
    """

    __slots__ = (
        "_deliver",
        "_lock",
        "created",
        "deadline",
        "done",
        "flight",
        "priority",
        "reader",
        "request_id",
    )

    def __init__(
        self,
        request_id: str,
        *,
        priority: RequestPriority,
        created: float,
        deadline: float,
        deliver: Callable[[Outcome], None],
    ) -> None:
        self.request_id = request_id
        self.priority = priority
        self.created = created
        self.deadline = deadline
        self.reader: StreamReader | None = None
        self.flight: Flight | None = None
        self.done = False
        self._deliver = deliver
        self._lock = threading.Lock()

    def take_chunk(self, timeout: float | None) -> StreamChunk | None:
        """The next chunk of its stream, or None at the end; see StreamBuffer.take.

        Raises:
            TimeoutError: nothing came within `timeout` seconds.
            ShowcallerError: the stream ended with that error.
        """
        while True:
            reader = self.reader
            assert reader is not None
            try:
                chunk = reader.take(timeout)
            except ShowcallerError:
                if reader is self.reader:
                    raise
            else:
                if reader is self.reader:
                    return chunk

    def is_readable(self) -> bool:
        """Would `take_chunk` return or raise at once?"""
        return self.reader is not None and self.reader.ready

    def complete(self, outcome: Outcome) -> bool:
        """Give the request its outcome; False when it has one already, and nothing changes."""
        with self._lock:
            if self.done:
                return False
            self.done = True
            deliver = self._deliver
            # It holds the caller's side, which holds this: a reference cycle, for the garbage collector to free.
            del self._deliver
        deliver(outcome)
        return True
