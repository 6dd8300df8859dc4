"""The demo's own count of what it sent and what came back, by request id."""

from __future__ import annotations

import math
import threading
from collections import Counter

from showcaller.actors.errors import ShowcallerError
from showcaller.actors.models import Answered, BackendResponse, Outcome


class Ledger:
    """Thread-safe; an outcome may be noted before its request is."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._sent: set[str] = set()
        self._outcomes: Counter[str] = Counter()
        self._responses: dict[str, BackendResponse] = {}
        self._errors: list[ShowcallerError] = []
        self._seconds: list[float] = []

    def sent(self, request_id: str) -> None:
        """A request was accepted."""
        with self._lock:
            self._sent.add(request_id)

    def ended(self, outcome: Outcome, seconds: float) -> None:
        """An outcome came, so many seconds after its request was sent."""
        with self._lock:
            self._outcomes[outcome.request_id] += 1
            self._seconds.append(seconds)
            if isinstance(outcome, Answered):
                self._responses[outcome.request_id] = outcome.response
            else:
                self._errors.append(outcome.error)

    @property
    def accepted(self) -> int:
        """Requests that were accepted."""
        with self._lock:
            return len(self._sent)

    @property
    def answered(self) -> int:
        """Requests with an answer."""
        with self._lock:
            return len(self._responses)

    @property
    def errors(self) -> tuple[ShowcallerError, ...]:
        """Why requests failed."""
        with self._lock:
            return tuple(self._errors)

    @property
    def outcomes(self) -> int:
        """Outcomes that came, every one of them."""
        with self._lock:
            return self._outcomes.total()

    @property
    def lost(self) -> int:
        """Requests without any outcome."""
        with self._lock:
            return len(self._sent - self._outcomes.keys())

    @property
    def duplicated(self) -> int:
        """Outcomes beyond the first of a request, or of a request that was never sent."""
        with self._lock:
            return sum(count - (name in self._sent) for name, count in self._outcomes.items())

    def response(self, request_id: str) -> BackendResponse | None:
        """The answer of a request, or None."""
        with self._lock:
            return self._responses.get(request_id)

    def by_backend(self) -> Counter[str]:
        """How many answers came from each backend."""
        with self._lock:
            return Counter(response.backend for response in self._responses.values())

    def percentile(self, share: float) -> float:
        """Seconds within which that share of the outcomes came, by nearest rank; 0 when there are none."""
        with self._lock:
            ordered = sorted(self._seconds)
        return ordered[math.ceil(share * len(ordered)) - 1] if ordered else 0.0
