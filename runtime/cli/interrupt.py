"""What Ctrl-C does: the first stops in order, the second does not wait for that.

Python raises KeyboardInterrupt between any two instructions, also where its own library cannot stand it: in an
import a module stays half made, in `threading` a lock stays taken or is released twice. There it is put off.
"""

from __future__ import annotations

import _weakrefset
import os
import signal
import threading
from types import FrameType
from typing import Final, NoReturn

INTERRUPTED: Final = 130
"""The exit code."""

PAUSE: Final = 0.01
"""Seconds after which what was put off is tried again."""
PATIENCE: Final = 25
"""So often; who still waits in `threading` by then waits for something long, and can be interrupted there."""

_DELICATE: Final = frozenset(
    {
        threading.__file__,
        _weakrefset.__file__,
        "<frozen importlib._bootstrap>",
        "<frozen importlib._bootstrap_external>",
    }
)


class Interrupt:
    """The handler of SIGINT, and of the alarm by which it is put off."""

    def __init__(self) -> None:
        self._left = PATIENCE

    def install(self) -> None:
        """Take over, unless somebody else has or the signal is ignored."""
        if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            if hasattr(signal, "setitimer"):
                signal.signal(signal.SIGALRM, self.strike)
            signal.signal(signal.SIGINT, self.first)

    def first(self, number: int, frame: FrameType | None) -> None:
        """Stop in order."""
        signal.signal(signal.SIGINT, _leave)
        self.strike(number, frame)

    def strike(self, _number: int, frame: FrameType | None) -> None:
        """Raise, or try again in a moment.

        Raises:
            KeyboardInterrupt: the code that `frame` carries out can stand it, or is at it for long.
        """
        if self._left and hasattr(signal, "setitimer") and _is_delicate(frame):
            self._left -= 1
            signal.setitimer(signal.ITIMER_REAL, PAUSE)
            return
        raise KeyboardInterrupt


def _leave(_number: int, _frame: FrameType | None) -> NoReturn:
    os._exit(INTERRUPTED)


def _is_delicate(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code.co_filename in _DELICATE:
            return True
        frame = frame.f_back
    return False
