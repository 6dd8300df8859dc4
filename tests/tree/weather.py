"""A transport whose attempts go as the dice fall, for random runs of the tree."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator

from showcaller.actors.errors import (
    AuthenticationError,
    BackendError,
    BackendRetiredError,
    BackendUnreachableError,
    ContextWindowExceededError,
    RateLimitError,
    RequestCancelledError,
    ServerError,
)
from showcaller.actors.transport import Attempt, Chunk, Done, Failed, Pause, Sent, TransportEvent
from tests.tree.stage import Script, answer

SHORT = [0.0, 0.01, 0.1, 0.5, 2.0]


class Weather(Script):
    """A transport whose every attempt goes as the dice fall, and which keeps what was carried out."""

    def __init__(self, dice: random.Random, carried_out: Counter[tuple[str, int]]) -> None:
        super().__init__([])
        self.dice = dice
        self.carried_out = carried_out

    def attempt(self, attempt: Attempt) -> Iterator[TransportEvent]:
        self.attempts.append(attempt)
        for event in self._play(attempt):
            if attempt.cancel.cancelled:
                # Sent or not is what settles it; a cancelled attempt is charged as if it was carried out.
                yield Failed(RequestCancelledError("cancelled", maybe_executed=True))
                return
            if isinstance(event, Done) or (isinstance(event, Failed) and event.error.maybe_executed):
                self.carried_out[attempt.request_id, attempt.number] += 1
            yield event

    def _play(self, attempt: Attempt) -> Iterator[TransportEvent]:
        dice = self.dice
        if dice.random() < 0.1:
            yield Pause(dice.choice(SHORT))
            yield Failed(BackendUnreachableError("no connection", backend=attempt.backend))
            return
        yield Sent()
        yield Pause(dice.choice(SHORT))
        if dice.random() < 0.05:
            yield Pause(1e6)
        if dice.random() < 0.35:
            yield Failed(self._error(attempt.backend))
            return
        if attempt.stream:
            for number in range(dice.randrange(4)):
                yield Chunk(f"{attempt.request_id}/{attempt.number}:{number} ")
                yield Pause(dice.choice(SHORT))
                if dice.random() < 0.1:
                    yield Failed(self._error(attempt.backend))
                    return
        yield answer(f"{attempt.request_id}/{attempt.number}")

    def _error(self, name: str) -> BackendError:
        dice = self.dice
        kind = dice.choice(
            [ServerError] * 6 + [RateLimitError] * 3 + [AuthenticationError, ContextWindowExceededError]
        )
        if dice.random() < 0.01:
            kind = BackendRetiredError
        retry_after = dice.choice([None, 0.5, 3.0, 40.0]) if kind is RateLimitError else None
        return kind(kind.__name__, backend=name, retry_after=retry_after, maybe_executed=dice.random() < 0.5)
