"""What happened in a simulation that its user wants to see: faults, crashes, restarts, breakers."""

from __future__ import annotations

from attrs import frozen


@frozen
class Moment:
    """One thing that happened.

    Attributes:
        time: virtual seconds since the beginning.
        what: in words.
    """

    time: float
    what: str
