"""Pauses in the tree: what a backend asks for is kept by every request, and nobody waits for one that is too long."""

from __future__ import annotations

import pytest

from showcaller.actors.arrivals import RATE_LIMIT_PAUSE
from showcaller.actors.errors import AllBackendsFailedError, BudgetExceededError, RateLimitError, ServerError
from showcaller.actors.policies.backend_latency import PENALTY
from showcaller.actors.settings import QuotaConfig
from showcaller.actors.transport import Failed, Sent
from tests.tree.stage import HANG, OK, Script, answer, drain, stage


def test_a_named_pause_is_kept_before_the_same_backend_is_asked_again() -> None:
    """Retry-After wins over the backoff, and holds for other requests too."""
    script = Script([Sent(), Failed(RateLimitError("429", backend="a", retry_after=7.0))], OK)
    s = stage({"a": script})
    first = s.submit("one")
    s.advance(1)
    second = s.submit("two")
    s.advance(5.9)
    assert len(script.attempts) == 1
    s.advance(1)
    assert first.result(0).content == second.result(0).content == "hi"
    s.at_rest()


@pytest.mark.parametrize("retry_after", [None, 0.0])
def test_who_turns_away_what_it_has_alone_gets_nothing_for_a_moment(retry_after: float | None) -> None:
    """It would be always free, and asked before those that have something to do."""
    script = Script([Sent(), Failed(RateLimitError("429", backend="a", retry_after=retry_after))], OK)
    s = stage({"a": script}, settings={"num_retries": 0})
    s.submit("one")
    s.settle()
    assert s.tree.roster.slots["a"].latency.of(stream=True, now=s.clock.now()) == PENALTY
    second = s.submit("two")
    s.advance(RATE_LIMIT_PAUSE - 0.001)
    assert len(script.attempts) == 1
    s.advance(1)
    assert second.result(0).content == "hi"
    s.at_rest()


def test_one_too_many_at_once_is_no_reason_for_a_pause() -> None:
    """The backend works, and there is room when one of the others has ended."""
    busy = [Sent(), 5.0, answer()]
    script = Script(busy, [Sent(), Failed(RateLimitError("429", backend="a"))], OK)
    s = stage({"a": script}, settings={"num_retries": 0})
    for prompt in ("busy", "one too many", "at once"):
        s.submit(prompt)
        s.settle()
    assert len(script.attempts) == 3


def test_the_longest_pause_that_was_asked_for_is_kept() -> None:
    """A shorter one that is named later does not end it."""
    limited = [RateLimitError("429", backend="a", retry_after=seconds) for seconds in (30.0, 5.0)]
    script = Script([Sent(), 0.1, Failed(limited[0])], [Sent(), 0.2, Failed(limited[1])], OK)
    s = stage({"a": script}, settings={"num_retries": 0})
    s.submit("one")
    s.submit("two")
    s.advance(1.0)
    s.submit("three")
    s.advance(29.0)
    assert len(script.attempts) == 2
    s.advance(0.2)
    assert len(script.attempts) == 3


def test_a_pause_past_the_deadline_fails_at_once_and_says_when_to_come_back() -> None:
    """Nobody waits for what cannot come in time."""
    script = Script([Sent(), Failed(RateLimitError("429", backend="a", retry_after=500.0))])
    s = stage({"a": script})
    first = s.submit("one", timeout=30)
    s.advance(1)
    assert isinstance(first.exception(0), RateLimitError)
    second = s.submit("two", timeout=30)
    s.advance(1)
    error = second.exception(0)
    assert isinstance(error, AllBackendsFailedError)
    assert error.retry_after == pytest.approx(499, abs=1.5)


def test_what_cools_down_for_longer_than_a_quota_is_what_a_request_fails_of() -> None:
    """A quota that has room again before that is not the reason."""
    s = stage({"a": Script(OK)}, quota=QuotaConfig(requests_per_hour=1))
    s.submit("spends it")
    s.advance(1.0)
    s.submit("waits for it", timeout=5000.0)
    refused = s.submit("has no time", timeout=30.0)
    s.advance(1.0)
    assert isinstance(refused.exception(0), BudgetExceededError)
    s.tree.roster.slots["a"].not_before = s.clock.now() + 1e5
    cooling = s.submit("neither", timeout=30.0)
    s.advance(1.0)
    error = cooling.exception(0)
    assert isinstance(error, AllBackendsFailedError)
    assert error.retry_after == pytest.approx(1e5)


