"""Durations as they are typed and shown: 90, 90s, 10m, 1h."""

from __future__ import annotations

import re
from typing import Final

DURATION: Final = r"\d+(?:\.\d+)?[smh]?"
"""What a duration looks like; without a letter it is seconds."""

_UNITS: Final = {"s": 1.0, "m": 60.0, "h": 3600.0}


def seconds_of(text: str) -> float | None:
    """The seconds that a text says, or None when it says none."""
    if not re.fullmatch(DURATION, text, re.ASCII):
        return None
    unit = _UNITS.get(text[-1])
    return float(text) if unit is None else float(text[:-1]) * unit


def as_typed(seconds: float) -> str:
    """The shortest text that says so many seconds."""
    for unit, size in (("h", 3600.0), ("m", 60.0)):
        if seconds and seconds % size == 0:
            return f"{seconds / size:g}{unit}"
    return f"{seconds:g}s"
