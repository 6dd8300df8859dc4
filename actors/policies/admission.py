"""Admission: who would wait past its deadline is refused while it can still go elsewhere, and not when it is too late.

The wait is one's place in the queue over the rate at which it moves (Little's law). It is conservative: it knows a
rate only from times in which somebody waited, refuses nobody when nobody waits, and forgets in seconds.
"""

from __future__ import annotations

import math
from collections import deque

from attrs import define, frozen

from showcaller.actors.enums import RequestPriority
from showcaller.actors.errors import OverloadedError

WINDOW = 10.0
"""Seconds of which the rate is measured, and for which answers count."""
LEAST_TIME = 1.0
"""Seconds in which somebody waited, without which no rate is known."""
LEAST_LEFT = 5
"""So many must have left in them."""
FRESH = 3.0
"""Seconds after which an outlook says nothing any more; it is renewed every second while somebody waits."""
MOST_ANSWERS = 64
"""Of so many answers the usual time is found."""
USUAL = 0.95
"""The quantile of the answers' times that is left for the answer itself ..."""
MOST_FOR_ANSWER = 0.7
"""... but at most this part of what remains: a small request may be quicker than those that were seen."""


@frozen
class Outlook:
    """What somebody who comes now can expect; a value that is read from any thread.

    Attributes:
        waiting: those who wait, by class, LOW first.
        rate: so many leave a second.
        usual: seconds that an answer takes when it is not a quick one; 0 when nothing is known.
        at: as of when.
    """

    waiting: tuple[int, ...]
    rate: float
    usual: float
    at: float

    def ahead(self, priority: RequestPriority) -> int:
        """How many leave before a request of that priority."""
        return sum(self.waiting[priority:])

    def refusal(
        self, lane: str, priority: RequestPriority, timeout: float, now: float
    ) -> OverloadedError | None:
        """Why a request for that lane, with so many seconds to live, may not come in; None: it may."""
        ahead = self.ahead(priority)
        if not ahead or now - self.at > FRESH:
            return None
        wait, answer = (ahead + 1) / self.rate, min(self.usual, MOST_FOR_ANSWER * timeout)
        if wait + answer <= timeout:
            return None
        return OverloadedError(
            f"{ahead} requests of priority {priority.name} or above wait for {lane!r}, of which {self.rate:.3g} leave "
            f"a second, and an answer takes {answer:.3g} s; with a timeout of {timeout:g} s it would be in vain: try "
            "again later, raise the timeout, or add a backend",
            retry_after=wait + answer - timeout,
        )


@define
class _Second:
    """How long somebody waited in one second, and how many left in that time."""

    start: float
    waited: float = 0.0
    left: int = 0


class Admission:
    """What is known of one lane."""

    def __init__(self) -> None:
        self._seconds: deque[_Second] = deque()
        self._answers: deque[tuple[float, float]] = deque(maxlen=MOST_ANSWERS)
        self._waiting = 0
        self._busy_since: float | None = None

    def arrived(self) -> None:
        """One more waits, for the first time: who comes back has not left."""
        self._waiting += 1

    def look(self, waiting: int, now: float) -> None:
        """After everybody has left who could: so many wait."""
        if self._busy_since is not None:
            self._count(now - self._busy_since, self._waiting - waiting, now)
        self._waiting = waiting
        self._busy_since = now if waiting else None

    def _count(self, waited: float, left: int, now: float) -> None:
        if not self._seconds or now - self._seconds[-1].start >= 1.0:
            self._seconds.append(_Second(now))
        self._seconds[-1].waited += waited
        self._seconds[-1].left += left
        while now - self._seconds[0].start > WINDOW:
            self._seconds.popleft()

    def answered(self, seconds: float, now: float) -> None:
        """An answer took so long."""
        self._answers.append((now, seconds))

    def outlook(self, waiting: tuple[int, ...], now: float) -> Outlook | None:
        """What is to be expected behind those who wait; None when not enough is known."""
        recent = [second for second in self._seconds if now - second.start <= WINDOW]
        waited = sum(second.waited for second in recent)
        left = sum(second.left for second in recent)
        if waited < LEAST_TIME or left < LEAST_LEFT:
            return None
        times = sorted(time for at, time in self._answers if now - at <= WINDOW)
        usual = times[math.ceil(USUAL * len(times)) - 1] if times else 0.0
        return Outlook(waiting, left / waited, usual, now)
