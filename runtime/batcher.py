"""`runtime.batcher()`: requests that are collected and leave together, each with an outcome of its own.

It has no thread: what is due is told by the clock, and the next of a batch is sent by whoever completes one.
"""

from __future__ import annotations

import itertools
import threading
from collections import deque
from collections.abc import Callable
from types import TracebackType
from typing import Self, Unpack

from attrs import evolve, frozen

from showcaller.actors.errors import (
    ConfigurationError,
    RequestCancelledError,
    RuntimeStoppedError,
    ShowcallerError,
)
from showcaller.actors.kernel import fork
from showcaller.actors.kernel.clock import Clock, Timer
from showcaller.actors.kernel.context import SLICE, about_to_wait
from showcaller.actors.kernel.message import Message
from showcaller.actors.kernel.workers import Workers
from showcaller.actors.models import ChatRequest, Errored, Outcome, RequestContext
from showcaller.actors.policies.request_batcher import MAX_PENDING, RequestBatcher
from showcaller.runtime.batch_item import BatchItem
from showcaller.runtime.edge import Edge
from showcaller.runtime.many import check_concurrency
from showcaller.runtime.pending import Pending
from showcaller.runtime.prompt import Options, Prompt, as_request

CLOSING_SECONDS = 2.0
"""Past the last deadline; what has no outcome by then is given up."""


@frozen(eq=False)
class BatchDue(Message):
    """The oldest request has waited long enough."""


@frozen(eq=False)
class ItemDue(Message):
    """The deadline of a request has come that was not sent yet, perhaps."""

    request_id: str


