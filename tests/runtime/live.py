"""A Runtime on real threads whose transports are scripts, and what every such test waits and checks with."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from showcaller.actors.backend_config import BackendConfig
from showcaller.actors.configuration import RuntimeConfig
from showcaller.actors.errors import RequestCancelledError
from showcaller.actors.models import Errored, Usage
from showcaller.actors.route_config import RouteConfig
from showcaller.actors.settings import RuntimeSettings
from showcaller.actors.transport import Attempt, Chunk, Done, Failed, Sent, TransportEvent
from showcaller.runtime.runtime import Runtime

PATIENCE = 20.0
"""Seconds after which a wait in a test has failed; no test should come near it."""

Play = Callable[[Attempt], Iterator[TransportEvent]]


def answer(text: str = "hi") -> Done:
    """A whole answer."""
    return Done(
        message={"role": "assistant", "content": text},
        finish_reason="stop",
        usage=Usage(input_tokens=3, output_tokens=2),
        model="m",
    )


class Peer:
    """A transport that plays one script for every attempt, on the seat's own thread.

    Attributes:
        attempts: those that were made, in order.
        arrived: released once for each attempt.
        most: the most attempts that were under way at once.
        closed: set when it was closed.
    """

    def __init__(self, play: Play) -> None:
        self.play = play
        self.attempts: list[Attempt] = []
        self.arrived = threading.Semaphore(0)
        self.closed = threading.Event()
        self.most = 0
        self._now = 0
        self._lock = threading.Lock()

    def attempt(self, attempt: Attempt) -> Iterator[TransportEvent]:
        with self._lock:
            self.attempts.append(attempt)
            self._now += 1
            self.most = max(self.most, self._now)
        self.arrived.release()
        try:
            yield from self.play(attempt)
        finally:
            with self._lock:
                self._now -= 1

    def close(self) -> None:
        self.closed.set()


def ready(attempt: Attempt) -> Iterator[TransportEvent]:
    """Answers at once; a stream in three chunks."""
    yield Sent()
    if attempt.stream:
        for text in ("a", "b", "c"):
            yield Chunk(text)
    yield answer("abc" if attempt.stream else "hi")


class Gate:
    """Holds back what comes to it until it is opened; `waiting` gives in to a cancel, `stubborn` does not.

    Attributes:
        cancelled: set once an attempt has noticed that it was cancelled.
    """

    def __init__(self) -> None:
        self.cancelled = threading.Event()
        self._open = threading.Event()
        self._lock = threading.Lock()
        self._held: list[threading.Event] = []

    def open(self) -> None:
        """Let everything through, from now on."""
        with self._lock:
            self._open.set()
            held, self._held = self._held, []
        for one in held:
            one.set()

    def waiting(self, attempt: Attempt) -> Iterator[TransportEvent]:
        """The answer when the gate is open, or the end when it was cancelled."""
        yield Sent()
        passed = threading.Event()
        with self._lock:
            if not self._open.is_set():
                self._held.append(passed)
                attempt.cancel.on_cancel(passed.set)
                if attempt.cancel.cancelled:
                    passed.set()
            else:
                passed.set()
        assert passed.wait(PATIENCE), "the gate was never opened"
        if attempt.cancel.cancelled:
            self.cancelled.set()
            yield Failed(RequestCancelledError("cancelled"))
        else:
            yield answer()

    def after_one_chunk(self, attempt: Attempt) -> Iterator[TransportEvent]:
        """A stream that waits after its first chunk."""
        yield Sent()
        yield Chunk("a")
        yield from self.waiting(attempt)

    def stubborn(self, attempt: Attempt) -> Iterator[TransportEvent]:
        """As a call into foreign code that nothing can wake."""
        yield Sent()
        assert self._open.wait(PATIENCE), "the gate was never opened"
        yield answer()


def config_of(
    names: list[str],
    *,
    strategy: str = "failover",
    settings: Mapping[str, Any] | None = None,
    route: Mapping[str, Any] | None = None,
    **options: Any,
) -> RuntimeConfig:
    """Backends with those names, all of them targets of the route `fast`."""
    return RuntimeConfig(
        runtime=RuntimeSettings(model="fast", **(settings or {})),
        backends=[backend_of(name, **options) for name in names],
        routes=[RouteConfig(name="fast", routing_strategy=strategy, targets=names, **(route or {}))],
    )


def backend_of(name: str, **options: Any) -> BackendConfig:
    """A backend whose own transport is never used."""
    options.setdefault("model", f"model-of-{name}")
    return BackendConfig(name=name, backend_type="openai", base_url="http://127.0.0.1:9/v1", **options)


def our_threads() -> set[threading.Thread]:
    """The threads that Showcaller has started and that have not ended."""
    return {thread for thread in threading.enumerate() if thread.name.startswith("showcaller")}


@contextlib.contextmanager
def running(peers: Mapping[str, Any], **options: Any) -> Iterator[Runtime]:
    """A runtime over those transports; in the end every request has had one outcome, and nothing is left."""
    before = our_threads()
    runtime = Runtime.start(config_of(list(peers), **options), transports=peers)
    try:
        yield runtime
    finally:
        runtime.stop(0.0)
    account = runtime.status().account
    assert account.open == 0
    assert account.accepted == account.answered + account.failed
    left = our_threads() - before
    assert not left, left


def error_of(pending: Any) -> Exception:
    """What it failed of."""
    assert isinstance(pending.outcome, Errored)
    return pending.outcome.error


class Outcomes:
    """Takes outcomes by `tell(on_outcome=...)`; each wait is bounded."""

    def __init__(self) -> None:
        self.seen: list[Any] = []
        self.threads: list[str] = []
        self._came = threading.Semaphore(0)

    def __call__(self, outcome: Any) -> None:
        self.seen.append(outcome)
        self.threads.append(threading.current_thread().name)
        self._came.release()

    def wait(self, number: int = 1) -> list[Any]:
        """All of them, once so many more have come."""
        for _ in range(number):
            assert self._came.acquire(timeout=PATIENCE), "an outcome never came"
        return self.seen
