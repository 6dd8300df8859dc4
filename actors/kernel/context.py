"""Knows which threads step actors, so that a call that waits can be refused there."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from showcaller.actors.kernel.errors import BlockingCallError

SLICE = 1.0
"""Seconds of one piece of an endless wait. A signal that comes just before a wait is heard only after it."""


class _Stepping(threading.local):
    name: str | None = None


_stepping = _Stepping()


@contextmanager
def stepping(name: str) -> Iterator[None]:
    """Mark the current thread as one that steps actors."""
    before = _stepping.name
    _stepping.name = name
    try:
        yield
    finally:
        _stepping.name = before


def forbid_waiting(call: str) -> None:
    """Raise BlockingCallError when the current thread steps actors."""
    if _stepping.name is not None:
        raise BlockingCallError(
            f"{call} waits, and the thread of {_stepping.name} must not: an actor sends tells and gets its "
            "answers as messages; wait on a thread of your own instead"
        )
