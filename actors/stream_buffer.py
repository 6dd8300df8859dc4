"""The chunks of one streamed answer, between the seat that writes them and the readers.

The writer is never blocked here: `offer` says when there is no room, and the seat stops reading its socket.
"""

from __future__ import annotations

import io
import threading
from collections import deque
from collections.abc import Callable

from showcaller.actors.errors import ShowcallerError, StreamInterruptedError
from showcaller.actors.kernel.context import SLICE
from showcaller.actors.models import StreamChunk

ROOM = 256
"""Chunks that the fastest reader may leave unread before the writer must wait."""
REPLAY = 4096
"""Chunks kept for readers that come late or lag; past that no reader can join, and the slowest are cut off."""


class StreamBuffer:
    """One writer, one reader for each subscriber.

    Args:
        replay: keep what was read, so that a reader may join later and see everything; else it goes at once, while the
            stream goes on.
    """

    def __init__(self, *, replay: bool) -> None:
        # Entered by itself, in C: an interrupt inside Condition.__enter__ would leave it locked for ever.
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._replay = replay
        self._chunks: deque[StreamChunk] = deque()
        self._base = 0
        self._readers: list[StreamReader] = []
        self._text = io.StringIO()
        self._sealed = False
        self._finished = False
        self._error: ShowcallerError | None = None
        self._room_wanted = False

    def offer(self, chunk: StreamChunk) -> bool:
        """Take a chunk; False when there is no room and it was not taken."""
        with self._lock:
            if self._sealed or self._finished:
                return True
            if self._unread() >= ROOM:
                self._room_wanted = True
                return False
            self._chunks.append(chunk)
            self._text.write(chunk.text)
            if len(self._chunks) > REPLAY:
                self._chunks.popleft()
                self._base += 1
            self._changed.notify_all()
            wakers = [reader.waker for reader in self._readers if reader.waker is not None]
        for wake in wakers:
            wake()
        return True

    def wait_room(self, seconds: float) -> None:
        """Wait until a reader has made room, at most so long."""
        with self._lock:
            if self._unread() >= ROOM and not self._sealed and not self._finished:
                self._changed.wait(seconds)

    def seal(self) -> None:
        """Take no more chunks: `text` is everything that readers will have."""
        with self._lock:
            self._sealed = True
            self._changed.notify_all()

    def finish(self, error: ShowcallerError | None) -> None:
        """No chunk will come any more; the first call counts."""
        with self._lock:
            if self._finished:
                return
            self._finished, self._error = True, error
            self._changed.notify_all()
            wakers = [reader.waker for reader in self._readers if reader.waker is not None]
            # They hold the buffer: a reference cycle, which only the garbage collector would free.
            self._readers.clear()
        for wake in wakers:
            wake()

    @property
    def text(self) -> str:
        """What was written so far."""
        with self._lock:
            return self._text.getvalue()

    def open_reader(self) -> StreamReader | None:
        """A reader that sees the stream from its first chunk; None when that is gone already."""
        with self._lock:
            if self._base > 0:
                return None
            reader = StreamReader(self)
            if not self._finished:
                self._readers.append(reader)
            return reader

    def _unread(self) -> int:
        if not self._readers:
            return 0
        return self._base + len(self._chunks) - max(reader.position for reader in self._readers)

    def take(self, reader: StreamReader, timeout: float | None) -> StreamChunk | None:
        """The reader's next chunk, or None at the end.

        Raises:
            TimeoutError: nothing came within `timeout` seconds.
            ShowcallerError: the stream ended with that error, after all its chunks.
        """
        with self._lock:
            while True:
                if reader.cut is not None:
                    raise reader.cut.copy()
                index = reader.position - self._base
                if index < 0:
                    raise StreamInterruptedError(
                        f"this reader fell more than {REPLAY} chunks behind the others of the same answer; "
                        "read faster, or pass coalesce=False"
                    )
                if index < len(self._chunks):
                    break
                if self._finished:
                    if self._error is not None:
                        raise self._error.copy()
                    return None
                if not self._changed.wait(SLICE if timeout is None else timeout) and timeout is not None:
                    raise TimeoutError
            chunk = self._chunks[index]
            reader.position += 1
            if not self._replay and not self._finished:
                self._forget_read()
            if self._room_wanted and self._unread() <= ROOM // 2:
                self._room_wanted = False
                self._changed.notify_all()
            return chunk

    def ready(self, reader: StreamReader) -> bool:
        """Would `take` return or raise at once?"""
        with self._lock:
            return (
                self._finished or reader.cut is not None or reader.position - self._base < len(self._chunks)
            )

    def leave(self, reader: StreamReader, error: ShowcallerError) -> None:
        """The reader reads no more: whoever waits for its next chunk gets `error`."""
        with self._lock:
            reader.cut = error
            if reader in self._readers:
                self._readers.remove(reader)
            self._changed.notify_all()
        if reader.waker is not None:
            reader.waker()

    def _forget_read(self) -> None:
        slowest = min(reader.position for reader in self._readers)
        while self._base < slowest:
            self._chunks.popleft()
            self._base += 1


class StreamReader:
    """One subscriber's place in a stream.

    Attributes:
        position: the number of chunks it has read.
        cut: why it reads no more, or None.
        waker: called, on the writer's thread, when there may be something to read; it must not block.
    """

    def __init__(self, buffer: StreamBuffer) -> None:
        self.position = 0
        self.cut: ShowcallerError | None = None
        self.waker: Callable[[], None] | None = None
        self._buffer = buffer

    def take(self, timeout: float | None) -> StreamChunk | None:
        """The next chunk, or None at the end; see StreamBuffer.take."""
        return self._buffer.take(self, timeout)

    @property
    def ready(self) -> bool:
        """Would `take` return or raise at once?"""
        return self._buffer.ready(self)

    def leave(self, error: ShowcallerError) -> None:
        """Read no more; see StreamBuffer.leave."""
        self._buffer.leave(self, error)
