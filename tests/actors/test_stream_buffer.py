"""A stream buffer: how much room its writer has, who may join, how it ends, and who is woken."""

from __future__ import annotations

import time

import pytest

from showcaller.actors.errors import RequestCancelledError, ServerError, StreamInterruptedError
from showcaller.actors.stream_buffer import REPLAY, ROOM, StreamBuffer
from tests.actors.streams import BOUND, LEFT, chunk, fill, on_thread, read, watched_stream

# --- room ---


@pytest.mark.parametrize("replay", [False, True])
def test_the_writer_has_so_much_room_and_no_more(replay):
    """A chunk that is refused was not taken, and is taken later."""
    stream = StreamBuffer(replay=replay)
    reader = stream.open_reader()
    assert fill(stream, ROOM + 1) == ROOM
    assert stream.text == "".join(f"{number};" for number in range(ROOM))
    assert read(reader, 1) == [0]
    assert fill(stream, 2, ROOM) == 1
    assert read(reader) == list(range(1, ROOM + 1))


def test_the_fastest_reader_sets_the_pace():
    """One that lags does not hold the others up."""
    stream = StreamBuffer(replay=True)
    fast, slow = stream.open_reader(), stream.open_reader()
    fill(stream, ROOM)
    read(fast)
    assert fill(stream, ROOM, ROOM) == ROOM
    assert read(slow) == list(range(2 * ROOM))


def test_without_readers_there_is_always_room():
    """The attempt goes on to its end, for the answer's sake."""
    stream = StreamBuffer(replay=True)
    assert fill(stream, 3 * ROOM) == 3 * ROOM
    stream = StreamBuffer(replay=True)
    reader = stream.open_reader()
    assert fill(stream, ROOM + 1) == ROOM
    reader.leave(LEFT)
    assert fill(stream, ROOM + 1) == ROOM + 1


def test_after_the_end_chunks_are_taken_and_forgotten():
    """The writer is not held up by a stream that nobody wants any more."""
    stream = StreamBuffer(replay=False)
    reader = stream.open_reader()
    fill(stream, ROOM)
    stream.finish(None)
    assert stream.offer(chunk(ROOM)) is True
    assert read(reader) == [*range(ROOM), None]
    assert stream.text.endswith(f"{ROOM - 1};")


@pytest.mark.parametrize("joined", ["before", "after"])
def test_a_stream_that_has_ended_knows_its_readers_no_more(joined):
    """It is freed with the last of them, and not by the garbage collector."""
    stream = StreamBuffer(replay=True)
    readers = [stream.open_reader()] if joined == "before" else []
    stream.finish(None)
    readers.append(stream.open_reader())
    assert [read(reader) for reader in readers] == [[None]] * len(readers)
    assert not stream._readers


