"""A stream buffer under every schedule: all chunks in order, the end is seen, nobody sleeps through a change."""

from __future__ import annotations

import pytest
from attrs import define, field

from showcaller.actors import stream_buffer
from showcaller.actors.errors import RequestCancelledError, ServerError
from showcaller.actors.models import StreamChunk
from showcaller.actors.stream_buffer import StreamBuffer, StreamReader

LEFT = RequestCancelledError("left")
BROKEN = ServerError("broken")
CHUNKS = [StreamChunk(str(number)) for number in range(3)]
SMALL = 2
"""Room in place of the real one: what happens at its edge happens at any."""


@pytest.fixture(autouse=True)
def small_room(monkeypatch):
    monkeypatch.setattr(stream_buffer, "ROOM", SMALL)


@define
class World:
    """A buffer with a reader that is there from the start, perhaps one that comes later, and what they read."""

    buffer: StreamBuffer
    reader: StreamReader
    read: list = field(factory=list)
    late_reader: StreamReader | None = None
    late_read: list = field(factory=list)
    woken: int = 0
    ready: bool = False

    def wake(self):
        self.woken += 1


def world(*, replay):
    buffer = StreamBuffer(replay=replay)
    return World(buffer, buffer.open_reader())


def shared():
    return world(replay=True)


def own():
    return world(replay=False)


def written():
    done = own()
    write(done)
    return done


def read_all(reader, read):
    try:
        while (chunk := reader.take(None)) is not None:
            read.append(chunk.text)
        read.append("end")
    except (RequestCancelledError, ServerError) as error:
        read.append(error.message)


def offer(world):
    for chunk in CHUNKS[:2]:
        world.buffer.offer(chunk)


def write(world):
    offer(world)
    world.buffer.finish(None)


def write_and_break(world):
    offer(world)
    world.buffer.finish(BROKEN)


def write_in_time(world):
    for chunk in CHUNKS:
        while not world.buffer.offer(chunk):
            world.buffer.wait_room(60.0)
    world.buffer.finish(None)


def finish(world):
    world.buffer.finish(LEFT)


def read(world):
    read_all(world.reader, world.read)


def leave(world):
    world.reader.leave(LEFT)


def join(world):
    world.late_reader = world.buffer.open_reader()
    if world.late_reader is not None:
        read_all(world.late_reader, world.late_read)


def ask(world):
    world.reader.waker = world.wake
    world.ready = world.reader.ready


def complete(world):
    assert world.read == ["0", "1", "end"]


def complete_in_time(world):
    assert world.read == ["0", "1", "2", "end"]


def broken(world):
    assert world.read == ["0", "1", "broken"]


def cut_off(world):
    *chunks, last = world.read
    assert chunks == ["0", "1"][: len(chunks)]
    assert last == "left"


def joined(world):
    assert world.late_read == ["0", "1", "end"]


def joined_or_refused(world):
    assert world.read == ["0", "1", "end"]
    assert world.late_read == ([] if world.late_reader is None else ["0", "1", "end"])


def ready_or_woken(world):
    assert world.ready or world.woken


def test_a_reader_sees_every_chunk_and_the_end(explore):
    """In order, also when the writer is quicker or slower; an error comes after what was written before it."""
    explore(own, [write, read], complete, lines=[stream_buffer])
    explore(shared, [write, read], complete, lines=[stream_buffer], at_lines=1)
    explore(own, [write_and_break, read], broken, lines=[stream_buffer], at_lines=1)


def test_a_writer_that_waits_for_room_goes_on_when_there_is_some(explore):
    """Neither sleeps through what the other does."""
    explore(own, [write_in_time, read], complete_in_time, lines=[stream_buffer], at_lines=1)


def test_a_writer_that_waits_for_room_goes_on_when_the_reader_leaves_or_all_is_over(explore):
    """There is room for ever then."""
    explore(own, [write_in_time, leave], lambda world: None, lines=[stream_buffer])
    explore(own, [write_in_time, finish], lambda world: None, lines=[stream_buffer])


def test_a_reader_that_is_cut_off_sees_why(explore):
    """Whatever it has read before, it waits no more."""
    explore(own, [offer, read, leave], cut_off, lines=[stream_buffer], at_locks=2, at_lines=1)


def test_a_reader_that_comes_late_sees_all_or_is_refused(explore):
    """Only a stream that nobody else may join forgets what was read."""
    explore(shared, [write, join], joined, lines=[stream_buffer], at_lines=1)
    explore(written, [read, join], joined_or_refused, lines=[stream_buffer])


def test_a_reader_that_asks_is_told_or_woken(explore):
    """It says how to wake it, then asks: no chunk and no end comes between the two unnoticed."""
    explore(own, [offer, ask], ready_or_woken, lines=[stream_buffer])
    explore(own, [finish, ask], ready_or_woken, lines=[stream_buffer])


def test_a_planted_end_without_a_word_is_found(find, plant):
    """A reader that waits for the next chunk would wait until its time is over."""
    plant(StreamBuffer.finish, {"self._changed.notify_all()": "pass"})
    found = find(own, [write, read], complete, lines=[stream_buffer])
    assert "nobody can go on" in str(found)


def test_a_planted_read_without_a_word_is_found(find, plant):
    """A writer that waits for room would wait until its time is over."""
    plant(StreamBuffer.take, {"self._changed.notify_all()": "pass"})
    found = find(own, [write_in_time, read], complete_in_time, lines=[stream_buffer])
    assert "nobody can go on" in str(found)


def test_a_planted_question_before_the_waker_is_found(find):
    """An async reader that asks first and then says how to wake it sleeps through the only chunk."""

    def ask_first(world):
        world.ready = world.reader.ready
        world.reader.waker = world.wake

    find(own, [finish, ask_first], ready_or_woken, lines=[stream_buffer])
