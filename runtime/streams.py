"""Streams as callers see them: iterate over chunks; leaving the block cancels upstream."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from types import TracebackType
from typing import Self

from showcaller.actors.kernel import fork
from showcaller.actors.kernel.context import Beats, about_to_wait
from showcaller.actors.kernel.errors import ForkedProcessError
from showcaller.actors.models import BackendResponse, StreamChunk
from showcaller.actors.ticket import Ticket
from showcaller.runtime.pending import Pending


class ChatStream:
    """The chunks of one answer, as they come.

    Iterating raises StreamInterruptedError when the stream breaks after its first chunk, and whatever else
    the request fails of. A stream that is left early, or dropped, is cancelled.

    Attributes:
        request_id: for `runtime.cancel()`, the log and the records.
    """

    def __init__(self, ticket: Ticket, pending: Pending) -> None:
        self.request_id = pending.request_id
        self._ticket = ticket
        self._pending = pending
        self._born = fork.generation()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __del__(self) -> None:
        self._pending.drop()

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

    def close(self) -> None:
        """Cancel what has not come yet; no error when all has, nor in a forked child, whose stream it is not."""
        with suppress(ForkedProcessError):
            self._pending.cancel()


class AsyncChatStream:
    """The same for asyncio: `async with runtime.stream_async(...) as stream: async for chunk in stream`."""

    def __init__(self, ticket: Ticket, pending: Pending) -> None:
        self.request_id = pending.request_id
        self._ticket = ticket
        self._pending = pending
        self._born = fork.generation()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __del__(self) -> None:
        self._pending.drop()

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

    def close(self) -> None:
        """Cancel what has not come yet; no error when all has, nor in a forked child, whose stream it is not."""
        with suppress(ForkedProcessError):
            self._pending.cancel()
