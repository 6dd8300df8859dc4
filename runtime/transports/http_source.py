"""What `http.client.HTTPResponse` is given in place of a socket: each read of it goes through a function.

So each single read can have its own timeout; a timeout on the socket alone is evaded by a header that drips.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import cast

_BUFFER_BYTES = 16 * 1024


class ResponseSource(io.RawIOBase):
    """The bytes of one response.

    Args:
        receive_into: reads into a buffer once and returns how many bytes; 0 at the end.

    Attributes:
        surplus: bytes that do not belong to the response had been read when it was closed.
    """

    def __init__(self, receive_into: Callable[[memoryview], int]) -> None:
        self._receive_into = receive_into
        self.surplus = False

    def makefile(self, mode: str) -> io.BufferedReader:
        """What the response reads from; the name is the one that sockets have."""
        return _Buffer(self, _BUFFER_BYTES)

    def readable(self) -> bool:
        """Yes."""
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        """One read."""
        return self._receive_into(buffer)

    def end(self, buffer: io.BufferedReader) -> None:
        """The response is closed, and `buffer` with it."""
        # Nothing more is read, and whoever reads is let go: it would be a reference cycle for each request.
        self._receive_into = _nothing
        self.surplus = bool(buffer.peek())


def _nothing(buffer: memoryview) -> int:
    return 0


class _Buffer(io.BufferedReader):
    def close(self) -> None:
        if not self.closed:
            cast(ResponseSource, self.raw).end(self)
        super().close()
