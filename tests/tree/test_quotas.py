"""Quotas in the tree: what is reserved, what is given back, and what outlives who counts it."""

from __future__ import annotations

import pytest
from attrs import evolve

from showcaller.actors.errors import BackendUnreachableError
from showcaller.actors.models import Usage
from showcaller.actors.policies.quota_ledger import QuotaLimits
from showcaller.actors.quota_manager import QuotaBook
from showcaller.actors.settings import QuotaConfig
from showcaller.actors.transport import Done, Failed, Sent
from tests.tree.stage import HANG, OK, Script, answer, drain, stage


@pytest.mark.parametrize(("options", "tokens"), [({}, 1024), ({"max_tokens": 10}, 10)])
def test_an_answer_without_a_bound_is_reserved_at_a_thousand_tokens(
    options: dict[str, int], tokens: int
) -> None:
    """What an answer may be is taken from the limits before it is known."""
    s = stage({"a": Script(HANG)}, rate_limit_tpm=10_000)
    request = s.submit(**options).ticket.flight.request  # type: ignore[attr-defined]
    s.settle()
    left = s.tree.quotas.remaining(s.clock.wall())["a"]["tpm"]
    assert left == 10_000 - request.input_tokens_estimate - tokens


def test_a_limit_that_refuses_two_keeps_its_backend_for_the_one_that_waits_longer() -> None:
    """The smaller, later one does not go round it."""
    spent = evolve(answer(), usage=Usage(input_tokens=4000, output_tokens=5000))
    s = stage({"a": Script([Sent(), 0.1, spent], OK)}, rate_limit_tpm=10_000)
    s.submit("spends it", max_tokens=9000)
    s.advance(0.2)
    big = s.submit("big", max_tokens=8000, timeout=100.0)
    small = s.submit("small", max_tokens=2000, timeout=100.0)
    s.settle()
    slot = s.tree.roster.slots["a"]
    assert slot.quota_until - s.clock.now() > 40.0
    s.advance(30.0)
    assert not small.done()
    s.advance(60.0)
    assert [attempt.request_id for attempt in slot.transport.attempts[1:]] == [  # type: ignore[attr-defined]
        big.request_id,
        small.request_id,
    ]


def test_a_request_that_is_too_large_for_now_fails_alone() -> None:
    """The tokens that it could not have are still there for smaller ones."""
    s = stage({"a": Script(OK)}, rate_limit_tpm=60_000)
    s.submit("spends some", max_tokens=40_000)
    s.settle()
    large = s.submit("large", max_tokens=50_000, timeout=10)
    s.settle()
    small = s.submit("small", max_tokens=10, timeout=10)
    s.advance(1)
    assert large.done()
    assert small.result(0).content == "hi"


def test_what_was_given_back_may_be_spent_at_once() -> None:
    """The one request of the hour did not reach its backend; the next one may."""
    nothing_sent = BackendUnreachableError("no connection", backend="a")
    s = stage(
        {"a": Script([0.5, Failed(nothing_sent)], OK)},
        quota=QuotaConfig(requests_per_hour=1),
        settings={"num_retries": 0},
    )
    s.submit("first", timeout=30)
    s.settle()
    s.submit("second", timeout=10)
    s.advance(2)
    assert s.tree.quotas.remaining(s.clock.wall())["all backends"]["requests_per_hour"] == 1
    third = s.submit("third", timeout=30)
    s.advance(2)
    assert third.result(0).content == "hi"


def test_no_number_of_tokens_ends_the_runtime() -> None:
    """The largest number that a request can ask for is not the end of the quota manager."""
    s = stage({"a": Script(OK)})
    s.submit(max_tokens=10**308, timeout=50)
    s.advance(60)
    assert not s.told
    assert s.tree.children["quota_manager"].restarts == 0


def test_no_number_of_tokens_that_a_backend_counts_ends_the_runtime() -> None:
    """What it says it used is not ours to believe, and no reason to die."""
    absurd = Done(
        message={"role": "assistant", "content": "hi"},
        finish_reason="stop",
        usage=Usage(input_tokens=10**400, output_tokens=2),
        model="m",
    )
    s = stage({"a": Script([Sent(), absurd])}, rate_limit_tpm=60_000)
    assert s.submit() is not None
    s.advance(5)
    assert s.tree.children["quota_manager"].restarts == 0
    assert s.tree.quotas.outstanding == 0


def test_what_was_spent_stays_spent_when_the_quota_manager_dies() -> None:
    """The ledger belongs to the slot, not to the incarnation."""
    s = stage({"a": Script(OK)}, quota=QuotaConfig(requests_per_hour=3))
    for n in range(2):
        s.submit(f"q{n}")
        s.advance(1)
    s.crash("quota_manager")
    s.advance(1)
    third, fourth = s.submit("q3", timeout=30), s.submit("q4", timeout=30)
    s.advance(2)
    assert third.result(0).content == "hi"
    error = fourth.exception(0)
    assert error is not None
    assert "requests_per_hour" in str(error)


def test_a_backend_that_comes_back_under_the_same_limits_has_spent_what_it_has_spent() -> None:
    """Removing and adding it again is no way around its limits; other limits begin a new account."""
    book = QuotaBook(QuotaLimits())
    book.open("a", QuotaLimits(rpm=1))
    assert book.reserve(1, "a", 1, 0.0) is None
    book.open("a", QuotaLimits(rpm=1))
    assert book.reserve(2, "a", 1, 0.0) is not None
    book.open("a", QuotaLimits(rpm=2))
    assert book.reserve(3, "a", 1, 0.0) is None


def test_what_is_reserved_again_after_its_attempt_has_ended_is_given_back() -> None:
    """The quota manager dies when it has reserved, and finds the message in hand when all is over."""
    s = stage({"a": Script([Sent(), answer()])}, quota=QuotaConfig(requests_per_day=10))
    happened = s.sabotage("quota_manager", "on_reserve", after=True)
    s.submit()
    s.advance(5.0)
    assert happened
    assert s.tree.quotas.remaining(s.clock.wall())["all backends"]["requests_per_day"] == 9
    s.at_rest()


def test_the_tokens_of_an_attempt_that_a_drain_cuts_off_before_it_was_granted_are_given_back() -> None:
    """Nothing was sent, whatever the quota manager reserves when it is back."""
    s = stage({"a": Script(OK), "b": Script(OK)}, rate_limit_tpm=10_000)
    full = s.tree.quotas.remaining(s.clock.wall())["a"]["tpm"]
    s.crash("quota_manager")
    pending = s.submit(max_tokens=5000)
    drain(s, "a", 0.0)
    s.advance(2.0)
    assert pending.result(0).backend == "b"
    assert s.tree.quotas.remaining(s.clock.wall())["a"]["tpm"] == full
    s.at_rest()
