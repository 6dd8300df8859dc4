"""How quick a backend is: what its attempts say about it, for streams and for plain answers apart.

A stream is as quick as its first token. A plain answer has none, and its whole time says more about the length of
the answer than about the backend, so it counts by the token; and because what precedes the first token takes as long
as some tens of the others, so many are added, or a short answer would make a quick backend look slow.

An attempt that is under way counts too: no quicker than what it has been silent for can the backend be. A plain answer
is silent until it is whole, so that it is taken to be as long as the longest of late.
"""

from __future__ import annotations

from showcaller.actors.policies.peak_ewma import PeakEwma
from showcaller.actors.policies.quickest_answer import QuickestAnswer
from showcaller.actors.policies.silent_attempts import Silent, SilentAttempts

FIRST_TOKENS = 32
"""So many tokens could have been written in the time that passes before the first."""
PENALTY = 5.0
"""Seconds to the first token that a failure counts as, at the least: who fails at once is not quick."""
LENGTH_KEPT = 0.99
"""This part of the longest answer is remembered with each that is shorter: after 69 of them half of it."""


class BackendLatency:
    """The two estimates of one backend, in seconds; they are never compared with each other."""

    def __init__(self) -> None:
        self._first_token = PeakEwma()
        self._per_token = PeakEwma()
        self._longest = 0.0
        self._silent = {True: SilentAttempts(), False: SilentAttempts()}
        self._quickest = QuickestAnswer()

    def of(self, *, stream: bool, now: float) -> float | None:
        """Seconds to the first token of a stream, or for a token of a plain answer; None when nothing is known."""
        known = self.learnt(stream=stream, now=now)
        if known is None:
            return None
        return max(known, self.after_silence(self._silent[stream].longest(now), stream=stream))

    def learnt(self, *, stream: bool, now: float) -> float | None:
        """The same by what has ended alone."""
        return (self._first_token if stream else self._per_token).read(now)

    def after_silence(self, seconds: float, *, stream: bool) -> float:
        """What it must be at least, when an attempt has been silent for so long."""
        return seconds if stream else seconds / (FIRST_TOKENS + self._longest)

    def sent(self, attempt: Silent, now: float, *, stream: bool) -> None:
        """An attempt was given to the backend."""
        self._silent[stream].sent(attempt, now)

    def ended(self, attempt: Silent, *, stream: bool) -> None:
        """It is not waited for any more; what it says about the backend is told by the others."""
        self._silent[stream].ended(attempt)

    def may_take(self, seconds: float) -> bool:
        """Does the last answer alone show that `least` is no more than that, if it is known at all?"""
        return self._quickest.may_take(seconds)

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
        self._longest = max(float(tokens), LENGTH_KEPT * self._longest)

    def gave_up(self, waited: float, now: float, *, stream: bool) -> None:
        """The caller's deadline came after so many seconds without an answer."""
        if stream:
            self._first_token.at_least(waited, now)
        else:
            self._per_token.at_least(waited / FIRST_TOKENS, now)

    def cancelled(self, waited: float, now: float, *, stream: bool) -> None:
        """Nobody wanted it any more after so many seconds of silence; of a backend that is not known yet: nothing."""
        if self.learnt(stream=stream, now=now) is not None:
            estimate = self._first_token if stream else self._per_token
            estimate.at_least(self.after_silence(waited, stream=stream), now)

    def failed(self, waited: float, now: float) -> None:
        """The backend failed after so many seconds: bad for both, and never a reason to think better of it."""
        seconds = max(waited, PENALTY)
        for estimate, value in ((self._first_token, seconds), (self._per_token, seconds / FIRST_TOKENS)):
            known = estimate.read(now)
            estimate.observe(value if known is None else max(value, known), now)
