"""When a crashed actor is started again: OTP's restart intensity in a sliding window, backoff with jitter.

Source of the rules: the OTP supervisor (intensity and period) and Pekko's backoff supervisor (delay).
"""

from __future__ import annotations

import random
from collections import deque

from attrs import frozen


@frozen(kw_only=True)
class RestartIntensity:
    """How often an actor may be restarted before its supervisor gives it up.

    Attributes:
        max_restarts: that many restarts within `period` are allowed; one more is too many.
        period: the length of the sliding window, in seconds; also the quiet time that resets the backoff.
        min_backoff, max_backoff: bounds of the delay before a restart, in seconds, before jitter.
        jitter: a delay is multiplied by a random number of 1 to 1 + jitter.
        retry_failed_after: seconds after which a slot that was given up is tried once more.
    """

    max_restarts: int = 5
    period: float = 60.0
    min_backoff: float = 0.2
    max_backoff: float = 30.0
    jitter: float = 0.2
    retry_failed_after: float = 300.0

    def __attrs_post_init__(self) -> None:
        longest = sum(self.backoff(n) for n in range(self.max_restarts)) * (1 + self.jitter)
        if self.period <= longest:
            raise ValueError(
                f"period must be longer than the backoffs of {self.max_restarts} restarts, {longest:g} s, "
                f"or the intensity is never reached; got {self.period:g} s"
            )

    def backoff(self, restarts: int) -> float:
        """Seconds before the restart that follows `restarts` earlier ones, without jitter."""
        return min(self.max_backoff, self.min_backoff * 2.0 ** min(restarts, 64))


@frozen
class Restart:
    """Start the actor again after `delay` seconds."""

    delay: float


@frozen
class GiveUp:
    """Too many restarts: report it, and try once more after `delay` seconds."""

    delay: float


class RestartHistory:
    """The crashes of one slot, and what follows from the next."""

    def __init__(self, intensity: RestartIntensity) -> None:
        self._intensity = intensity
        self._crashes: deque[float] = deque()

    def clear(self) -> None:
        """Forget the crashes: the intensity starts anew."""
        self._crashes.clear()

    def crashed(self, now: float, rng: random.Random) -> Restart | GiveUp:
        """Count a crash at `now` seconds and decide."""
        intensity = self._intensity
        while self._crashes and self._crashes[0] <= now - intensity.period:
            self._crashes.popleft()
        earlier = len(self._crashes)
        if earlier >= intensity.max_restarts:
            self._crashes.clear()
            return GiveUp(intensity.retry_failed_after)
        self._crashes.append(now)
        return Restart(intensity.backoff(earlier) * (1 + intensity.jitter * rng.random()))
