"""What the tests of stream buffers write and read with, and how they find somebody waiting."""

from __future__ import annotations

import threading

from showcaller.actors.errors import RequestCancelledError
from showcaller.actors.models import StreamChunk
from showcaller.actors.stream_buffer import StreamBuffer

BOUND = 10.0
LEFT = RequestCancelledError("left")


def chunk(number):
    return StreamChunk(f"{number};")


def fill(stream, count, start=0):
    """Offer so many chunks; how many were taken."""
    taken = 0
    while taken < count and stream.offer(chunk(start + taken)):
        taken += 1
    return taken


def read(reader, count=None):
    """What there is to read, at most `count` chunks; the numbers, and None at the end."""
    numbers = []
    while (count is None or len(numbers) < count) and reader.ready:
        taken = reader.take(0.0)
        numbers.append(None if taken is None else int(taken.text[:-1]))
        if taken is None:
            break
    return numbers


def on_thread(function):
    """Run it on a thread; call the result to wait for what it returned or raised."""
    said = []

    def run():
        try:
            said.append(function())
        except Exception as error:  # noqa: BLE001 - it is what the test asks for
            said.append(error)

    thread = threading.Thread(target=run)
    thread.start()

    def wait():
        thread.join(BOUND)
        assert not thread.is_alive()
        return said[0]

    return wait


class Watched(threading.Condition):
    """Says when somebody waits: who takes its lock after that finds it waiting."""

    def __init__(self, lock):
        super().__init__(lock)
        self.waiting = threading.Event()

    def wait(self, timeout=None):
        self.waiting.set()
        return super().wait(timeout)


def watched_stream():
    stream = StreamBuffer(replay=False)
    stream._changed = Watched(stream._lock)
    return stream
