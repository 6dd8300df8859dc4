"""By which of its lanes a waiting request can leave: its own first, and a fallback only when nothing keeps it there.

A fallback is further backends, less preferred. So every untried backend comes before any that has failed the
request, whatever their lanes. A lane whose untried backends are merely full keeps it, one where they are away does not.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable


class Standing(enum.Enum):
    """What one backend of a lane is to one request, now."""

    FRESH = "may have it, and was not tried"
    TRIED = "may have it, and has failed it before"
    FULL = "was not tried, and has as much to do as it may"
    AWAY = "is cooling, out of service, or of no use to it"


def way_out(lanes: Iterable[Iterable[Standing]]) -> tuple[int | None, bool]:
    """Which lane to leave by, counted from 0, and whether to an untried backend; None: it waits.

    Args:
        lanes: how the backends of each stand to the request, the preferred lane first; read only as far as needed.
    """
    again: int | None = None
    for number, backends in enumerate(lanes):
        standings = set(backends)
        if Standing.FRESH in standings:
            return number, True
        if again is None and Standing.TRIED in standings:
            again = number
        if Standing.FULL in standings:
            break
    return again, False
