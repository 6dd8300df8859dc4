"""When each backend is probed: after so long without news of it, more or less a fifth, so that not all go at once."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import random

JITTER = 0.2
"""By that part an interval is longer or shorter."""


class ProbeSchedule:
    """Pure, and for one owner. A slot is named by its id.

    Args:
        interval: seconds from one news of a backend to a probe.
        rng: draws the jitter.
    """

    def __init__(self, interval: float, rng: random.Random) -> None:
        self.interval = interval
        self._rng = rng
        self._due: dict[str, float] = {}
        self._heard: dict[str, float] = {}

    @property
    def next_due(self) -> float | None:
        """When the first is due, or None when there is no backend."""
        return min(self._due.values(), default=None)

    def watch(self, slots: Iterable[str], now: float) -> None:
        """These are there now: those that have come get their time, and those that are gone are forgotten."""
        self._due = {slot: self._due.get(slot) or now + self._gap() for slot in slots}
        self._heard = {slot: at for slot, at in self._heard.items() if slot in self._due}

    def heard(self, slot: str, now: float) -> None:
        """Its attempts have said something."""
        self._heard[slot] = now

    def take_due(self, now: float) -> list[str]:
        """Those to be probed now; each of them is due again an interval later."""
        taken = []
        for slot, due in self._due.items():
            if due > now:
                continue
            heard = self._heard.pop(slot, None)
            at = now if heard is None else heard + self._gap()
            if at <= now:
                taken.append(slot)
                at = now + self._gap()
            self._due[slot] = at
        return taken

    def _gap(self) -> float:
        return self.interval * self._rng.uniform(1 - JITTER, 1 + JITTER)
