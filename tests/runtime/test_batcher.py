"""`runtime.batcher()` on real threads: each request has an outcome of its own, whatever becomes of its batch."""

from __future__ import annotations

import concurrent.futures
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from showcaller.actors.errors import (
    ConfigurationError,
    InvalidRequestError,
    RuntimeStoppedError,
    UnknownModelError,
)
from showcaller.actors.models import ChatRequest, RequestContext
from showcaller.actors.transport import Attempt, Failed, Sent, TransportEvent
from showcaller.runtime.runtime import Runtime
from tests.runtime.live import PATIENCE, Gate, Peer, answer, error_of, our_threads, ready, running


def picky(attempt: Attempt) -> Iterator[TransportEvent]:
    """Refuses what is bad, and says what it was asked otherwise."""
    yield Sent()
    if b"bad" in attempt.payload:
        yield Failed(InvalidRequestError("no", backend="a"))
    else:
        yield answer(attempt.payload.decode())


def test_each_item_has_an_outcome_of_its_own() -> None:
    """One that fails fails no other, and the last batch leaves with the block although it is not full."""
    with running({"a": Peer(picky)}) as runtime:
        with runtime.batcher(max_size=2, max_wait=60.0) as batcher:
            pending = [batcher.add(f"say {word}") for word in ("one", "bad", "two", "three", "four")]
        outcomes = [one.outcome for one in pending]
        assert [outcome is not None and outcome.ok for outcome in outcomes] == [True, False, True, True, True]
        assert isinstance(error_of(pending[1]), InvalidRequestError)
        assert "say three" in pending[3].result().content
        assert [outcome.request_id for outcome in outcomes if outcome] == [one.request_id for one in pending]


def test_a_full_batch_leaves_and_the_next_waits() -> None:
    """By number, with nobody's help."""
    peer = Peer(ready)
    with running({"a": peer}) as runtime, runtime.batcher(max_size=3, max_wait=60.0) as batcher:
        pending = [batcher.add("x") for _ in range(4)]
        for one in pending[:3]:
            assert one.result(PATIENCE).content == "hi"
        assert batcher.pending_count == 1
        assert len(peer.attempts) == 3
        assert not pending[3].done()


def test_the_oldest_leaves_in_time_with_nobody_s_help() -> None:
    """By age."""
    with running({"a": Peer(ready)}) as runtime, runtime.batcher(max_size=50, max_wait=0.05) as batcher:
        assert batcher.add("x").result(PATIENCE).content == "hi"


def test_no_more_than_max_concurrency_are_under_way() -> None:
    """Also over several batches; a quick backend does not nest the sending either."""
    lock, unanswered, counts = threading.Lock(), set(), []

    def counted(attempt: Attempt) -> Iterator[TransportEvent]:
        with lock:
            unanswered.add(attempt.request_id)
            counts.append(len(unanswered))
        yield Sent()
        with lock:
            unanswered.discard(attempt.request_id)
        yield answer()

    with running({"a": Peer(counted)}) as runtime:
        with runtime.batcher(max_size=100, max_concurrency=3) as batcher:
            pending = [batcher.add("x") for _ in range(400)]
        assert all(one.result(0).content == "hi" for one in pending)
    assert len(counts) == 400
    assert max(counts) <= 3


def test_items_are_added_from_many_threads() -> None:
    """None is lost or doubled."""
    peer = Peer(picky)
    with running({"a": peer}) as runtime:
        with (
            runtime.batcher(max_size=7) as batcher,
            concurrent.futures.ThreadPoolExecutor(8) as pool,
        ):
            pending = list(pool.map(lambda n: batcher.add(f"<{n}>"), range(200)))
        assert all(f"<{n}>" in one.result(0).content for n, one in enumerate(pending))
        assert len(peer.attempts) == 200


def test_one_that_is_cancelled_before_its_batch_leaves_is_never_sent() -> None:
    """The others leave without it."""
    peer = Peer(ready)
    with running({"a": peer}) as runtime:
        with runtime.batcher(max_size=10, max_wait=60.0) as batcher:
            first, second = batcher.add("x"), batcher.add("y")
            assert first.cancel()
            assert first.cancelled()
            assert batcher.pending_count == 1
        assert second.result(0).content == "hi"
        assert len(peer.attempts) == 1


def test_one_that_is_under_way_is_cancelled_upstream() -> None:
    """By its own future or by its id."""
    gate = Gate()
    peer = Peer(gate.waiting)
    with running({"a": peer}) as runtime, runtime.batcher(max_size=2) as batcher:
        pending = [batcher.add("x"), batcher.add("y")]
        for _ in pending:
            assert peer.arrived.acquire(timeout=PATIENCE)
        assert pending[0].cancel()
        assert runtime.cancel(pending[1].request_id)
        assert all(one.cancelled() for one in pending)
        assert gate.cancelled.wait(PATIENCE)