@pytest.mark.parametrize("opens", [True, False])
def test_who_waits_is_told_with_the_next_sweep_that_it_waits_in_vain(opens: bool) -> None:
    """It waited for a free seat; now the backend takes nothing before its deadline."""
    error = (
        ServerError("a: HTTP 503", backend="a", status=503)
        if opens
        else RateLimitError("429", backend="a", retry_after=100.0)
    )
    s = stage(
        {"a": Script([Sent(), 1.5, Failed(error)])},
        max_parallel_requests=1,
        settings={"num_retries": 0},
        route={"allowed_fails": 1, "cooldown_time": 100.0},
    )
    s.submit("busy", timeout=20)
    waiting, patient = s.submit("waits", timeout=20), s.submit("has time", timeout=500)
    s.advance(2.6)
    error = waiting.exception(0)
    assert isinstance(error, AllBackendsFailedError)
    assert error.retry_after == pytest.approx(100.0 if not opens else 110.0, abs=11.0)
    assert not patient.done()


def test_nobody_sits_out_the_pause_of_one_backend_while_another_may_be_tried_again() -> None:
    """The other has failed it once, and is asked after a backoff; the pause may last longer than the request."""
    unwell = ServerError("a: HTTP 503", backend="a", status=503)
    limited = RateLimitError("b: 429", backend="b", retry_after=60.0)
    scripts = {"a": Script([Sent(), Failed(unwell)], OK), "b": Script([Sent(), Failed(limited)])}
    s = stage(scripts)
    pending = s.submit(timeout=30.0)
    s.advance(1.5)
    assert pending.result(0).backend == "a"
    s.at_rest()


def test_who_waits_behind_a_seat_that_hangs_is_told_that_it_waits_in_vain() -> None:
    """The seat is given up, and its backend is left alone for longer than the request has time."""
    s = stage(
        {"a": Script([Sent(), 1.0, answer()], HANG)},
        max_parallel_requests=2,
        timeout=5.0,
        route={"allowed_fails": 1, "cooldown_time": 100.0},
        settings={"num_retries": 0},
    )
    s.submit("quick")
    s.submit("hangs")
    s.submit("hangs as well, and later")
    waiting = s.submit("waits", timeout=20.0)
    s.advance(9.1)
    error = waiting.exception(0)
    assert isinstance(error, AllBackendsFailedError)
    assert error.retry_after == pytest.approx(110.0, abs=11.0)


def test_who_waits_in_vain_is_not_told_so_while_an_attempt_of_it_may_still_answer() -> None:
    """Its backend takes nothing any more, but has not given up what it has."""
    limited = RateLimitError("429", backend="a", retry_after=100.0)
    scripts = {"b": Script([Sent(), 6.0, answer("late")]), "a": Script([Sent(), 2.0, Failed(limited)])}
    s = stage(scripts, max_parallel_requests=1, settings={"num_retries": 0})
    pending = s.submit("has one attempt", timeout=20.0)
    s.submit("keeps a busy")
    s.advance(0.5)
    drain(s, "b", 30.0)
    s.crash("b")
    s.advance(4.0)
    assert pending.ticket.flight.queued  # type: ignore[attr-defined]
    assert not pending.done()
    s.advance(3.0)
    assert pending.result(0).content == "late"


def test_a_quota_that_has_room_again_wakes_who_waits_for_it() -> None:
    """At once, and not with the next sweep."""
    script = Script(OK)
    s = stage({"a": script}, quota=QuotaConfig(requests_per_hour=1))
    s.submit("spends it")
    s.advance(1.0)
    s.submit("waits for it", timeout=5000.0)
    left = 3600.0 - s.clock.wall() % 3600.0
    s.advance(left - 0.01)
    assert len(script.attempts) == 1
    s.advance(0.02)
    assert len(script.attempts) == 2
