"""The bounds of `runtime.batcher()`, in virtual time: how many leave, wait and are under way, and for how long."""

from __future__ import annotations

from typing import Any

import pytest

from showcaller.actors.errors import DeadlineExceededError, OverloadedError
from showcaller.runtime.pending import Pending
from showcaller.runtime.testing.behaviour import Behaviour
from showcaller.runtime.testing.distributions import Constant
from showcaller.runtime.testing.simulation import Simulation
from tests.runtime.live import config_of, error_of


def simulated(**settings: Any) -> Simulation:
    """One backend that takes a second for everything."""
    behaviour = Behaviour(connect=Constant(0.0), first_token=Constant(1.0), token_interval=Constant(0.0))
    return Simulation(
        config_of(["a"], settings=settings, max_parallel_requests=100), behaviours={"a": behaviour}
    )


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
