"""Attempts answered by a model inside this process.

llama.cpp can only be stopped where it calls back, so every attempt streams underneath, also one that wants
no chunks.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import queue
import threading
import time
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Final

from attrs import evolve

from showcaller.actors.errors import (
    BackendCrashedError,
    BackendError,
    BackendTimeoutError,
    BackendUnreachableError,
    ConfigurationError,
    InvalidRequestError,
    RequestCancelledError,
    ServerError,
    ShowcallerError,
)
from showcaller.actors.transport import Attempt, Chunk, Done, Failed, Sent, TransportEvent
from showcaller.runtime.transports.embedded_model import (
    MISSING_PACKAGE,
    EmbeddedModel,
    Generation,
    ModelParameters,
    Signal,
    default_threads,
)
from showcaller.runtime.transports.model_store import require_gguf
from showcaller.runtime.wire.chat import Reading, RequestBody
from showcaller.runtime.wire.chat_stream import StreamAccumulator
from showcaller.runtime.wire.excerpt import excerpt
from showcaller.runtime.wire.failures import failure
from showcaller.runtime.wire.sse import SseEvent

_LONGEST_WAIT: Final = 3600.0
_ERROR: Final = b'{"error"'


class EmbeddedTransport:
    """Carries out attempts on an embedded model. Transports with equal parameters share one loaded model.

    The model is loaded with the first attempt. At most `n_parallel` attempts are answered at once, over all
    the transports that share the model; others wait for a slot until their deadline.

    Args:
        model_path: the GGUF file, as `ensure_model` gives it.
        model: the name that answers carry.
        n_ctx: tokens of context, for all slots together.
        n_parallel: answers made at once.
        n_threads: threads that compute; None is one less than there are processors.
        clock: seconds, the clock of `Attempt.deadline`.

    Raises:
        ModelUnavailableError: the file is not there or not a whole GGUF.
        ConfigurationError: the package xllamacpp is missing, or a number is less than 1.
    """

    def __init__(
        self,
        *,
        model_path: Path,
        model: str = "smollm2",
        n_ctx: int = 4096,
        n_parallel: int = 2,
        n_threads: int | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        threads = default_threads() if n_threads is None else n_threads
        for name, value in {"n_ctx": n_ctx, "n_parallel": n_parallel, "n_threads": threads}.items():
            if type(value) is not int or value < 1:
                raise ConfigurationError(
                    f"{name} of an embedded model is {value!r}: use a whole number, 1 or more"
                )
        if importlib.util.find_spec("xllamacpp") is None:
            raise ConfigurationError(MISSING_PACKAGE)
        require_gguf(model_path)
        self._model_name = model
        self._clock = clock
        head = {
            "model": model,
            "stream": True,
            "stream_options": {"include_usage": True},
            "return_progress": True,
        }
        beginning = json.dumps(head, separators=(",", ":")).encode()[:-1]
        self._body = RequestBody(plain=beginning, streamed=beginning)
        self._lock = threading.Lock()
        self._open: set[Generation] = set()
        self._closed = False
        self._model = EmbeddedModel.shared(
            ModelParameters(path=model_path.resolve(), n_ctx=n_ctx, n_parallel=n_parallel, n_threads=threads)
        )

    def attempt(self, attempt: Attempt) -> Iterator[TransportEvent]:
        """Carry out one attempt; see Transport."""
        last: Done | Failed
        generation: Generation | None = None
        wait = _Waiting(attempt, self._clock)
        try:
            generation = self._begin(attempt, wait)
            last = yield from self._follow(attempt, generation, wait)
        except ShowcallerError as error:
            error.backend = attempt.backend
            last = Failed(error)
        finally:
            if generation is not None:
                self._end(attempt, generation)
        yield last

    def close(self) -> None:
        """Fail what is in flight and have one user less of the model; safe to call twice."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            generations = list(self._open)
        for generation in generations:
            generation.stop()
            generation.wake()
        self._model.release()

    def _begin(self, attempt: Attempt, wait: _Waiting) -> Generation:
        if attempt.cancel.cancelled:
            raise _cancelled(attempt, wait)
        wait.seconds_left()
        body = self._body.assemble(attempt.payload, stream=True)
        with self._lock:
            if self._closed:
                raise BackendUnreachableError(f"backend {attempt.backend!r} is closed")
            generation = self._model.generate(body)
            self._open.add(generation)
        attempt.cancel.on_cancel(generation.wake)
        return generation

    def _end(self, attempt: Attempt, generation: Generation) -> None:
        generation.stop()
        attempt.cancel.forget(generation.wake)
        with self._lock:
            self._open.discard(generation)

    def _follow(
        self, attempt: Attempt, generation: Generation, wait: _Waiting
    ) -> Generator[TransportEvent, None, Done]:
        reading = Reading(
            backend=attempt.backend, model=self._model_name, payload_bytes=len(attempt.payload), now=0.0
        )
        answer = StreamAccumulator(reading)
        while True:
            event = self._next(attempt, generation, wait)
            if event is Signal.STARTED:
                yield Sent()
                wait.for_first_token()
            elif event is Signal.ENDED:
                return evolve(answer.finish(), model=self._model_name)
            elif isinstance(event, Exception):
                raise _translated(event, attempt.backend)
            elif isinstance(event, bytes):
                chunk = _read(event, answer, attempt.backend)
                if chunk is not None:
                    if attempt.stream:
                        yield chunk
                    wait.for_next_token()

    def _next(self, attempt: Attempt, generation: Generation, wait: _Waiting) -> bytes | Signal | Exception:
        """The next event; raises when the attempt is over for another reason."""
        while True:
            event: bytes | Signal | Exception | None = None
            if not (attempt.cancel.cancelled or self._closed):
                with contextlib.suppress(queue.Empty):
                    event = generation.events.get(timeout=wait.seconds_left())
            if attempt.cancel.cancelled:
                raise _cancelled(attempt, wait)
            if self._closed:
                raise BackendCrashedError(
                    f"backend {attempt.backend!r} was closed while it answered", maybe_executed=wait.started
                )
            if event is not None:
                return event


