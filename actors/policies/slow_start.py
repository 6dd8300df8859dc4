"""Slow start: a backend that has just come back gets little at first, and its whole share when it is warm.

Envoy's: of its weight counts what has passed of the window, and a tenth at the least.
"""

from __future__ import annotations

LEAST_SHARE = 0.1
"""Of a weight, in the first moment: with nothing at all it would never be seen to work."""


def warmth(elapsed: float, window: float) -> float:
    """Which part of a backend's weight counts, above 0 and up to 1.

    Args:
        elapsed: seconds since it came back.
        window: seconds until it counts whole; 0: at once.
    """
    if elapsed >= window:
        return 1.0
    return max(LEAST_SHARE, elapsed / window)
