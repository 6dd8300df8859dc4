"""How quick a backend is: what each finished attempt says about it, for streams and for plain answers apart.

A stream is as quick as its first token. A plain answer has none, and its whole time says more about the length of
the answer than about the backend, so it counts by the token; and because what precedes the first token takes as long
as some tens of the others, so many are added, or a short answer would make a quick backend look slow.
"""

from __future__ import annotations

from showcaller.actors.policies.peak_ewma import PeakEwma
from showcaller.actors.policies.quickest_answer import QuickestAnswer

FIRST_TOKENS = 32
"""So many tokens could have been written in the time that passes before the first."""
PENALTY = 5.0
"""Seconds to the first token that a failure counts as, at the least: who fails at once is not quick."""


class BackendLatency:
    """The two estimates of one backend, in seconds; they are never compared with each other."""

    def __init__(self) -> None:
        self._first_token = PeakEwma()
        self._per_token = PeakEwma()
        self._quickest = QuickestAnswer()

    def of(self, *, stream: bool, now: float) -> float | None:
        """Seconds to the first token of a stream, or for a token of a plain answer; None when nothing is known."""
        return (self._first_token if stream else self._per_token).read(now)

    def least(self, now: float) -> float | None:
        """Seconds that an answer of one token takes at least; None when too little is known."""
        return self._quickest.least(now)

    def began(self, first_token: float, now: float) -> None:
        """The first token of a stream came after so many seconds."""
        self._quickest.observe(first_token, now)
        self._first_token.observe(first_token, now)

    def answered(self, latency: float, tokens: int, now: float) -> None:
        """A plain answer of so many tokens came after so many seconds."""
        per_token = latency / (FIRST_TOKENS + tokens)
        self._quickest.observe(per_token * (FIRST_TOKENS + 1), now)
        self._per_token.observe(per_token, now)

    def gave_up(self, waited: float, now: float, *, stream: bool) -> None:
        """The caller's deadline came after so many seconds without an answer."""
        if stream:
            self._first_token.at_least(waited, now)
        else:
            self._per_token.at_least(waited / FIRST_TOKENS, now)

    def failed(self, waited: float, now: float) -> None:
        """The backend failed after so many seconds: bad for both, and never a reason to think better of it."""
        seconds = max(waited, PENALTY)
        for estimate, value in ((self._first_token, seconds), (self._per_token, seconds / FIRST_TOKENS)):
            known = estimate.read(now)
            estimate.observe(value if known is None else max(value, known), now)