class _Waiting:
    """Which of the attempt's timeouts runs now, and what its passing means."""

    def __init__(self, attempt: Attempt, clock: Callable[[], float]) -> None:
        self._attempt = attempt
        self._clock = clock
        self._until = attempt.deadline
        self._passing = "had no free slot"
        self.started = False

    def for_first_token(self) -> None:
        self.started = True
        self._run(self._attempt.timeout.first_token, "first_token", "did not begin its answer")

    def for_next_token(self) -> None:
        self._run(self._attempt.timeout.idle, "idle", "did not go on with its answer")

    def _run(self, seconds: float, name: str, failure: str) -> None:
        until = self._clock() + seconds
        if until < self._attempt.deadline:
            self._until, self._passing = until, f"{failure} within {seconds:g} s (timeout.{name})"
        else:
            self._until, self._passing = self._attempt.deadline, "did not finish in time"

    def seconds_left(self) -> float:
        """Seconds to wait at most; raises BackendTimeoutError when there are none."""
        left = self._until - self._clock()
        if left > 0:
            return min(left, _LONGEST_WAIT)
        reason = self._passing
        if self._until >= self._attempt.deadline:
            reason += f" (timeout.total is {self._attempt.timeout.total:g} s)"
        raise BackendTimeoutError(
            f"backend {self._attempt.backend!r} {reason}. "
            "Fix: raise the timeout, shorten the prompt, or lower max_tokens.",
            maybe_executed=self.started,
        )


def _cancelled(attempt: Attempt, wait: _Waiting) -> RequestCancelledError:
    return RequestCancelledError(
        f"the request was cancelled at backend {attempt.backend!r}", maybe_executed=wait.started
    )


def _read(piece: bytes, answer: StreamAccumulator, backend: str) -> Chunk | None:
    if piece.startswith(_ERROR):
        code = json.loads(piece)["error"].get("code")
        raise failure(code if isinstance(code, int) else 500, {}, piece, backend=backend, now=0.0)
    return answer.feed(SseEvent(piece.decode("utf-8", "replace")))


def _translated(error: Exception, backend: str) -> ShowcallerError:
    """What a raise of llama.cpp means: a ValueError is about the request, anything else about the model."""
    if isinstance(error, ShowcallerError):
        return error
    kind: type[BackendError] = InvalidRequestError if isinstance(error, ValueError) else ServerError
    translated = kind(f'backend {backend!r} refused the request; it said: "{excerpt(str(error))}"')
    translated.__cause__ = error
    return translated
