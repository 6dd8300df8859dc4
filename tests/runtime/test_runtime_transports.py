"""Transports that do not keep their word: each request has one outcome all the same, and each seat is free again."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from showcaller.actors.errors import ServerError, ShowcallerError
from showcaller.actors.transport import Attempt, Chunk, Failed, Sent, TransportEvent
from tests.runtime.live import PATIENCE, Gate, Peer, answer, ready, running


def goes_on_after_done(_attempt: Attempt) -> Iterator[TransportEvent]:
    yield answer("first")
    yield answer("second")
    yield Failed(ServerError("third"))


def fails_after_done(_attempt: Attempt) -> Iterator[TransportEvent]:
    yield answer("first")
    raise RuntimeError("after the end")


def goes_on_after_failed(_attempt: Attempt) -> Iterator[TransportEvent]:
    yield Failed(ServerError("first"))
    yield answer("second")


def says_nothing(_attempt: Attempt) -> Iterator[TransportEvent]:
    yield from ()


def only_sends(_attempt: Attempt) -> Iterator[TransportEvent]:
    yield Sent()


def raises(_attempt: Attempt) -> Iterator[TransportEvent]:
    yield Sent()
    raise ValueError("a bug")


def exits(_attempt: Attempt) -> Iterator[TransportEvent]:
    yield Sent()
    raise SystemExit(3)


def interrupts(_attempt: Attempt) -> Iterator[TransportEvent]:
    yield Sent()
    raise KeyboardInterrupt


def raises_in_close(_attempt: Attempt) -> Iterator[TransportEvent]:
    try:
        yield answer("first")
    finally:
        raise ValueError("in close")


def exits_in_close(_attempt: Attempt) -> Iterator[TransportEvent]:
    try:
        yield Failed(ServerError("first"))
    finally:
        raise SystemExit(3)


def ignores_its_close(_attempt: Attempt) -> Iterator[TransportEvent]:
    try:
        yield answer("first")
    except GeneratorExit:
        yield answer("second")


def chunks_unasked(_attempt: Attempt) -> Iterator[TransportEvent]:
    yield Chunk("unasked")
    yield answer("first")


def talks_nonsense(_attempt: Attempt) -> Iterator[Any]:
    yield "not an event"
    yield None
    yield answer("first")


def sends_a_broken_answer(_attempt: Attempt) -> Iterator[Any]:
    yield answer(None)  # type: ignore[arg-type]


class RaisesAtOnce(Peer):
    def attempt(self, attempt: Attempt) -> Iterator[TransportEvent]:
        self.attempts.append(attempt)
        raise OSError("no iterator at all")


class ReturnsNothing(Peer):
    def attempt(self, attempt: Attempt) -> Iterator[TransportEvent]:
        self.attempts.append(attempt)
        return None  # type: ignore[return-value]


@pytest.mark.parametrize(
    "play",
    [
        goes_on_after_done,
        fails_after_done,
        raises_in_close,
        ignores_its_close,
        chunks_unasked,
        talks_nonsense,
    ],
)
def test_an_answer_counts_whatever_its_transport_does_besides(play: Any) -> None:
    """Once; and its seat is free for the next."""
    with running({"a": Peer(play)}, max_parallel_requests=1) as runtime:
        for _ in range(4):
            assert runtime.ask("q", timeout=PATIENCE).content == "first"
        # The backend is not blamed for what came after its answer so far that it gets nothing more.
        assert runtime.status().account.answered == 4
        assert runtime.status().backends[0].hanging == 0


@pytest.mark.parametrize(
    "bad",
    [
        Peer(goes_on_after_failed),
        Peer(says_nothing),
        Peer(only_sends),
        Peer(raises),
        Peer(exits),
        Peer(interrupts),
        Peer(exits_in_close),
        RaisesAtOnce(ready),
        ReturnsNothing(ready),
    ],
    ids=lambda peer: getattr(peer.play, "__name__", "") if type(peer) is Peer else type(peer).__name__,
)
def test_a_transport_that_breaks_its_word_fails_over(bad: Peer) -> None:
    """To one that keeps it, at once; its seat is free and it is blamed."""
    patient = {"allowed_fails": 1000}
    peers = {"a": bad, "b": Peer(ready)}
    with running(
        peers, max_parallel_requests=1, max_retries=0, route=patient, settings={"num_retries": 1}
    ) as runtime:
        for _ in range(3):
            response = runtime.ask("q", timeout=PATIENCE)
            assert (response.content, response.backend, response.attempts) == ("hi", "b", 2)
        with pytest.raises(ShowcallerError):
            runtime.ask("q", model="a", timeout=PATIENCE, idempotent=False)
        status = runtime.status().backends[0]
        assert (status.in_flight, status.hanging) == (0, 0)
    assert len(bad.attempts) == 4


def test_an_answer_that_is_no_answer_is_no_crash() -> None:
    """A content of None is an empty text."""
    with running({"a": Peer(sends_a_broken_answer)}) as runtime:
        assert runtime.ask("q", timeout=PATIENCE).content == ""


def test_hanging_attempts_are_given_up_and_their_backend_is_left_alone() -> None:
    """The seats hang past every deadline; the requests do not, and come to another backend."""
    gate = Gate()
    hung = Peer(gate.stubborn)
    with running({"a": hung, "b": Peer(ready)}, max_parallel_requests=2, timeout=0.05) as runtime:
        try:
            pendings = [runtime.submit("q", timeout=PATIENCE) for _ in range(4)]
            assert {pending.result(PATIENCE).backend for pending in pendings} == {"b"}
            assert runtime.status().backends[0].hanging == 2
            assert runtime.ask("q", timeout=PATIENCE).backend == "b"
        finally:
            gate.open()
    assert len(hung.attempts) == 2
