"""A stream buffer in any order and on any threads: every reader sees the chunks in order from the first."""

from __future__ import annotations

import sys
import threading

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from showcaller.actors import stream_buffer as module
from showcaller.actors.errors import ServerError, StreamInterruptedError
from showcaller.actors.stream_buffer import StreamBuffer
from tests.actors.streams import BOUND, LEFT, chunk, on_thread


@pytest.fixture
def often():
    """Lets the interpreter switch threads as often as it can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


class StreamMachine(RuleBasedStateMachine):
    """One writer and readers that come and go; the model is the list of what was taken."""

    @initialize(replay=st.booleans())
    def begin(self, replay):
        self.stream = StreamBuffer(replay=replay)
        self.replay = replay
        self.taken, self.base, self.ended = [], 0, False
        first = self.stream.open_reader()
        self.positions = {first: 0}

    @rule(count=st.integers(1, 5))
    def write(self, count):
        for _ in range(count):
            number = len(self.taken)
            room = self.ended or not self.positions or number - max(self.positions.values()) < module.ROOM
            assert self.stream.offer(chunk(number)) is room
            if room and not self.ended:
                self.taken.append(number)
                self.base = max(self.base, len(self.taken) - module.REPLAY)

    @rule()
    def join(self):
        reader = self.stream.open_reader()
        assert (reader is None) is (self.base > 0)
        if reader is not None:
            self.positions[reader] = 0

    @precondition(lambda self: self.positions)
    @rule(data=st.data(), count=st.integers(1, 6))
    def read(self, data, count):
        reader = data.draw(st.sampled_from(list(self.positions)))
        for _ in range(count):
            at = self.positions[reader]
            if at < self.base:
                with pytest.raises(StreamInterruptedError):
                    reader.take(0.0)
            elif at < len(self.taken):
                assert reader.ready
                assert reader.take(0.0) == chunk(at)
                self.positions[reader] = at + 1
                if not self.replay and not self.ended:
                    self.base = max(self.base, min(self.positions.values()))
            elif self.ended:
                assert reader.take(0.0) is None
            else:
                assert not reader.ready
                with pytest.raises(TimeoutError):
                    reader.take(0.0)

    @precondition(lambda self: self.positions)
    @rule(data=st.data())
    def leave(self, data):
        reader = data.draw(st.sampled_from(list(self.positions)))
        reader.leave(LEFT)
        del self.positions[reader]

    @rule()
    def end(self):
        self.stream.finish(None)
        self.ended = True

    @invariant()
    def the_text_is_what_was_taken(self):
        assert self.stream.text == "".join(f"{number};" for number in self.taken)


def test_every_reader_sees_every_chunk_in_order(monkeypatch):
    """In any order of writing, joining, reading, leaving and ending, with little room and a short memory."""
    monkeypatch.setattr(module, "ROOM", 4)
    monkeypatch.setattr(module, "REPLAY", 9)
    case = StreamMachine.TestCase
    case.settings = settings(case.settings, max_examples=150, stateful_step_count=40)
    case().runTest()


@pytest.mark.usefixtures("often")
@pytest.mark.parametrize("ends", [None, ServerError("broke")])
def test_readers_on_threads_see_a_whole_beginning(monkeypatch, ends):
    """A writer that waits for room, readers that join on the way, one that leaves: no chunk twice, none missed."""
    monkeypatch.setattr(module, "ROOM", 8)
    stream, count = StreamBuffer(replay=True), 400
    leaver, joined = stream.open_reader(), threading.Event()

    def write():
        for number in range(count):
            while not stream.offer(chunk(number)):
                stream.wait_room(BOUND)
            if number == count // 2:
                assert joined.wait(BOUND)
        stream.finish(ends)

    def follow():
        reader, numbers = stream.open_reader(), []
        joined.set()
        try:
            while (taken := reader.take(BOUND)) is not None:
                numbers.append(int(taken.text[:-1]))
        except ServerError:
            return [*numbers, "broke"]
        return [*numbers, None]

    def leave_early():
        for number in range(20):
            assert leaver.take(BOUND) == chunk(number)
        leaver.leave(LEFT)
        return True

    early = on_thread(follow)
    assert joined.wait(BOUND)
    joined.clear()
    left, written = on_thread(leave_early), on_thread(write)
    late = on_thread(follow)
    whole = [*range(count), None if ends is None else "broke"]
    assert [early(), late()] == [whole, whole]
    assert left() is True
    assert written() is None