class Batcher:
    """Collects requests into batches; made by `Runtime.batcher`. Thread-safe; use it as a context manager.

    Leaving the block sends what waits and returns when everything has its outcome; leaving it by an exception
    gives up what has none.
    """

    def __init__(
        self,
        edge: Edge,
        *,
        clock: Clock,
        callbacks: Workers,
        check: Callable[[ChatRequest], object],
        timeout: float,
        name: str,
        max_size: int,
        max_wait: float,
        max_concurrency: int,
        max_pending: int = MAX_PENDING,
        options: Options,
        on_closed: Callable[[Batcher], object],
    ) -> None:
        """Use `Runtime.batcher`."""
        check_concurrency(max_concurrency)
        self._edge = edge
        self._clock = clock
        self._callbacks = callbacks
        self._check = check
        self._timeout = timeout
        self._name = name
        self._max_concurrency = max_concurrency
        self._options = options
        self._on_closed = on_closed
        self._born = fork.generation()
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()
        self._nothing_open = threading.Condition(self._lock)
        self._batcher = RequestBatcher(max_size, max_wait, max_pending=max_pending, name=name)
        self._leaving: deque[str] = deque()
        self._open: dict[str, BatchItem] = {}
        self._under_way = 0
        self._sending = False
        self._flushing = False
        self._timer: Timer | None = None
        self._closed: ShowcallerError | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        else:
            self.cancel()

    @property
    def pending_count(self) -> int:
        """How many requests wait to be sent."""
        with self._lock:
            return self._batcher.pending_count() + len(self._leaving)

    def add(self, prompt: Prompt, **options: Unpack[Options]) -> Pending:
        """Let a request wait for its batch; its `timeout` counts from now.

        Args:
            prompt: as for `Runtime.ask`.
            options: as for `Runtime.ask`; they go before those of the batcher.

        Returns:
            its answer to come, with an outcome of its own whatever becomes of the rest of the batch.

        Raises:
            ConfigurationError: the prompt or an option is wrong, or the batcher has been closed.
            UnknownModelError: nothing has the model's name.
            OverloadedError: max_pending requests wait.
            RuntimeStoppedError: the runtime has stopped, or is about to.
        """
        fork.refuse_if_forked(self._born)
        item = self._item(prompt, options)
        request_id, now = item.request_id, self._clock.now()
        item.deadline = now + item.timeout
        pending = item.pending = Pending(request_id, lambda: self._give_up(item), self._callbacks)
        with self._lock:
            if self._closed is not None:
                raise self._closed.copy()
            if request_id in self._open:
                raise ConfigurationError(
                    f"context.request_id: {request_id!r} is open already; give each request its own"
                )
            self._batcher.add(request_id, now)
            self._open[request_id] = item
            item.timer = self._clock.call_later(item.timeout, self, ItemDue(request_id))
        self._send()
        return pending

    def _item(self, prompt: Prompt, options: Options) -> BatchItem:
        given: Options = {**self._options, **options}
        number = next(self._numbers)
        context = given.get("context")
        if context is None and isinstance(prompt, ChatRequest):
            context = prompt.context
        elif context is not None and options.get("context") is None:
            # One context for all of them, and no two open requests of one id.
            context = evolve(context, request_id=f"{context.request_id}-{number}")
        if context is None:
            context = RequestContext(request_id=f"{self._name}-{number}", created_at=self._clock.wall())
        request = as_request(prompt, {**given, "context": context})
        self._check(request)
        timeout = self._timeout if request.timeout is None else request.timeout
        return BatchItem(request, context.request_id, 0.0, timeout)

    def flush(self) -> None:
        """Send what waits, without waiting for more; returns at once."""
        with self._lock:
            self._flushing = True
        self._send()

    def close(self) -> None:
        """Take nothing more, send what waits, and return when all have their outcome. Safe to call twice.

        It takes no longer than the latest deadline of what is open. An interrupt gives everything up.
        """
        try:
            latest = self._close(
                ConfigurationError("the batcher has been closed; make another with runtime.batcher()")
            )
            self.flush()
            self._wait_until_empty(latest + CLOSING_SECONDS)
        finally:
            self.cancel()

    def cancel(self) -> None:
        """Take nothing more, and give up what has no outcome, upstream too. Safe to call twice."""
        self._close(ConfigurationError("the batcher was cancelled; make another with runtime.batcher()"))
        for item in list(self._open.values()):
            self._give_up(item)
        self._on_closed(self)

    def fail(self, error: RuntimeStoppedError) -> None:
        """The runtime stops: take nothing more, and fail what was not sent; the rest is the runtime's."""
        self._close(error)
        for item in list(self._open.values()):
            if item.sent is None:
                self._settle(item, Errored(item.request_id, error.copy()))

    def _close(self, error: ShowcallerError) -> float:
        """Refuse what comes from now on; the latest deadline of what is open."""
        with self._lock:
            self._closed = self._closed or error
            return max((item.deadline for item in self._open.values()), default=0.0)

    def _wait_until_empty(self, until: float) -> None:
        while self._open and (seconds := until - self._clock.now()) > 0:
            left = about_to_wait("Batcher.close()", lambda: not self._open, seconds)
            with self._lock:
                self._nothing_open.wait_for(lambda: not self._open, min(SLICE, left or 0.0))

    # --- the way of a request ---

    def tell(self, message: BatchDue | ItemDue) -> None:
        """A time has come; on the clock's thread."""
        if isinstance(message, BatchDue):
            with self._lock:
                self._timer = None
            self._send()
            return
        item = self._open.get(message.request_id)
        if item is not None and item.sent is None:
            self._settle(item, item.too_late())

    def _send(self) -> None:
        """Send what may be sent. One caller at a time does, for all; so nothing nests, however quick the answers."""
        with self._lock:
            if self._sending:
                return
            self._sending = True
        try:
            while (item := self._next()) is not None:
                self._accept(item)
        except BaseException:
            # An interrupt of one caller is not the end of sending: the clock's thread goes on with it.
            with self._lock:
                self._sending = False
                if self._timer is not None:
                    self._timer.cancel()
                self._timer = self._clock.call_later(0.0, self, BatchDue())
            raise

    def _next(self) -> BatchItem | None:
        """The next to be sent; None, and nobody sends any more, when there is none or there are too many under way."""
        now = self._clock.now()
        with self._lock:
            while self._under_way < self._max_concurrency and self._refill(now):
                item = self._open.get(self._leaving.popleft())
                if item is not None and not item.settled:
                    self._under_way += 1
                    return item
            self._sending = False
            self._set_timer(now)
        return None

    def _refill(self, now: float) -> bool:
        """Is there somebody who leaves? The next batch is taken when the one before has left."""
        if not self._leaving:
            batch = self._batcher.get_batch(now, flush=self._flushing)
            if batch is None:
                self._flushing = False
                return False
            self._leaving.extend(batch.requests)
        return True

    def _set_timer(self, now: float) -> None:
        at = self._batcher.ready_at(now)
        # What is ready already leaves when one that is under way is done.
        if at is not None and at > now and self._timer is None:
            self._timer = self._clock.call_later(at - now, self, BatchDue())

    def _accept(self, item: BatchItem) -> None:
        left = item.deadline - self._clock.now()
        if left <= 0:
            # Its timer is about to say so.
            self._came(item, item.too_late())
            return
        try:
            sent = self._edge.accept(item.request, share=False, timeout=left)[1]
        except ShowcallerError as error:
            self._came(item, Errored(item.request_id, error))
            return
        except BaseException:
            self._interrupted(item)
            raise
        with self._lock:
            item.sent = sent
            settled = item.settled
            if item.timer is not None:
                item.timer.cancel()
        if settled:
            # It was given up while it was being sent.
            sent.cancel()
        sent.when_done(lambda: self._came(item, sent.outcome))

    def _interrupted(self, item: BatchItem) -> None:
        """It was being sent when an interrupt came: it is the next again, unless the door had let it in."""
        if self._edge.cancel(item.request_id):
            error = RequestCancelledError(f"request {item.request_id} was interrupted while it was sent")
            self._came(item, Errored(item.request_id, error))
            return
        with self._lock:
            self._under_way -= 1
            self._leaving.appendleft(item.request_id)

    def _came(self, item: BatchItem, outcome: Outcome | None) -> None:
        """What was sent has its outcome; on the thread that completed it."""
        assert outcome is not None
        with self._lock:
            self._under_way -= 1
        self._settle(item, outcome)
        self._send()

    def _give_up(self, item: BatchItem) -> bool:
        """Its caller wants it no more; False when it has its outcome already."""
        if item.sent is not None:
            return item.sent.cancel()
        error = RequestCancelledError(f"request {item.request_id} was cancelled before its batch was sent")
        return self._settle(item, Errored(item.request_id, error))

    def _settle(self, item: BatchItem, outcome: Outcome) -> bool:
        """Give a request its outcome; False when it has one."""
        with self._lock:
            if item.settled:
                return False
            item.settled = True
            if item.timer is not None:
                item.timer.cancel()
            if item.sent is None:
                self._batcher.discard(item.request_id)
        assert item.pending is not None
        try:
            item.pending.settle(outcome)
        finally:
            with self._lock:
                del self._open[item.request_id]
                if not self._open:
                    self._nothing_open.notify_all()
        return True
