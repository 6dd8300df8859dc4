"""A pending request: a concurrent.futures.Future that is also awaitable, and whose cancel reaches upstream.

The caller's callbacks run on the callback threads, so that a slow one slows only itself.
"""

from __future__ import annotations

import concurrent.futures
import logging
from collections.abc import Callable, Generator
from contextlib import suppress
from typing import Any

from showcaller.actors.errors import RequestCancelledError, ShowcallerError
from showcaller.actors.kernel import fork
from showcaller.actors.kernel.context import SLICE, Beats, about_to_wait
from showcaller.actors.kernel.workers import Workers
from showcaller.actors.log import CALLBACK_RAISED
from showcaller.actors.models import Answered, BackendResponse, Outcome

_log = logging.getLogger("showcaller.callbacks")


class Callback:
    """A job that calls one function of the caller's with one argument."""

    def __init__(self, function: Callable[[Any], object], argument: object) -> None:
        self._function = function
        self._argument = argument

    def step(self) -> None:
        """Call it; what it raises is logged."""
        try:
            self._function(self._argument)
        except Exception as error:  # noqa: BLE001 - the caller's own code may raise anything
            CALLBACK_RAISED.say(error=error)

    def wait(self, seconds: float) -> None:
        """Never called: a callback has no pauses."""


def call_back(threads: Workers, function: Callable[[Any], object], argument: object) -> None:
    """Call a function of the caller's on a callback thread; when none can be had, here: others wait for it."""
    job = Callback(function, argument)
    try:
        threads.run(job)
    except RuntimeError:
        job.step()


class Pending(concurrent.futures.Future[BackendResponse]):
    """The answer that is to come.

    It keeps its callbacks when they were called: none of ours may hold it, or it would never be freed by itself.

    `result(timeout)` only waits: it raises TimeoutError and lets the request go on. `cancel()` ends it.

    Attributes:
        request_id: for `runtime.cancel()`, the log and the records.
        outcome: Answered or Errored, once it is done.
    """

    def __init__(self, request_id: str, cancel: Callable[[], bool], callbacks: Workers) -> None:
        super().__init__()
        self.request_id = request_id
        self.outcome: Outcome | None = None
        self._withdraw = cancel
        self._callback_threads = callbacks
        self._born = fork.generation()

    def settle(self, outcome: Outcome) -> None:
        """The request has its outcome. Called once, by whoever completed its ticket."""
        self.outcome = outcome
        if isinstance(outcome, Answered):
            self.set_result(outcome.response)
        elif isinstance(outcome.error, RequestCancelledError):
            super().cancel()
            self.set_running_or_notify_cancel()
        else:
            self.set_exception(outcome.error)

    def cancel(self) -> bool:
        """Give the request up, upstream too; False when it has its outcome already.

        Raises:
            ForkedProcessError: the process was forked since; the request is the parent's.
        """
        fork.refuse_if_forked(self._born)
        return self._withdraw() or self.cancelled()

    def _wait_in_slices(self) -> None:
        while not self.done():
            with suppress(TimeoutError, concurrent.futures.CancelledError):
                super().exception(SLICE)

    def result(self, timeout: float | None = None) -> BackendResponse:
        """The response.

        Raises:
            TimeoutError: it did not come within `timeout` seconds; the request goes on.
            concurrent.futures.CancelledError: it was cancelled.
            ShowcallerError: it failed.
        """
        left = self._about_to_wait("Pending.result()", timeout)
        if left is None:
            self._wait_in_slices()
        error = super().exception(left)
        if isinstance(error, ShowcallerError):
            # Each raise adds to the traceback of what it raises, and there may be many who ask.
            raise error.copy()
        return super().result()

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """The error, or None when it was answered; raises as `result` does when it does not come."""
        return super().exception(self._about_to_wait("Pending.exception()", timeout))

    def _about_to_wait(self, call: str, timeout: float | None) -> float | None:
        if self.outcome is not None:
            return timeout
        fork.refuse_if_forked(self._born)
        return about_to_wait(call, self.done, timeout)

    def add_done_callback(self, fn: Callable[[Any], object]) -> None:
        """Call `fn(self)` on a callback thread when there is an outcome."""
        threads = self._callback_threads
        super().add_done_callback(lambda done: call_back(threads, fn, done))

    def when_done(self, wake: Callable[[], object]) -> None:
        """Call `wake` on the completing thread; for our own short, non-blocking functions."""
        super().add_done_callback(lambda _: wake())

    def __await__(self) -> Generator[Any, None, BackendResponse]:
        import asyncio  # slow to import, and needed by few

        loop = asyncio.get_running_loop()
        ready, request_id = loop.create_future(), self.request_id

        def wake() -> None:
            if not ready.done():
                ready.set_result(None)

        def completed() -> None:
            try:
                loop.call_soon_threadsafe(wake)
            except RuntimeError:
                _log.debug("the event loop closed before request %s was done", request_id)

        self.when_done(completed)
        try:
            yield from Beats(self.done).__await__()
            yield from ready
        except asyncio.CancelledError:
            self.cancel()
            raise
        if self.cancelled():
            raise asyncio.CancelledError(f"request {self.request_id} was cancelled")
        return self.result()
