"""`runtime.batcher()`: each request has an outcome of its own, whatever becomes of its batch."""

from __future__ import annotations

import concurrent.futures
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from showcaller.actors.errors import (
    ConfigurationError,
    DeadlineExceededError,
    InvalidRequestError,
    OverloadedError,
    RuntimeStoppedError,
    UnknownModelError,
)
from showcaller.actors.models import ChatRequest, Errored, RequestContext
from showcaller.actors.transport import Attempt, Failed, Sent, TransportEvent
from showcaller.runtime.pending import Pending
from showcaller.runtime.runtime import Runtime
from showcaller.runtime.testing.behaviour import Behaviour
from showcaller.runtime.testing.distributions import Constant
from showcaller.runtime.testing.simulation import Simulation
from tests.runtime.live import PATIENCE, Gate, Peer, answer, config_of, our_threads, ready, running


def picky(attempt: Attempt) -> Iterator[TransportEvent]:
    """Refuses what is bad, and says what it was asked otherwise."""
    yield Sent()
    if b"bad" in attempt.payload:
        yield Failed(InvalidRequestError("no", backend="a"))
    else:
        yield answer(attempt.payload.decode())


def simulated(**settings: Any) -> Simulation:
    """One backend that takes a second for everything."""
    behaviour = Behaviour(connect=Constant(0.0), first_token=Constant(1.0), token_interval=Constant(0.0))
    return Simulation(
        config_of(["a"], settings=settings, max_parallel_requests=100), behaviours={"a": behaviour}
    )


def error_of(pending: Any) -> Exception:
    """What it failed of."""
    assert isinstance(pending.outcome, Errored)
    return pending.outcome.error


# --- on real threads ---


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


# --- in virtual time ---


def test_size_or_time_whichever_is_first() -> None:
    """A full batch at once, the rest when its oldest has waited for max_wait."""
    with simulated() as simulation:
        batcher = simulation.runtime.batcher(max_size=3, max_wait=5.0)
        pending = [batcher.add("x") for _ in range(3)]
        simulation.advance(0.5)
        pending.append(batcher.add("y"))
        simulation.advance(0.6)
        assert [one.done() for one in pending] == [True, True, True, False]
        simulation.advance(5.3)
        assert not pending[3].done()
        simulation.advance(0.2)
        assert pending[3].done()


def test_batches_one_after_the_other_are_each_on_time() -> None:
    """The timer of one is not that of the next."""
    with simulated() as simulation:
        batcher = simulation.runtime.batcher(max_size=10, max_wait=2.0)
        ended = []
        for _ in range(3):
            pending = batcher.add("x")
            pending.when_done(lambda: ended.append(simulation.now))
            simulation.advance(2.5)
        simulation.advance(5.0)
        assert [round(at, 3) for at in ended] == [3.0, 5.5, 8.0]


def test_concurrency_is_bounded_over_batches() -> None:
    """Ten items of a second each, two at a time, take five seconds; leaving the block waits for them."""
    with simulated() as simulation:
        with simulation.runtime.batcher(max_size=4, max_concurrency=2) as batcher:
            pending = [batcher.add("x") for _ in range(10)]
        assert simulation.now == pytest.approx(5.0, abs=0.01)
        assert all(one.outcome is not None and one.outcome.ok for one in pending)


def test_a_timeout_counts_from_the_adding() -> None:
    """Waiting for the batch is a part of it: before it was sent, and what is left of it after."""
    with simulated() as simulation:
        batcher = simulation.runtime.batcher(max_size=10, max_wait=2.0)
        early, late = batcher.add("x", timeout=1.5), batcher.add("y", timeout=2.5)
        simulation.advance(1.6)
        assert "still waiting for its batch after 1.5 s" in str(error_of(early))
        assert not late.done()
        simulation.advance(1.0)
        assert isinstance(error_of(late), DeadlineExceededError)
        assert len(simulation.backends["a"].served) == 1


def test_what_is_due_when_its_turn_comes_is_not_sent() -> None:
    """Although its timer has not fired yet: the machine has slept, and whoever is done first sends the next."""
    with simulated() as simulation:
        batcher = simulation.runtime.batcher(max_size=2, max_concurrency=1, timeout=1.5)
        pending = [batcher.add("x"), batcher.add("y")]
        simulation.world.clock.time += 5.0
        simulation.runtime.cancel(pending[0].request_id)
        assert isinstance(error_of(pending[1]), DeadlineExceededError)
        simulation.advance(5.0)
        assert len(simulation.backends["a"].served) <= 1


def test_leaving_the_block_takes_no_longer_than_the_deadlines() -> None:
    """Although nothing answers and one at a time is sent."""
    behaviour = Behaviour(first_token=Constant(1e6))
    with Simulation(config_of(["a"], timeout=60.0), behaviours={"a": behaviour}) as simulation:
        with simulation.runtime.batcher(max_size=3, max_concurrency=1, timeout=4.0) as batcher:
            pending = [batcher.add("x") for _ in range(3)]
        assert simulation.now == pytest.approx(4.0, abs=0.01)
        assert all(isinstance(error_of(one), DeadlineExceededError) for one in pending)


