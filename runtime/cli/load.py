"""The demo's load: some threads that ask, one that tells, never more than a few requests open at once."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import CancelledError
from typing import Final

from showcaller.actors.errors import ShowcallerError
from showcaller.actors.models import Outcome
from showcaller.runtime.cli.ledger import Ledger
from showcaller.runtime.runtime import Runtime

ASKS: Final = 60
TELLS: Final = 60
ASKERS: Final = 4
TELLS_OPEN: Final = 6
TIMEOUT: Final = 50.0
"""Seconds that each request has."""


class Load:
    """ASKS asks and TELLS tells.

    Args:
        runtime: takes them.
        ledger: where they are noted.
        model: the route.
        max_tokens: of each answer.
    """

    def __init__(self, runtime: Runtime, ledger: Ledger, *, model: str, max_tokens: int) -> None:
        self._runtime = runtime
        self._ledger = ledger
        self._model = model
        self._max_tokens = max_tokens
        self._stopping = threading.Event()
        self._room = threading.Semaphore(TELLS_OPEN)
        works: list[Callable[[], None]] = [self._tell]
        works += [self._ask] * ASKERS
        self._threads = [threading.Thread(target=self._guarded, args=[work], daemon=True) for work in works]

    def start(self) -> None:
        """Begin."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Send nothing more."""
        self._stopping.set()
        self._room.release()

    @property
    def sending(self) -> bool:
        """Is anything still to be sent, or to be heard of by a thread that waits?"""
        return any(thread.is_alive() for thread in self._threads)

    def _guarded(self, work: Callable[[], None]) -> None:
        try:
            work()
        except (ShowcallerError, CancelledError):
            # Refused at the door, which is closed when the runtime stops.
            self._stopping.set()

    def _ask(self) -> None:
        for number in range(ASKS // ASKERS):
            if self._stopping.is_set():
                return
            began = time.monotonic()
            pending = self._runtime.submit(
                f"Name a colour, number {number}.",
                model=self._model,
                max_tokens=self._max_tokens,
                timeout=TIMEOUT,
            )
            self._ledger.sent(pending.request_id)
            pending.exception()
            if pending.outcome is not None:
                self._ledger.ended(pending.outcome, time.monotonic() - began)

    def _tell(self) -> None:
        for number in range(TELLS):
            self._room.acquire()
            if self._stopping.is_set():
                return
            began = time.monotonic()

            def heard(outcome: Outcome, began: float = began) -> None:
                self._ledger.ended(outcome, time.monotonic() - began)
                self._room.release()

            request_id = self._runtime.tell(
                f"Name an animal, number {number}.",
                on_outcome=heard,
                model=self._model,
                max_tokens=self._max_tokens,
                timeout=TIMEOUT,
            )
            self._ledger.sent(request_id)
