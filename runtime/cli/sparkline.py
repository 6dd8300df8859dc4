"""Numbers over time as a row of little bars."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

BARS = "▁▂▃▄▅▆▇█"
NOTHING = "·"


def counts_over(times: Iterable[float], duration: float, width: int) -> list[int]:
    """How many of the times lie in each of `width` equal parts of the duration."""
    counts = [0] * width
    for time in times:
        counts[min(width - 1, max(0, int(time / duration * width)))] += 1
    return counts


def sparkline(counts: Sequence[int], most: int) -> str:
    """A character for each count; the highest bar stands for `most`, and no count at all is a dot."""
    return "".join(BARS[(count * len(BARS) - 1) // most] if count else NOTHING for count in counts)
