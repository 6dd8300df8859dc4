"""The quota manager: grants an attempt one request and its tokens, or says from when on to ask again."""

from __future__ import annotations

import threading
from collections.abc import Mapping

from showcaller.actors.kernel.clock import Clock
from showcaller.actors.kernel.message import Recipient
from showcaller.actors.messages import Granted, Refused, Reserve, Settle
from showcaller.actors.policies.quota_ledger import QuotaLedger, QuotaLimits, Refusal
from showcaller.actors.tree_actor import TreeActor

WHOLE_RUNTIME = "all backends"
"""The scope of limits that hold for all backends together."""
ROUNDING = 0.001
"""Seconds past the moment at which there is room: wall time is coarse in floats, and who asks a little too early is
refused once more, while a smaller one that came later takes the room."""


class QuotaBook:
    """The ledgers of all scopes; outlives the actor, so that what was spent stays spent. Thread-safe."""

    def __init__(self, whole: QuotaLimits) -> None:
        self._lock = threading.Lock()
        self._whole = QuotaLedger(whole)
        self._backends: dict[str, QuotaLedger] = {}

    def open(self, backend: str, limits: QuotaLimits) -> None:
        """Keep a ledger for a backend; one that comes back under the same limits has spent what it has spent."""
        with self._lock:
            known = self._backends.get(backend)
            if known is None or known.limits != limits:
                self._backends[backend] = QuotaLedger(limits)

    def reserve(
        self, key: object, backend: str, tokens: int, now: float
    ) -> tuple[str | None, Refusal] | None:
        """Reserve in both scopes or in none; the backend that refuses, or None for all, and the refusal."""
        with self._lock:
            ledger = self._backends.get(backend)
            refusal = None if ledger is None else ledger.reserve(key, tokens, now)
            if refusal is not None:
                return backend, refusal
            refusal = self._whole.reserve(key, tokens, now)
            if refusal is None:
                return None
            if ledger is not None:
                ledger.refund(key, now)
            return None, refusal

    def settle(self, key: object, backend: str, tokens: int | None, now: float) -> None:
        """A reservation has ended: `tokens` were spent, or nothing was and everything is given back."""
        with self._lock:
            for ledger in (self._backends.get(backend), self._whole):
                if ledger is None:
                    continue
                if tokens is None:
                    ledger.refund(key, now)
                else:
                    ledger.settle(key, tokens, now)

    def remaining(self, now: float) -> Mapping[str, Mapping[str, int]]:
        """What is left under each limit, by scope: "all backends", or a backend's name."""
        with self._lock:
            scopes = {WHOLE_RUNTIME: self._whole, **self._backends}
            left = {scope: ledger.remaining(now) for scope, ledger in scopes.items()}
        return {scope: limits for scope, limits in left.items() if limits}

    @property
    def outstanding(self) -> int:
        """Reservations that are neither settled nor refunded."""
        with self._lock:
            return self._whole.outstanding


class QuotaManager(TreeActor):
    """One incarnation of the quota manager."""

    def __init__(self, book: QuotaBook, clock: Clock, supervisor: Recipient) -> None:
        super().__init__()
        self._book = book
        self._clock = clock
        self._supervisor = supervisor

    def on_reserve(self, message: Reserve) -> None:
        """Answer with Granted or Refused."""
        attempt, now = message.attempt, self._clock.wall()
        refused = self._book.reserve(attempt.key, message.backend, message.tokens, now)
        if refused is None:
            self._supervisor.tell(Granted(attempt))
        else:
            backend, refusal = refused
            seconds = max(0.0, refusal.not_before - now) + ROUNDING
            self._supervisor.tell(Refused(attempt, backend, refusal.limit, seconds))

    def on_settle(self, message: Settle) -> None:
        """Reservations have ended."""
        now = self._clock.wall()
        for settlement in message.settlements:
            self._book.settle(settlement.key, settlement.backend, settlement.tokens, now)
