"""Knows what the current thread must not do: wait where it steps actors, or wait in real time in a simulation."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from typing import Protocol

from showcaller.actors.kernel.errors import BlockingCallError

SLICE = 1.0
"""Seconds of one piece of an endless wait. A signal that comes just before a wait is heard only after it."""


class Pacemaker(Protocol):
    """Lets time pass on a thread where it passes only when somebody lets it."""

    def pass_until(self, ready: Callable[[], bool], timeout: float | None) -> None:
        """Let things happen until `ready`, or until `timeout` seconds have passed."""

    def beat(self) -> None:
        """Let one thing happen."""

    def refused(self, error: BlockingCallError) -> None:
        """A step has tried to wait."""


class _Here(threading.local):
    stepping: str | None = None
    pacemaker: Pacemaker | None = None


_here = _Here()


@contextmanager
def stepping(name: str) -> Iterator[None]:
    """Mark the current thread as one that steps actors."""
    before = _here.stepping
    _here.stepping = name
    try:
        yield
    finally:
        _here.stepping = before


@contextmanager
def paced_by(pacemaker: Pacemaker | None) -> Iterator[None]:
    """On the current thread time passes only when `pacemaker` lets it."""
    before = _here.pacemaker
    _here.pacemaker = pacemaker
    try:
        yield
    finally:
        _here.pacemaker = before


def is_paced() -> bool:
    """Does time pass here only when a pacemaker lets it?"""
    return _here.pacemaker is not None


class Beats:
    """To be awaited before every wait of a coroutine: where a pacemaker keeps the time, it passes here.

    One thing happens at a time, until `ready`, and between two of them the event loop's other tasks go on.
    """

    def __init__(self, ready: Callable[[], bool]) -> None:
        self._ready = ready

    def __await__(self) -> Generator[None, None, None]:
        pacemaker = _here.pacemaker
        while pacemaker is not None and not self._ready():
            pacemaker.beat()
            yield


def forbid_waiting(call: str) -> None:
    """Raise BlockingCallError when the current thread steps actors."""
    if _here.stepping is not None:
        error = BlockingCallError(
            f"{call} waits, and the thread of {_here.stepping} must not: an actor sends tells and gets its "
            "answers as messages; wait on a thread of your own instead"
        )
        if _here.pacemaker is not None:
            _here.pacemaker.refused(error)
        raise error


def about_to_wait(call: str, ready: Callable[[], bool], timeout: float | None) -> float | None:
    """To be asked before every wait of a caller: seconds that are left to wait, None for as long as it takes.

    Args:
        call: what waits, for the error's text.
        ready: is there nothing more to wait for?
        timeout: seconds, or None.

    Raises:
        BlockingCallError: the current thread steps actors.
    """
    forbid_waiting(call)
    if _here.pacemaker is None:
        return timeout
    _here.pacemaker.pass_until(ready, timeout)
    return 0.0
