"""One call at a simulated backend: it waits in virtual time, keeps its deadlines, and can be cut off.

Its errors are those of the HTTP transport for the same events, word for word where there is no host to name.
"""

from __future__ import annotations

import json
import math
import random
from collections.abc import Callable, Iterator
from functools import cached_property
from typing import Any

from showcaller.actors.errors import (
    BackendUnreachableError,
    MalformedResponseError,
    RequestCancelledError,
    ShowcallerError,
)
from showcaller.actors.kernel.clock import Clock
from showcaller.actors.models import Usage
from showcaller.actors.transport import Attempt, Chunk, Done, Pause, Sent, TransportEvent
from showcaller.runtime.testing.behaviour import Behaviour
from showcaller.runtime.transports.http_waits import BEGIN, CONNECT, IDLE, TOTAL, Waits
from showcaller.runtime.wire.chat import Reading

BYTES_PER_TOKEN = 4
FOR_EVER = math.inf


class Call:
    """One attempt while it is carried out; whatever ends it is raised as a ShowcallerError.

    Args:
        attempt: what the runtime wants.
        model: what the backend is called.
        behaviour: how long things take, with everything that slows them at this moment.
        clock: time. rng: draws durations and lengths.

    Attributes:
        sent: may it have been executed?
        began_answer: when the first token came, in seconds of the clock.
        received: bytes of the answer that have arrived.
        cut: why it cannot go on, or None.
        wake: lets it notice at once that it was cut; None where nothing can.
    """

    def __init__(
        self, attempt: Attempt, model: str, behaviour: Behaviour, clock: Clock, rng: random.Random
    ) -> None:
        self.attempt = attempt
        self.model = model
        self.behaviour = behaviour
        self.clock = clock
        self.rng = rng
        self.sent = False
        self.began_answer: float | None = None
        self.received = 0
        self.cut: ShowcallerError | None = None
        self.wake: Callable[[], None] | None = None
        self._waits = Waits(attempt, clock.now)

    # --- what is asked ---

    @cached_property
    def payload(self) -> dict[str, Any]:
        """What is asked."""
        read: dict[str, Any] = json.loads(self.attempt.payload)
        return read

    @property
    def input_tokens(self) -> int:
        """How long the prompt is."""
        return max(1, len(self.attempt.payload) // BYTES_PER_TOKEN)

    @cached_property
    def _wanted(self) -> int:
        return self.rng.randint(*self.behaviour.answer_tokens)

    @cached_property
    def tokens(self) -> int:
        """How long the answer is to be."""
        most = self.payload.get("max_tokens") or self.payload.get("max_completion_tokens")
        return min(self._wanted, most) if isinstance(most, int) else self._wanted

    # --- time ---

    def refuse(self) -> None:
        """Raise when the call cannot go on.

        Raises:
            ShowcallerError: it was cancelled, cut off, or its deadline has passed.
        """
        if self.attempt.cancel.cancelled:
            raise RequestCancelledError(
                f"the attempt at backend {self.attempt.backend!r} was cancelled",
                backend=self.attempt.backend,
                maybe_executed=self.sent,
            )
        if self.cut is not None:
            raise self.cut.copy()
        if self.clock.now() >= self.attempt.deadline:
            self._waits.left(TOTAL)

    def wait(self, seconds: float, what: str) -> Iterator[TransportEvent]:
        """Let so many seconds pass, at most as many as the attempt allows for `what`.

        Args:
            seconds: FOR_EVER: until the timeout.
            what: CONNECT, BEGIN or IDLE, which names the timeout.

        Raises:
            BackendTimeoutError: it took longer than it may.
            ShowcallerError: the call cannot go on.
        """
        self.refuse()
        now = self.clock.now()
        due, limit = now + seconds, now + self._waits.left(what)
        while now < due:
            if now >= limit:
                raise self._waits.timed_out(sent=self.sent)
            yield Pause(min(due, limit) - now)
            self.refuse()
            now = self.clock.now()

    # --- the parts of an answer ---

    def connect(self) -> Iterator[TransportEvent]:
        """Connect, and send the request."""
        yield from self.wait(self.behaviour.connect.draw(self.rng), CONNECT)
        self.sent = True
        self._waits.first_token_from_now()
        yield Sent()

    def think(self) -> Iterator[TransportEvent]:
        """Wait for the first token."""
        yield from self.wait(self.behaviour.first_token.draw(self.rng), BEGIN)

    def answer(self, chunks: int | None = None) -> Iterator[TransportEvent]:
        """Say everything; of a stream the first `chunks` chunks, and what is plain not to its end, when given.

        A plain answer comes in one piece, so that all of it must be there before the first token is overdue.
        """
        interval = self.behaviour.token_interval.draw(self.rng)
        self.began_answer = self.clock.now()
        if not self.attempt.stream:
            said = self.tokens if chunks is None else self.tokens // 2
            yield from self.wait(interval * said, BEGIN)
            self.received = said * BYTES_PER_TOKEN
            return
        each = max(1, -(-self.tokens // self.behaviour.most_chunks))
        for number, first in enumerate(range(0, self.tokens, each)):
            if number == chunks:
                return
            last = min(first + each, self.tokens)
            text = self.text(first, last)
            self.received += len(text)
            yield Chunk(text, {"content": text})
            yield from self.wait(interval * (last - first), IDLE)

    def text(self, first: int, last: int) -> str:
        """Tokens of the answer: each names the attempt and its own place, so that none can be taken for another."""
        head = f"{self.attempt.request_id}.{self.attempt.number}"
        return "".join(f"{head}.{number} " for number in range(first, last))

    def done(self) -> Done:
        """The whole answer."""
        return Done(
            message={"role": "assistant", "content": self.text(0, self.tokens)},
            finish_reason="stop" if self.tokens == self._wanted else "length",
            usage=Usage(input_tokens=self.input_tokens, output_tokens=self.tokens),
            model=self.model,
        )

    # --- its errors ---

    @property
    def reading(self) -> Reading:
        """What the wire's code needs to read an answer to it."""
        return Reading(
            backend=self.attempt.backend,
            model=self.model,
            payload_bytes=len(self.attempt.payload),
            now=self.clock.wall(),
        )

    def unreachable(self, why: str) -> BackendUnreachableError:
        """The error of a backend that there is no connection to."""
        return BackendUnreachableError(
            f"backend {self.attempt.backend!r} cannot be reached: {why}. "
            "Fix: check its base_url and that the server is up.",
            backend=self.attempt.backend,
            maybe_executed=self.sent,
        )

    def broken(self, why: str) -> MalformedResponseError:
        """The error of an answer that the connection did not live to see the end of."""
        did = "closed the connection without an answer"
        if self.received:
            did = f"broke off its answer after {self.received} bytes"
        return MalformedResponseError(
            f"backend {self.attempt.backend!r} {did}: {why}. Fix: try again; if it stays, check its base_url.",
            backend=self.attempt.backend,
            maybe_executed=self.sent,
        )
