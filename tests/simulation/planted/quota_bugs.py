"""Bugs of quotas."""

from __future__ import annotations

from typing import Any

import pytest

from showcaller.actors.departures import Departures
from showcaller.actors.policies.quota_ledger import QuotaLedger, _Reservation
from showcaller.actors.slot import BackendSlot
from tests.simulation.planted.bug import planted


@planted
def checked_now_and_spent_later(patch: pytest.MonkeyPatch) -> None:
    """A reservation only looks whether there is room, and what it takes is taken when it is settled."""

    def reserve(self: QuotaLedger, key: object, tokens: int, now: float) -> Any:
        refusal = self._refuse(float(tokens), now)
        if refusal is None:
            self._open[key] = _Reservation(0.0, self._number, tuple(window.turn for window in self._windows))
        return refusal

    def settle(self: QuotaLedger, key: object, tokens: int, now: float) -> None:
        if self._open.pop(key, None) is None:
            return
        for window in self._windows:
            window.used = min(window.limit, window.used + 1)
        for bucket, amount in ((self._requests, 1.0), (self._tokens, float(tokens))):
            if bucket is not None:
                bucket.level = max(0.0, bucket.level - amount)

    patch.setattr(QuotaLedger, "reserve", reserve)
    patch.setattr(QuotaLedger, "settle", settle)
    patch.setattr(QuotaLedger, "refund", lambda self, key, now: self._open.pop(key, None))


@planted
def refunded_never(patch: pytest.MonkeyPatch) -> None:
    """What an attempt that was not carried out has reserved is not given back."""

    def free(self: Departures, slot: BackendSlot, record: Any, *, tokens: int | None) -> None:
        self.release(slot, record)
        slot.breaker.release(record.epoch)

    patch.setattr(Departures, "free", free)


@planted
def refunded_twice(patch: pytest.MonkeyPatch) -> None:
    """What an attempt that was not carried out has reserved is given back twice."""
    real = QuotaLedger.refund

    def refund(self: QuotaLedger, key: object, now: float) -> None:
        known = self._open.get(key)
        real(self, key, now)
        if known is not None:
            self._open[key] = known
            real(self, key, now)

    patch.setattr(QuotaLedger, "refund", refund)
