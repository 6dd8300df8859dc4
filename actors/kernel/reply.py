"""The future that an ask returns: cheap, set at most once, awaitable without blocking the event loop."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Generator
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from pykka import Future, Timeout

from showcaller.actors.kernel.context import SLICE, about_to_wait
from showcaller.actors.kernel.log import log

if TYPE_CHECKING:
    from types import TracebackType

    from pykka._types import OptExcInfo


class ReplyFuture(Future[Any]):
    """A Pykka future built on two locks. The first result wins; later ones change nothing."""

    def __init__(self) -> None:
        super().__init__()
        self._lock = threading.Lock()
        self._gate = threading.Lock()
        self._gate.acquire()
        self._done = False
        self._value: Any = None
        self._error: BaseException | None = None
        self._traceback: TracebackType | None = None
        self._callbacks: list[Callable[[], None]] = []

    def get(self, *, timeout: float | None = None) -> Any:
        """The reply.

        Raises:
            pykka.Timeout: there was none within `timeout` seconds.
            BlockingCallError: the calling thread steps actors.
        """
        if self._get_hook is not None:
            return super().get(timeout=timeout)
        if not self._done:
            left = about_to_wait("Future.get()", lambda: self._done, timeout)
            while not self._gate.acquire(timeout=SLICE if left is None else max(0.0, left)):
                if left is not None:
                    raise Timeout(f"{timeout} seconds")
            self._gate.release()
        if self._error is not None:
            # Each raise adds a frame to the traceback it finds: without this, many readers grow it for ever.
            raise self._error.with_traceback(self._traceback)
        return self._value

    def set(self, value: Any = None) -> None:
        """Set the reply, unless there is one."""
        self._settle(value, None)

    def set_exception(self, exc_info: OptExcInfo | None = None) -> None:
        """Set an exception as the reply, unless there is one; by default the one being handled."""
        error = (exc_info or sys.exc_info())[1]
        self._settle(None, error)

    def _settle(self, value: Any, error: BaseException | None) -> None:
        with self._lock:
            if self._done:
                return
            self._traceback = None if error is None else error.__traceback__
            self._value, self._error, self._done = value, error, True
            callbacks, self._callbacks = self._callbacks, []
        self._gate.release()
        for callback in callbacks:
            try:
                callback()
            except BaseException as raised:  # noqa: BLE001 - it runs on an actor's thread, in Pykka's own loop
                log.error("a callback for a reply raised %s", type(raised).__name__)

    def add_done_callback(self, callback: Callable[[], None]) -> None:
        """Call `callback` when there is a reply, on the thread that sets it; at once when there is one."""
        with self._lock:
            if not self._done:
                self._callbacks.append(callback)
                return
        callback()

    def __await__(self) -> Generator[Any, None, Any]:
        if self._get_hook is not None:
            return (yield from self._resolved().__await__())
        import asyncio  # slow to import, and needed by few

        loop = asyncio.get_running_loop()
        ready = loop.create_future()

        def wake() -> None:
            if not ready.done():
                ready.set_result(None)

        def replied() -> None:
            with suppress(RuntimeError):  # the loop is closed: nobody waits any more
                loop.call_soon_threadsafe(wake)

        self.add_done_callback(replied)
        yield from ready
        return self.get()

    __iter__ = __await__

    def _resolved(self) -> ReplyFuture:
        """What a derived future waits for only its hook knows, which blocks: it gets a thread of its own."""
        resolved = ReplyFuture()

        def resolve() -> None:
            try:
                resolved.set(self.get())
            except BaseException:  # noqa: BLE001 - whatever it is, it is the reply
                resolved.set_exception()

        threading.Thread(target=resolve, name="showcaller-await", daemon=True).start()
        return resolved
