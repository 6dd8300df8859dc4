"""`RequestQueue`: requests that wait for threads of the caller's own; the most urgent first, then the oldest.

It locks and waits; who is next is decided by the AgeingQueue, as for the requests that wait in the supervisor.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections import deque
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

from attrs import evolve, frozen

from showcaller.actors.enums import RequestPriority
from showcaller.actors.errors import OverloadedError, QueueClosedError
from showcaller.actors.kernel import fork
from showcaller.actors.kernel.context import SLICE, about_to_wait
from showcaller.actors.kernel.errors import ForkedProcessError
from showcaller.actors.models import Outcome
from showcaller.actors.policies.ageing_queue import AGEING_SECONDS, AgeingQueue
from showcaller.actors.records import QueuedRequest
from showcaller.actors.validators import SECONDS, is_number, refuse

CAPACITY = 10_000
"""Requests that may wait; what comes beyond is refused."""


@frozen(eq=False)
class _Waiting:
    """What the AgeingQueue orders: by the time it was queued at, and of one time by the order of coming."""

    request: QueuedRequest
    priority: RequestPriority
    since: float
    order: tuple[float, int]
    done: bool = False


class RequestQueue:
    """A bounded queue of requests for many producers and consumers. Thread-safe; use it as a context manager.

    Who has waited for one period of ageing counts as one class higher, after another as two, but never as CRITICAL.

    Args:
        capacity: so many requests may wait.
        ageing: seconds of a period.
        timer: the clock of `QueuedRequest.timestamp`, in seconds; it should only go forward.

    Raises:
        ConfigurationError: a bound is wrong; the text names it.
    """

    def __init__(
        self,
        capacity: int = CAPACITY,
        *,
        ageing: float = AGEING_SECONDS,
        timer: Callable[[], float] = time.monotonic,
    ) -> None:
        if type(capacity) is not int or capacity < 1:
            raise refuse("RequestQueue", "capacity", capacity, "use a whole number, 1 or more")
        if not is_number(ageing) or ageing <= 0:
            raise refuse("RequestQueue", "ageing", ageing, SECONDS)
        self._capacity = capacity
        self._timer = timer
        self._born = fork.generation()
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()
        self._queue: AgeingQueue[_Waiting] = AgeingQueue(float(ageing))
        # One for each consumer that sleeps. No Condition: an interrupt in its wait would leave the lock to nobody.
        self._gates: deque[threading.Lock] = deque()
        self._closed = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def size(self) -> int:
        """How many requests wait."""
        self._refuse_if_forked()
        with self._lock:
            return self._queue.size()

    def is_empty(self) -> bool:
        """Does none wait?"""
        return not self.size()

    def get_pending(self) -> list[QueuedRequest]:
        """Those that wait, in the order in which they would leave if no time passed."""
        self._refuse_if_forked()
        now = self._timer()
        with self._lock:
            return [waiting.request for waiting in self._queue.get_pending(now)]

    def enqueue(
        self,
        request: str | QueuedRequest,
        *,
        priority: RequestPriority | None = None,
        callback: Callable[[Outcome], object] | None = None,
    ) -> QueuedRequest:
        """Let a request wait; never blocks.

        Args:
            request: a prompt, which gets an id and the present time; or a request that has both. One that was taken
                out and comes back has its old place.
            priority: how urgent it is; goes before the request's own; NORMAL for a prompt.
            callback: for whoever carries it out to call with its outcome; goes before the request's own.

        Returns:
            the request as it waits.

        Raises:
            OverloadedError: as many wait as may.
            QueueClosedError: it was closed.
            ConfigurationError: a value is wrong, or the timestamp lies in the future of `timer`.
        """
        self._refuse_if_forked()
        number, now = next(self._numbers), self._timer()
        given: dict[str, Any] = {"priority": priority, "callback": callback}
        given = {name: value for name, value in given.items() if value is not None}
        if not isinstance(request, QueuedRequest):
            request = QueuedRequest(request_id=f"queued-{number}", prompt=request, timestamp=now, **given)
        elif given:
            request = evolve(request, **given)
        if request.timestamp > now:
            raise refuse(
                request, "timestamp", request.timestamp, f"use the queue's timer, which is at {now:g}"
            )
        waiting = _Waiting(request, request.priority, request.timestamp, (request.timestamp, number))
        with self._lock:
            self._refuse_if_closed()
            if self._queue.size() >= self._capacity:
                raise OverloadedError(
                    f"RequestQueue.capacity = {self._capacity}: so many requests wait already; take them out faster, "
                    "raise capacity, or try again later"
                )
            self._queue.enqueue(waiting)
            if self._gates:
                self._gates.popleft().release()
        return request

    def dequeue(self, timeout: float = 0.0) -> QueuedRequest | None:
        """Take out the next request; None when none has come within `timeout` seconds.

        Raises:
            QueueClosedError: it was closed, and nothing is left in it.
            ConfigurationError: the timeout is not a number of seconds, 0 or more.
            BlockingCallError: there is a timeout, and the calling thread steps actors.
        """
        self._refuse_if_forked()
        if not is_number(timeout) or timeout < 0:
            raise refuse("RequestQueue", "timeout", timeout, "use seconds, 0 or more")
        left = about_to_wait("RequestQueue.dequeue()", self._has_news, timeout) if timeout else 0.0
        until = time.monotonic() + (left or 0.0)
        while True:
            now = self._timer()
            with self._lock:
                waiting = self._queue.dequeue(now)
                if waiting is not None:
                    return waiting.request
                self._refuse_if_closed()
                seconds = until - time.monotonic()
                if seconds <= 0:
                    return None
                gate = threading.Lock()
                gate.acquire()
                self._gates.append(gate)
            # What an interrupt does between two lines, and that is little, lasts for a slice at the most.
            self._sleep(gate, min(SLICE, seconds))

    def _sleep(self, gate: threading.Lock, seconds: float) -> None:
        try:
            gate.acquire(timeout=seconds)
        except BaseException:
            self._leave(gate, interrupted=True)
            raise
        self._leave(gate, interrupted=False)

    def _leave(self, gate: threading.Lock, *, interrupted: bool) -> None:
        with self._lock:
            if gate in self._gates:
                self._gates.remove(gate)
            elif interrupted and self._gates:
                # It was woken for a request that it will not take.
                self._gates.popleft().release()

    def close(self) -> None:
        """Take nothing more; what waits still leaves, and then every consumer is told. Safe to call twice."""
        self._refuse_if_forked()
        with self._lock:
            self._closed = True
            while self._gates:
                self._gates.popleft().release()

    def _has_news(self) -> bool:
        return self._closed or not self.is_empty()

    def _refuse_if_closed(self) -> None:
        if self._closed:
            raise QueueClosedError("the queue has been closed; make another RequestQueue")

    def _refuse_if_forked(self) -> None:
        if self._born != fork.generation():
            # Two processes would carry out what waits.
            raise ForkedProcessError(
                "this RequestQueue was made before a fork and belongs to the parent process; make another in the child"
            )