@pytest.mark.parametrize("event", ["read", "leave", "finish"])
def test_a_writer_that_waits_for_room_is_woken(event):
    """By a reader that has read half of it, by the last one leaving, or by the end."""
    stream = watched_stream()
    reader = stream.open_reader()
    assert fill(stream, ROOM + 1) == ROOM
    waited = on_thread(lambda: stream.wait_room(BOUND * 10))
    assert stream._changed.waiting.wait(BOUND)
    if event == "read":
        read(reader, ROOM // 2)
    elif event == "leave":
        reader.leave(LEFT)
    else:
        stream.finish(None)
    assert waited() is None


def test_a_wait_for_room_is_short_when_there_is_some():
    """And when nobody makes any it is over in its time."""
    began = time.monotonic()
    stream = StreamBuffer(replay=False)
    stream.open_reader()
    stream.wait_room(BOUND)
    fill(stream, ROOM)
    stream.wait_room(0.0)
    stream.finish(None)
    stream.wait_room(BOUND)
    assert time.monotonic() - began < BOUND


# --- joining and lagging ---


def test_who_joins_late_sees_everything_from_the_start():
    """Also when the stream has ended meanwhile."""
    stream = StreamBuffer(replay=True)
    first = stream.open_reader()
    fill(stream, 10)
    assert read(first) == list(range(10))
    assert read(stream.open_reader()) == list(range(10))
    stream.finish(None)
    assert read(stream.open_reader()) == [*range(10), None]


def test_nobody_joins_when_the_beginning_is_gone():
    """Without replay with the first chunk that was read; with replay when there are too many."""
    plain = StreamBuffer(replay=False)
    reader = plain.open_reader()
    fill(plain, 1)
    assert plain.open_reader() is not None
    plain = StreamBuffer(replay=False)
    reader = plain.open_reader()
    fill(plain, 1)
    read(reader)
    assert plain.open_reader() is None
    kept = StreamBuffer(replay=True)
    reader = kept.open_reader()
    for number in range(REPLAY):
        assert kept.offer(chunk(number))
        read(reader)
    assert kept.open_reader() is not None
    kept.offer(chunk(REPLAY))
    assert kept.open_reader() is None


def test_who_lags_too_far_is_cut_off_and_the_others_go_on():
    """With an error that says what to do."""
    stream = StreamBuffer(replay=True)
    fast, slow = stream.open_reader(), stream.open_reader()
    for number in range(REPLAY + 1):
        assert stream.offer(chunk(number))
        assert read(fast) == [number]
    assert slow.ready
    with pytest.raises(StreamInterruptedError, match="coalesce=False"):
        slow.take(0.0)
    stream.offer(chunk(REPLAY + 1))
    assert read(fast) == [REPLAY + 1]


def test_without_replay_what_was_read_is_forgotten():
    """A long stream with one reader takes no more memory than its room."""
    stream = StreamBuffer(replay=False)
    reader = stream.open_reader()
    for number in range(3 * REPLAY):
        assert stream.offer(chunk(number))
        assert read(reader) == [number]
    assert len(stream._chunks) == 0


# --- the end ---


def test_an_error_comes_after_all_chunks_and_comes_again():
    """Each time as a copy; the first end counts."""
    stream = StreamBuffer(replay=False)
    reader, error = stream.open_reader(), ServerError("broke")
    fill(stream, 3)
    stream.finish(error)
    stream.finish(None)
    assert read(reader, 3) == [0, 1, 2]
    raised = []
    for _ in range(2):
        with pytest.raises(ServerError, match="broke") as caught:
            reader.take(None)
        raised.append(caught.value)
    assert len({id(one) for one in [*raised, error]}) == 3
    assert error.__traceback__ is None


def test_the_end_comes_again():
    """Who reads on after the end gets the end."""
    stream = StreamBuffer(replay=False)
    reader = stream.open_reader()
    stream.finish(None)
    assert [reader.take(None), reader.take(None)] == [None, None]


def test_a_read_that_finds_nothing_in_its_time_may_be_repeated():
    """The reader has lost nothing."""
    stream = StreamBuffer(replay=False)
    reader = stream.open_reader()
    assert not reader.ready
    with pytest.raises(TimeoutError):
        reader.take(0.01)
    fill(stream, 1)
    assert read(reader) == [0]


@pytest.mark.parametrize("event", ["chunk", "end", "error", "leave"])
def test_a_blocked_reader_is_woken(event):
    """By a chunk, by the end, or by its own leaving, which another thread may do."""
    stream = watched_stream()
    reader = stream.open_reader()
    taken = on_thread(lambda: reader.take(None))
    assert stream._changed.waiting.wait(BOUND)
    if event == "chunk":
        stream.offer(chunk(1))
        assert taken() == chunk(1)
    elif event == "end":
        stream.finish(None)
        assert taken() is None
    elif event == "error":
        stream.finish(ServerError("broke"))
        assert isinstance(taken(), ServerError)
    else:
        reader.leave(LEFT)
        assert isinstance(taken(), RequestCancelledError)


def test_who_has_left_reads_nothing_more():
    """Not even what was there; leaving twice keeps the second reason."""
    stream = StreamBuffer(replay=True)
    reader, other = stream.open_reader(), stream.open_reader()
    fill(stream, 3)
    reader.leave(LEFT)
    assert reader.ready
    with pytest.raises(RequestCancelledError, match="left"):
        reader.take(0.0)
    reader.leave(ServerError("again"))
    with pytest.raises(ServerError, match="again"):
        reader.take(0.0)
    assert read(other) == [0, 1, 2]


# --- wakers ---


def test_a_waker_is_called_for_every_chunk_the_end_and_the_leaving():
    """Each time there may be something to read; a chunk that is refused wakes nobody."""
    stream = StreamBuffer(replay=True)
    reader, other = stream.open_reader(), stream.open_reader()
    woken = []
    reader.waker = lambda: woken.append(reader.ready)
    fill(stream, ROOM + 1)
    assert woken == [True] * ROOM
    stream.finish(None)
    stream.finish(None)
    assert woken == [True] * (ROOM + 1)
    reader.leave(LEFT)
    other.leave(LEFT)
    assert woken == [True] * (ROOM + 2)
