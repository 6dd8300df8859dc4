"""Streams in the tree: each is read from one attempt only, and its reader is woken wherever it has moved."""

from __future__ import annotations

import asyncio
from typing import Any

from showcaller.actors.errors import StreamInterruptedError
from showcaller.actors.transport import Chunk, Failed, Sent
from showcaller.runtime.streams import AsyncChatStream
from tests.tree.stage import OK, HandWorkers, Script, answer, down, failing, stage


def test_a_stream_fails_over_before_its_first_chunk_and_not_after() -> None:
    """Before: another backend. After: StreamInterruptedError with the text so far."""
    before = stage({"a": failing(down()), "b": Script([Sent(), Chunk("he"), 0.1, Chunk("y"), answer("hey")])})
    pending = before.submit(stream=True)
    before.advance(1)
    assert pending.result(0).backend == "b"

    after = stage({"a": Script([Sent(), Chunk("he"), 0.1, Failed(down())]), "b": Script(OK)})
    pending = after.submit(stream=True)
    after.advance(1)
    error = pending.exception(0)
    assert isinstance(error, StreamInterruptedError)
    assert error.partial == "he"
    after.at_rest()


def test_a_stream_that_has_begun_is_not_begun_a_second_time_from_the_queue() -> None:
    """Its backend's actor died, it was queued for another, and its first chunk came while it waited."""
    first = Script([Sent(), 1.0, Chunk("he"), 5.0, Chunk("y"), answer("hey")])
    other = Script([Sent(), 2.0, answer("busy")], [Sent(), Chunk("other"), 1.0, answer("other")])
    s = stage({"a": first, "b": other}, max_parallel_requests=1)
    pending = s.submit(stream=True)
    s.advance(0.1)
    s.submit("keeps b busy", model="b")
    s.advance(0.1)
    s.crash("a")
    s.advance(10)
    chunks = []
    while (chunk := pending.ticket.take_chunk(0)) is not None:  # type: ignore[attr-defined]
        chunks.append(chunk.text)
    assert chunks == ["he", "y"]
    assert len(other.attempts) == 1
    s.at_rest()


def test_an_asyncio_reader_is_woken_although_its_request_joined_another_just_then() -> None:
    """The follower is moved to the leader's stream while it says how it wants to be woken."""
    s = stage({"a": Script([Sent(), Chunk("he"), 5.0, answer("he")])})
    s.submit("same", temperature=0, stream=True)
    s.settle()
    pending = s.submit("same", temperature=0, stream=True)
    ticket = pending.ticket  # type: ignore[attr-defined]

    class Moving:
        """The ticket, whose flight is taken in by another as soon as its reader was looked up."""

        take_chunk = ticket.take_chunk
        is_readable = ticket.is_readable
        looked_up = False

        @property
        def reader(self) -> Any:
            reader = ticket.reader
            if not self.looked_up:
                self.looked_up = True
                s.settle()
                assert ticket.reader is not reader
            return reader

    async def first_chunk() -> Any:
        stream = AsyncChatStream(Moving(), pending, HandWorkers(s, 1))  # type: ignore[arg-type]
        return await asyncio.wait_for(anext(stream), 2.0)

    assert asyncio.run(first_chunk()).text == "he"
