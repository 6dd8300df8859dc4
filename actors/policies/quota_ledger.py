"""Who may spend what: reserve at the worst case, settle at what it was, refund what was not used.

Every reservation is made, settled and refunded under a key; doing it again changes nothing. Rates are
token buckets (GCRA-like: a level that refills continuously), quotas are fixed hours and days of UTC.
"""

from __future__ import annotations

import math
from bisect import bisect_left

from attrs import Factory, define, frozen

MINUTE = 60.0
HOUR = 3600.0
DAY = 86400.0
MOST_TOKENS = 2**53
"""What a backend counts beyond that is no number that a float can hold."""
GRAINS = 64
"""When a bucket remembers more levels than that, it takes those for one that differ by less than such a part."""


@frozen(kw_only=True)
class QuotaLimits:
    """What may be spent; None: without limit.

    Attributes:
        requests_per_hour, requests_per_day: requests in an hour or a day of UTC.
        rpm, tpm: requests and tokens a minute, as a token bucket that holds one minute's worth.
    """

    requests_per_hour: int | None = None
    requests_per_day: int | None = None
    rpm: int | None = None
    tpm: int | None = None


@frozen
class Refusal:
    """There is nothing left: which limit says so, and from when on it may be asked again (wall seconds)."""

    limit: str
    not_before: float


@define
class _Peak:
    takes: int
    level: float


@define
class _Bucket:
    """A level that refills continuously up to its capacity.

    What is given back would have been there since it was taken, but never above the capacity: so no more
    comes back than there was room for at the fullest moment since. `peaks` remembers those moments, from the
    highest and oldest to now; each says how high the level was at most after that many takes.
    """

    capacity: float
    level: float
    at: float = -math.inf
    peaks: list[_Peak] = Factory(list)

    def refill(self, now: float, takes: int) -> None:
        """Bring the level up to `now`; so many takes were made so far."""
        if now >= self.at or self.at - now > MINUTE:
            self.level = min(self.capacity, self.level + max(0.0, now - self.at) * self.capacity / MINUTE)
            self.at = now
        self.peaks.append(_Peak(takes, self.level))
        self._merge(len(self.peaks) - 1)

    def wait(self, amount: float) -> float:
        """Seconds until `amount` is there."""
        return max(0.0, amount - self.level) * MINUTE / self.capacity

    def give_back(self, amount: float, take: int) -> None:
        """Return `amount` of what that take took, or charge what it lacked; to be refilled before."""
        if amount > 0:
            since = bisect_left(self.peaks, take, key=lambda peak: peak.takes)
            amount = min(amount, self.capacity - self.peaks[since].level)
            for peak in self.peaks[since:]:
                peak.level += amount
            self._merge(since)
        self.level += amount

    def _merge(self, index: int) -> None:
        """One entry for two out of order, or close when there are many: as late as the later, as high as the higher."""
        peaks = self.peaks
        close = self.capacity / GRAINS if len(peaks) > GRAINS else 0.0
        while index and peaks[index - 1].level - peaks[index].level <= close:
            index -= 1
            older = peaks.pop(index)
            if older.level > peaks[index].level:
                peaks[index].level, close = older.level, 0.0


@define
class _Window:
    name: str
    seconds: float
    limit: int
    start: float = -math.inf
    used: int = 0
    turn: int = 0

    def roll(self, now: float) -> None:
        start = now - now % self.seconds
        if start > self.start:
            self.start, self.used = start, 0
            self.turn += 1
        elif self.start - start > self.seconds:
            self.start = start


@frozen
class _Reservation:
    tokens: float
    number: int
    turns: tuple[int, ...]


class QuotaLedger:
    """The account of one scope: a backend, or the whole runtime.

    `now` is wall time in seconds. A clock that is set back makes no new quota; set back by more than a window
    it is believed, and what was used stays used until the next window begins.
    """

    def __init__(self, limits: QuotaLimits) -> None:
        self.limits = limits
        self._windows = [
            _Window(name, seconds, limit)
            for name, seconds, limit in (
                ("requests_per_hour", HOUR, limits.requests_per_hour),
                ("requests_per_day", DAY, limits.requests_per_day),
            )
            if limit is not None
        ]
        self._requests = None if limits.rpm is None else _Bucket(limits.rpm, limits.rpm)
        self._tokens = None if limits.tpm is None else _Bucket(limits.tpm, limits.tpm)
        self._open: dict[object, _Reservation] = {}
        self._number = 0

    @property
    def outstanding(self) -> int:
        """Reservations that are neither settled nor refunded."""
        return len(self._open)

    def reserve(self, key: object, tokens: int, now: float) -> Refusal | None:
        """Reserve one request of `tokens` tokens; None when it is reserved, also when it was before."""
        if key in self._open:
            return None
        worst: float = tokens if self._tokens is None else min(tokens, self._tokens.capacity)
        refusal = self._refuse(worst, now)
        if refusal is not None:
            return refusal
        for window in self._windows:
            window.used += 1
        if self._requests is not None:
            self._requests.level -= 1
        if self._tokens is not None:
            self._tokens.level -= worst
        self._number += 1
        self._open[key] = _Reservation(worst, self._number, tuple(window.turn for window in self._windows))
        return None

    def _refuse(self, tokens: float, now: float) -> Refusal | None:
        """By the limit that lasts longest: who comes back then is not sent away by another one."""
        refusals = []
        for window in self._windows:
            window.roll(now)
            if window.used >= window.limit:
                refusals.append(Refusal(window.name, window.start + window.seconds))
        for name, bucket, amount in (("rpm", self._requests, 1.0), ("tpm", self._tokens, tokens)):
            if bucket is not None:
                bucket.refill(now, self._number)
                wait = bucket.wait(amount)
                if wait > 0:
                    # Of a clock that was set back the bucket refills only from where it has been.
                    refusals.append(Refusal(name, bucket.at + wait))
        return max(refusals, key=lambda refusal: refusal.not_before, default=None)

    def settle(self, key: object, tokens: int, now: float) -> None:
        """The request was carried out and took `tokens` tokens; the difference is given back or taken."""
        reservation = self._open.pop(key, None)
        if reservation is not None and self._tokens is not None:
            self._tokens.refill(now, self._number)
            self._tokens.give_back(reservation.tokens - min(tokens, MOST_TOKENS), reservation.number)

    def refund(self, key: object, now: float) -> None:
        """The request was not carried out: everything is given back."""
        reservation = self._open.pop(key, None)
        if reservation is None:
            return
        for window, turn in zip(self._windows, reservation.turns, strict=True):
            if window.turn == turn:
                window.used -= 1
        for bucket, amount in ((self._requests, 1.0), (self._tokens, reservation.tokens)):
            if bucket is not None:
                bucket.refill(now, self._number)
                bucket.give_back(amount, reservation.number)

    def remaining(self, now: float) -> dict[str, int]:
        """What is left under each limit, in whole requests or tokens."""
        left: dict[str, int] = {}
        for window in self._windows:
            window.roll(now)
            left[window.name] = window.limit - window.used
        for name, bucket in (("rpm", self._requests), ("tpm", self._tokens)):
            if bucket is not None:
                bucket.refill(now, self._number)
                left[name] = max(0, math.floor(bucket.level))
        return left
