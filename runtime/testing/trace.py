"""What happened, in order and by logical names, with a digest: the same seed gives the same digest anywhere."""

from __future__ import annotations

import hashlib
from collections import deque

KEPT = 400
"""So many of the last lines can be printed; the digest is over all."""


class Trace:
    """Lines of text; nothing in them depends on the process, the day or the machine.

    Attributes:
        closed: what happens now does not belong to it any more.
    """

    def __init__(self) -> None:
        self._hash = hashlib.blake2b(digest_size=16)
        self._kept: deque[str] = deque(maxlen=KEPT)
        self.closed = False

    def add(self, line: str) -> None:
        """One more thing has happened."""
        if self.closed:
            return
        self._hash.update(line.encode("utf-8", "backslashreplace"))
        self._hash.update(b"\n")
        self._kept.append(line)

    @property
    def digest(self) -> str:
        """Of all lines so far."""
        return self._hash.hexdigest()

    def tail(self, lines: int = KEPT) -> tuple[str, ...]:
        """The last lines."""
        return tuple(self._kept)[-lines:]
