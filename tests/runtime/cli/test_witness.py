"""The transport that sees attempts come and go."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from showcaller.actors.backend_config import Timeouts
from showcaller.actors.cancel import CancelScope
from showcaller.actors.errors import BackendTimeoutError, RequestCancelledError, ServerError
from showcaller.actors.models import Usage
from showcaller.actors.transport import Attempt, Done, Failed, Sent, TransportEvent
from showcaller.runtime.cli.witness import Witness

DONE = Done(message={"role": "assistant", "content": "x"}, finish_reason="stop", usage=Usage(), model="m")


class Scripted:
    """A transport that says what it is told."""

    def __init__(self, *events: TransportEvent) -> None:
        self.events = events
        self.closed = 0
        self.left_early = 0

    def attempt(self, attempt: Attempt) -> Iterator[TransportEvent]:
        try:
            yield from self.events
        except GeneratorExit:
            self.left_early += 1
            raise

    def close(self) -> None:
        self.closed += 1


def attempt(seconds: float = 60.0, scope: CancelScope | None = None) -> Attempt:
    """An attempt that must end in so many seconds."""
    return Attempt(
        request_id="r1",
        number=1,
        backend="a",
        payload=b"{}",
        stream=False,
        deadline=time.monotonic() + seconds,
        timeout=Timeouts(),
        cancel=scope or CancelScope(),
    )


def test_an_answer_is_passed_on_and_counted() -> None:
    """It changes nothing of what it sees."""
    witness = Witness(Scripted(Sent(), DONE))
    assert [type(event) for event in witness.attempt(attempt())] == [Sent, Done]
    assert (witness.attempts, witness.answers, witness.in_flight, witness.failed_seconds) == (1, 1, 0, 0.0)


def test_a_failure_costs_time_and_is_no_answer() -> None:
    """What a backend that is down costs is its sum."""
    witness = Witness(Scripted(Failed(ServerError("no"))))
    list(witness.attempt(attempt()))
    assert (witness.answers, witness.in_flight) == (0, 0)
    assert witness.failed_seconds > 0


def test_leaving_early_reaches_the_transport() -> None:
    """Or a cancel would free no connection."""
    inner = Scripted(Sent(), DONE)
    witness = Witness(inner)
    events = witness.attempt(attempt())
    next(iter(events))
    assert witness.in_flight == 1
    events.close()  # type: ignore[attr-defined]
    assert (inner.left_early, witness.in_flight) == (1, 0)


def test_what_was_under_way_when_it_fell_silent_never_comes_back() -> None:
    """It ends when it is not wanted any more."""
    scope = CancelScope()
    witness = Witness(Scripted(Sent(), DONE))
    events = iter(witness.attempt(attempt(scope=scope)))
    next(events)
    assert witness.fall_silent() == {("r1", 1)}
    threading.Timer(0.05, scope.cancel).start()
    last = next(events)
    assert isinstance(last, Failed)
    assert isinstance(last.error, RequestCancelledError)
    assert witness.answers == 0


def test_a_silenced_attempt_ends_at_its_deadline() -> None:
    """Every attempt keeps its deadline."""
    witness = Witness(Scripted(Sent(), DONE))
    events = iter(witness.attempt(attempt(0.05)))
    next(events)
    witness.fall_silent()
    last = next(events)
    assert isinstance(last, Failed)
    assert isinstance(last.error, BackendTimeoutError)


def test_what_begins_after_the_silence_is_heard() -> None:
    """The next incarnation works."""
    witness = Witness(Scripted(Sent(), DONE))
    witness.fall_silent()
    list(witness.attempt(attempt()))
    assert witness.answers == 1


def test_closing_closes_the_other() -> None:
    """It owns nothing itself."""
    inner = Scripted()
    Witness(inner).close()
    assert inner.closed == 1
    with pytest.raises(StopIteration):
        next(iter(Witness(inner).attempt(attempt())))