def test_more_than_may_wait_is_refused() -> None:
    """What is under way is not among them, and there is room again when some have left."""
    with simulated() as simulation:
        batcher = simulation.runtime.batcher(max_size=2, max_concurrency=2, max_pending=3)
        pending = [batcher.add("x") for _ in range(5)]
        with pytest.raises(OverloadedError, match="raise max_pending"):
            batcher.add("y")
        simulation.advance(1.5)
        pending.append(batcher.add("y"))
        batcher.close()
        assert all(one.outcome is not None and one.outcome.ok for one in pending)


def test_what_the_door_refuses_is_the_outcome_of_that_item() -> None:
    """Too many are open: the others go their way."""
    with simulated(max_open_requests=2) as simulation:
        with simulation.runtime.batcher(max_size=4) as batcher:
            pending = [batcher.add("x") for _ in range(4)]
        assert [one.outcome is not None and one.outcome.ok for one in pending] == [True, True, False, False]
        assert isinstance(error_of(pending[3]), OverloadedError)


def test_what_the_door_refuses_takes_no_place_of_those_that_follow() -> None:
    """However many it was."""
    with simulated(max_open_requests=1) as simulation:
        batcher = simulation.runtime.batcher(max_size=6, max_concurrency=2)
        pending = [batcher.add("x") for _ in range(6)]
        assert [one.done() for one in pending] == [False] + [True] * 5
        simulation.advance(1.5)
        pending += [batcher.add("y") for _ in range(6)]
        simulation.advance(1.5)
        assert [n for n, one in enumerate(pending) if one.outcome and one.outcome.ok] == [0, 6]


def test_who_waits_for_a_place_waits_to_be_sent() -> None:
    """Its batch has left already."""
    with simulated() as simulation:
        batcher = simulation.runtime.batcher(max_size=4, max_concurrency=1)
        for _ in range(5):
            batcher.add("x")
        assert batcher.pending_count == 4
        simulation.advance(1.5)
        assert batcher.pending_count == 3


def test_one_that_is_given_up_is_not_sent_by_who_hears_of_that() -> None:
    """Whoever makes room for the next in that moment."""
    with simulated() as simulation:
        batcher = simulation.runtime.batcher(max_size=3, max_concurrency=1)
        first, second, third = (batcher.add(word) for word in ("one", "two", "three"))
        second.when_done(first.cancel)
        assert second.cancel()
        simulation.advance(2.5)
        assert third.outcome is not None
        assert third.outcome.ok
        assert simulation.runtime.status().account.accepted == 2


def test_one_that_is_given_up_while_it_is_sent_is_cancelled_upstream(monkeypatch: pytest.MonkeyPatch) -> None:
    """By another thread, before anybody knows what to cancel."""
    with simulated() as simulation:
        batcher = simulation.runtime.batcher(max_size=2, max_concurrency=1)
        accept = batcher._edge.accept
        first = batcher.add("one")

        def accept_late(*args: Any, **options: Any) -> Any:
            first.cancel()
            return accept(*args, **options)

        monkeypatch.setattr(batcher._edge, "accept", accept_late)
        second = batcher.add("two")
        assert first.cancelled()
        simulation.advance(0.0)
        assert simulation.runtime.status().account.open == 1
        simulation.advance(1.5)
        assert second.outcome is not None
        assert second.outcome.ok


@pytest.mark.parametrize("let_in", [False, True])
def test_an_interrupt_while_one_is_sent_takes_no_place_and_loses_none(
    let_in: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody else goes on; what the door had let in is cancelled, so that nothing is sent twice."""
    with simulated() as simulation:
        batcher = simulation.runtime.batcher(max_size=3, max_concurrency=1)
        pending = [batcher.add("one"), batcher.add("two")]
        accept = batcher._edge.accept

        def interrupted(*args: Any, **options: Any) -> Any:
            monkeypatch.setattr(batcher._edge, "accept", accept)
            if let_in:
                accept(*args, **options)
            raise KeyboardInterrupt

        monkeypatch.setattr(batcher._edge, "accept", interrupted)
        with pytest.raises(KeyboardInterrupt):
            batcher.add("three")
        assert pending[0].cancelled() == let_in
        simulation.advance(3.5)
        assert all(one.outcome is not None and one.outcome.ok for one in pending[let_in:])
        assert batcher.pending_count == 0
        assert simulation.runtime.status().account.answered == 3 - let_in


def test_an_outcome_that_never_comes_holds_nobody_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leaving the block ends two seconds past the last deadline."""
    with simulated() as simulation:
        batcher = simulation.runtime.batcher(max_size=1, timeout=4.0)
        lost = Pending("lost", lambda: False, batcher._callbacks)
        monkeypatch.setattr(batcher._edge, "accept", lambda request, *, share, timeout: (None, lost))
        batcher.add("x")
        batcher.close()
        assert simulation.now == pytest.approx(6.0, abs=0.01)


def test_identical_items_are_not_shared() -> None:
    """As with ask_many: who adds the same twice wants two answers."""
    with simulated() as simulation:
        with simulation.runtime.batcher(temperature=0) as batcher:
            for _ in range(3):
                batcher.add("the same")
        assert len(simulation.backends["a"].served) == 3
