"""Seats that never come back: they are given up and speak against their backend, and nothing else is taken for one."""

from __future__ import annotations

from showcaller.actors.errors import DeadlineExceededError
from showcaller.actors.settings import QuotaConfig
from showcaller.actors.transport import Sent
from tests.tree.stage import HANG, OK, Script, answer, stage


def test_a_seat_that_never_comes_back_is_abandoned_and_counted() -> None:
    """In-flight capacity is not lost to a hanging seat; it stays visible as hanging."""
    s = stage({"a": Script(HANG, OK)}, max_parallel_requests=1, timeout=5.0)
    first = s.submit("one", timeout=5.0)
    s.advance(20)
    assert isinstance(first.exception(0), DeadlineExceededError)
    slot = s.tree.roster.slots["a"]
    assert len(slot.abandoned) == 1
    assert not slot.in_flight


def test_a_seat_that_never_comes_back_speaks_against_its_backend() -> None:
    """To its breaker, to the health monitor, and to who asks how quick it is."""
    s = stage({"a": Script(HANG)}, timeout=5.0, route={"allowed_fails": 1}, settings={"num_retries": 0})
    s.submit(timeout=60.0)
    s.advance(6.9)
    slot = s.tree.roster.slots["a"]
    assert not slot.abandoned, "two seconds it has to come back"
    s.advance(2.0)
    assert len(slot.abandoned) == 1
    assert slot.breaker.open_until is not None
    assert s.tree.health.get_status("a").error_count == 1
    assert (slot.latency.of(stream=True, now=s.clock.now()) or 0.0) > 4.0


def test_a_backend_whose_every_seat_hangs_says_so() -> None:
    """Nobody waits for it, and the reason is told."""
    s = stage({"a": Script(HANG)}, max_parallel_requests=1, timeout=2.0)
    s.submit("first", timeout=3.0)
    s.advance(10)
    second = s.submit("second", timeout=60)
    s.advance(0.1)
    assert "all its seats hang" in str(second.exception(0))


def test_what_was_cancelled_before_it_was_granted_is_not_taken_for_a_hanging_seat() -> None:
    """Its reservation was lost with the quota manager; no backend was at fault, and nothing was spent."""
    s = stage({"a": Script(OK)}, route={"allowed_fails": 1}, quota=QuotaConfig(requests_per_day=10))
    child = s.tree.children["quota_manager"]
    s.sabotage("quota_manager", "on_reserve", after=False)
    pending = s.submit()
    while child.generation < 2:
        if not s.dispatcher.step():
            s.clock.time = s.clock.timers.next_at() or s.clock.time
            timer = s.clock.timers.pop_due(s.clock.time)
            assert timer is not None
            timer.fire()
    assert s.sabotage("quota_manager", "on_reserve", after=False) == []
    s.settle()
    pending.cancel()
    s.advance(20)
    slot = s.tree.roster.slots["a"]
    assert slot.breaker.open_until is None
    s.at_rest()


def test_a_backend_whose_seat_has_come_back_is_in_service_again() -> None:
    """Late, and of no use to the request that it was for; but it hangs no more."""
    s = stage({"a": Script([Sent(), 100.0, answer()], OK)}, max_parallel_requests=1, timeout=5.0)
    s.submit("hangs", timeout=5.0)
    s.advance(10.0)
    slot = s.tree.roster.slots["a"]
    assert slot.out_of_service == "all its seats hang"
    s.advance(100.0)
    assert slot.out_of_service is None
    later = s.submit("later")
    s.advance(1.0)
    assert later.result(0).content == "hi"
    s.at_rest()
