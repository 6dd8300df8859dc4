"""Who may spend what: reserve at the worst case, settle at what it was, refund what was not used.

Every reservation is made, settled and refunded under a key; doing it again changes nothing. Rates are
token buckets (GCRA-like: a level that refills continuously), quotas are fixed hours and days of UTC.
"""

from __future__ import annotations

import math

from attrs import define, frozen

HOUR = 3600.0
DAY = 86400.0


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
class _Bucket:
    capacity: float
    level: float
    at: float

    def refill(self, now: float) -> None:
        self.level = min(self.capacity, self.level + max(0.0, now - self.at) * self.capacity / 60.0)
        self.at = max(self.at, now)

    def wait(self, amount: float) -> float:
        """Seconds until `amount` is there."""
        return max(0.0, amount - self.level) * 60.0 / self.capacity


@define
class _Window:
    name: str
    seconds: float
    limit: int
    start: float = -math.inf
    used: int = 0

    def roll(self, now: float) -> None:
        start = now - now % self.seconds
        if start > self.start:
            self.start, self.used = start, 0


@frozen
class _Reservation:
    tokens: float
    at: float


class QuotaLedger:
    """The account of one scope: a backend, or the whole runtime. `now` is wall time in seconds."""

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
        self._requests = None if limits.rpm is None else _Bucket(limits.rpm, limits.rpm, -math.inf)
        self._tokens = None if limits.tpm is None else _Bucket(limits.tpm, limits.tpm, -math.inf)
        self._open: dict[object, _Reservation] = {}

    @property
    def outstanding(self) -> int:
        """Reservations that are neither settled nor refunded."""
        return len(self._open)

    def reserve(self, key: object, tokens: int, now: float) -> Refusal | None:
        """Reserve one request of `tokens` tokens; None when it is reserved, also when it was before."""
        if key in self._open:
            return None
        refusal = self._refuse(tokens, now)
        if refusal is not None:
            return refusal
        for window in self._windows:
            window.used += 1
        if self._requests is not None:
            self._requests.level -= 1
        if self._tokens is not None:
            self._tokens.level -= min(tokens, self._tokens.capacity)
        self._open[key] = _Reservation(tokens, now)
        return None

    def _refuse(self, tokens: int, now: float) -> Refusal | None:
        for window in self._windows:
            window.roll(now)
            if window.used >= window.limit:
                return Refusal(window.name, window.start + window.seconds)
        for name, bucket, amount in (("rpm", self._requests, 1), ("tpm", self._tokens, tokens)):
            if bucket is not None:
                bucket.refill(now)
                wait = bucket.wait(min(amount, bucket.capacity))
                if wait > 0:
                    return Refusal(name, now + wait)
        return None

    def settle(self, key: object, tokens: int, now: float) -> None:
        """The request was carried out and took `tokens` tokens; the difference is given back or taken."""
        reservation = self._open.pop(key, None)
        if reservation is not None and self._tokens is not None:
            self._tokens.refill(now)
            returned = min(reservation.tokens, self._tokens.capacity) - tokens
            self._tokens.level = min(self._tokens.capacity, self._tokens.level + returned)

    def refund(self, key: object, now: float) -> None:
        """The request was not carried out: everything is given back."""
        reservation = self._open.pop(key, None)
        if reservation is None:
            return
        for window in self._windows:
            if reservation.at >= window.start:
                window.used -= 1
        for bucket, amount in ((self._requests, 1), (self._tokens, reservation.tokens)):
            if bucket is not None:
                bucket.refill(now)
                bucket.level = min(bucket.capacity, bucket.level + min(amount, bucket.capacity))

    def remaining(self, now: float) -> dict[str, int]:
        """What is left under each limit, in whole requests or tokens."""
        left: dict[str, int] = {}
        for window in self._windows:
            window.roll(now)
            left[window.name] = window.limit - window.used
        for name, bucket in (("rpm", self._requests), ("tpm", self._tokens)):
            if bucket is not None:
                bucket.refill(now)
                left[name] = max(0, math.floor(bucket.level))
        return left