def test_a_block_that_raises_gives_up_what_has_no_outcome() -> None:
    """What waits and what is under way; the error goes on."""
    gate = Gate()
    peer = Peer(gate.waiting)
    pending: list[Any] = []

    def interrupted(runtime: Runtime) -> None:
        with runtime.batcher(max_size=2) as batcher:
            pending.extend(batcher.add("x") for _ in range(3))
            assert peer.arrived.acquire(timeout=PATIENCE)
            raise KeyboardInterrupt

    with running({"a": peer}) as runtime:
        with pytest.raises(KeyboardInterrupt):
            interrupted(runtime)
        assert all(one.cancelled() for one in pending)
        assert gate.cancelled.wait(PATIENCE)


def test_a_stop_of_the_runtime_fails_what_waits() -> None:
    """At once, with what is said to everybody; and the batcher takes nothing more."""
    with running({"a": Peer(ready)}) as runtime:
        batcher = runtime.batcher(max_size=5, max_wait=60.0)
        pending = batcher.add("x")
        runtime.stop()
        assert isinstance(error_of(pending), RuntimeStoppedError)
        with pytest.raises(RuntimeStoppedError):
            batcher.add("y")
        batcher.close()
        with pytest.raises(RuntimeStoppedError):
            runtime.batcher().add("z")


def test_a_stop_wakes_who_waits_in_close() -> None:
    """What is under way fails too, when the stop says so."""
    gate = Gate()
    peer = Peer(gate.waiting)
    with running({"a": peer}) as runtime:
        batcher = runtime.batcher(max_size=2, max_concurrency=1)
        pending = [batcher.add("x") for _ in range(2)]
        assert peer.arrived.acquire(timeout=PATIENCE)
        closing = threading.Thread(target=batcher.close, daemon=True)
        closing.start()
        runtime.stop(0.0)
        closing.join(PATIENCE)
        assert not closing.is_alive()
        assert all(isinstance(error_of(one), RuntimeStoppedError) for one in pending)


def test_close_twice_is_as_once_and_then_nothing_is_taken() -> None:
    """Also after the block."""
    with running({"a": Peer(ready)}) as runtime:
        with runtime.batcher() as batcher:
            pending = batcher.add("x")
            batcher.close()
            assert pending.done()
            batcher.close()
        with pytest.raises(ConfigurationError, match="has been closed; make another"):
            batcher.add("y")


def test_a_flush_does_not_wait_for_more() -> None:
    """What is added after it waits again."""
    with running({"a": Peer(ready)}) as runtime, runtime.batcher(max_wait=60.0) as batcher:
        first = batcher.add("x")
        batcher.flush()
        assert first.result(PATIENCE).content == "hi"
        second = batcher.add("y")
        assert batcher.pending_count == 1
        assert not second.done()


def test_what_is_wrong_is_refused_when_it_is_added() -> None:
    """Not when its batch leaves."""
    with running({"a": Peer(ready)}) as runtime, runtime.batcher(temperature=0.5) as batcher:
        with pytest.raises(UnknownModelError):
            batcher.add("x", model="nothing has this name")
        with pytest.raises(ConfigurationError):
            batcher.add("x", timeout=-1)
        with pytest.raises(ConfigurationError, match="max_concurrency"):
            runtime.batcher(max_concurrency=0)
        assert batcher.pending_count == 0


def test_an_id_is_the_caller_s_or_made_of_it() -> None:
    """One context for all items gives each an id of its own; an item's own context is taken as it is."""
    with running({"a": Peer(ready)}) as runtime:
        with runtime.batcher(context=RequestContext(request_id="all")) as batcher:
            shared = [batcher.add("x"), batcher.add("y")]
            own = batcher.add("z", context=RequestContext(request_id="mine"))
            with pytest.raises(ConfigurationError, match="is open already"):
                batcher.add("z", context=RequestContext(request_id="mine"))
        with runtime.batcher() as batcher:
            asked = batcher.add(ChatRequest("x", context=RequestContext(request_id="asked")))
        assert [one.request_id for one in (*shared, own, asked)] == ["all-1", "all-2", "mine", "asked"]
        assert own.result(0).request_id == "mine"


def test_it_has_no_thread() -> None:
    """However many batches there are."""
    with running({"a": Peer(ready)}) as runtime:
        runtime.batcher().add("x").cancel()
        before = our_threads()
        batchers = [runtime.batcher(max_wait=60.0) for _ in range(20)]
        for batcher in batchers:
            batcher.add("x")
        assert our_threads() == before
