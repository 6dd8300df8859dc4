"""Streams as callers see them: iterate over chunks; leaving the block cancels upstream."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from types import TracebackType
from typing import Self

from showcaller.actors.kernel import fork
from showcaller.actors.kernel.context import Beats, about_to_wait
from showcaller.actors.kernel.errors import ForkedProcessError
from showcaller.actors.kernel.workers import Workers
from showcaller.actors.models import BackendResponse, StreamChunk
from showcaller.actors.ticket import Ticket
from showcaller.runtime.pending import Pending


class Drop:
    """A job that cancels a request whose stream nobody holds any more."""

    def __init__(self, pending: Pending) -> None:
        self._pending = pending

    def step(self) -> None:
        """Cancel it, unless it is done."""
        self._pending.cancel()

    def wait(self, seconds: float) -> None:
        """Never called: there is one step."""


class _Held:
    """A stream as long as its caller holds it."""

    def __init__(self, ticket: Ticket, pending: Pending, finalizers: Workers) -> None:
        self.request_id = pending.request_id
        self._ticket = ticket
        self._pending = pending
        self._finalizers = finalizers
        self._born = fork.generation()

    def __del__(self) -> None:
        # It may run on any thread and inside any lock: so on another thread, where none is held.
        if self._born == fork.generation() and not self._pending.done():
            # Without threads the runtime has stopped, or is about to, and ends the request itself.
            with suppress(RuntimeError):
                self._finalizers.run(Drop(self._pending))

    def close(self) -> None:
        """Cancel what has not come yet; no error when all has, nor in a forked child, whose stream it is not."""
        with suppress(ForkedProcessError):
            self._pending.cancel()


class ChatStream(_Held):
    """The chunks of one answer, as they come.

    Iterating raises StreamInterruptedError when the stream breaks after its first chunk, and whatever else
    the request fails of. A stream that is left early, or dropped, is cancelled.

    Attributes:
        request_id: for `runtime.cancel()`, the log and the records.
    """

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __iter__(self) -> Iterator[StreamChunk]:
        return self

    def __next__(self) -> StreamChunk:
        fork.refuse_if_forked(self._born)
        chunk = self._ticket.take_chunk(about_to_wait("reading a stream", self._ticket.is_readable, None))
        if chunk is None:
            raise StopIteration
        return chunk

    @property
    def response(self) -> BackendResponse:
        """The whole answer, once the stream has been read to its end; before that it waits for it."""
        return self._pending.result()


class AsyncChatStream(_Held):
    """The same for asyncio: `async with runtime.stream_async(...) as stream: async for chunk in stream`."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __aiter__(self) -> AsyncIterator[StreamChunk]:
        return self

    async def __anext__(self) -> StreamChunk:
        fork.refuse_if_forked(self._born)
        await self._readable()
        chunk = self._ticket.take_chunk(0.0)
        if chunk is None:
            raise StopAsyncIteration
        return chunk

    async def _readable(self) -> None:
        import asyncio  # slow to import, and needed by few

        await Beats(self._ticket.is_readable)
        loop = asyncio.get_running_loop()
        arrived = asyncio.Event()

        def wake() -> None:
            # A loop that is closed waits for nothing; the writer's thread has others to wake.
            with suppress(RuntimeError):
                loop.call_soon_threadsafe(arrived.set)

        while True:
            reader = self._ticket.reader
            assert reader is not None
            reader.waker = wake
            if reader is not self._ticket.reader:
                # It was moved to another stream before it had said how to wake it.
                continue
            if reader.ready and reader is self._ticket.reader:
                reader.waker = None
                return
            await arrived.wait()
            arrived.clear()

    async def response(self) -> BackendResponse:
        """The whole answer, once the stream has been read to its end."""
        return await self._pending
