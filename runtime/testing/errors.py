"""What a simulation says is wrong with the run itself, and what it injects."""

from __future__ import annotations

import errno


class SimulationError(AssertionError):
    """The simulation cannot go on; the text says why, with the seed."""


class DeadlockError(SimulationError):
    """An actor waits for something that cannot happen while it waits; the text names the cycle."""


class Injected:
    """The mark of all exceptions that a fault of the simulation raises; every other one is a bug."""


class InjectedCrashError(Injected, Exception):
    """A fault of the simulation's own made this actor die."""


class InjectedExitError(Injected, BaseException):
    """The same by an exception that is none of Exception's."""


def injected(error: type[Exception]) -> Exception:
    """An exception that `except error` catches and that can be told from a real one; OSError: the disk is full."""
    marked = _MARKED.get(error)
    if marked is None:
        body = {"__doc__": error.__doc__}
        marked = _MARKED[error] = type(f"Injected{error.__name__}", (Injected, error), body)
    if issubclass(error, OSError):
        return marked(errno.ENOSPC, "No space left on device (a fault of the simulation)")
    return marked("a fault of the simulation")


_MARKED: dict[type[Exception], type[Exception]] = {}
