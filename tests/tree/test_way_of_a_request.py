"""The way of a request through the whole tree, in hand-driven time."""

from __future__ import annotations

import concurrent.futures

import pytest
from attrs import evolve

from showcaller.actors.arrivals import RATE_LIMIT_PAUSE
from showcaller.actors.enums import Source
from showcaller.actors.errors import (
    AllBackendsFailedError,
    AuthenticationError,
    BackendRetiredError,
    BackendTimeoutError,
    BudgetExceededError,
    ContextWindowExceededError,
    DeadlineExceededError,
    RateLimitError,
    ServerError,
    StreamInterruptedError,
)
from showcaller.actors.models import Usage
from showcaller.actors.policies.backend_latency import FIRST_TOKENS, PENALTY
from showcaller.actors.settings import QuotaConfig
from showcaller.actors.transport import Chunk, Failed, Sent
from tests.tree.stage import HANG, OK, Script, answer, stage


def failing(error: Exception) -> Script:
    return Script([Sent(), 0.05, Failed(error)])  # type: ignore[arg-type]


def down(name: str = "a") -> ServerError:
    return ServerError(f"{name}: HTTP 500", backend=name, status=500, maybe_executed=True)


def test_an_answer_reaches_its_caller_and_nothing_is_left() -> None:
    """The happy way, with everything given back at the end."""
    s = stage({"a": Script(OK)})
    pending = s.submit()
    s.advance(0.2)
    response = pending.result(0)
    assert (response.content, response.backend, response.attempts) == ("hi", "a", 1)
    assert response.latency == pytest.approx(0.1)
    assert response.source is Source.LIVE
    s.at_rest()


def test_a_failed_attempt_fails_over_to_another_backend_at_once() -> None:
    """No delay is spent when another backend can be tried."""
    s = stage({"a": failing(down()), "b": Script(OK)})
    pending = s.submit()
    s.advance(0.2)
    assert (pending.result(0).backend, pending.result(0).attempts) == ("b", 2)
    s.at_rest()


@pytest.mark.parametrize(("allowed_fails", "opens_after"), [(5, 10), (16, 16)])
def test_a_backend_that_fails_every_other_time_is_left_alone(allowed_fails: int, opens_after: int) -> None:
    """Half of ten results are too many failures, or half of as many as may fail in a row."""
    plays = [OK, failing(down()).plays[0]] * 10
    s = stage({"a": Script(*plays), "b": Script(OK)}, route={"allowed_fails": allowed_fails})
    breaker = s.tree.roster.slots["a"].breaker
    for number in range(opens_after):
        assert breaker.open_until is None
        s.submit(f"prompt {number}")
        s.advance(0.5)
    assert breaker.open_until is not None
    s.at_rest()


def test_num_retries_counts_for_the_whole_request() -> None:
    """Three attempts are made with num_retries = 2, whatever the number of backends."""
    scripts = {name: failing(down(name)) for name in "abcde"}
    s = stage(scripts)
    pending = s.submit()
    s.advance(60)
    error = pending.exception(0)
    assert isinstance(error, AllBackendsFailedError)
    assert [one.backend for one in error.attempts] == ["a", "b", "c"]
    assert sum(len(script.attempts) for script in scripts.values()) == 3
    s.at_rest()


def test_a_lone_backend_is_tried_again_after_a_backoff() -> None:
    """The same backend gets a second chance, later."""
    script = Script([Sent(), Failed(down())], OK)
    s = stage({"a": script})
    pending = s.submit()
    s.advance(5)
    assert pending.result(0).attempts == 2
    s.at_rest()


@pytest.mark.parametrize("error", [AuthenticationError, BackendRetiredError])
def test_an_error_that_only_another_backend_cures_is_not_repeated_here(error: type[ServerError]) -> None:
    """A refused credential or a retired endpoint is asked once."""
    scripts = {"a": failing(error("no", backend="a"))}
    s = stage(scripts)
    pending = s.submit()
    s.advance(30)
    assert isinstance(pending.exception(0), error)
    assert len(scripts["a"].attempts) == 1


def test_a_mistake_of_the_caller_is_not_tried_elsewhere() -> None:
    """A prompt that is too long fails with its own error, without a second attempt."""
    scripts = {"a": failing(ContextWindowExceededError("too long", backend="a")), "b": Script(OK)}
    s = stage(scripts)
    pending = s.submit()
    s.advance(1)
    assert isinstance(pending.exception(0), ContextWindowExceededError)
    assert not scripts["b"].attempts


def test_what_may_have_been_executed_is_not_repeated_unless_the_request_allows() -> None:
    """idempotent=False ends with the first failure after which it may have been carried out."""
    scripts = {"a": failing(down()), "b": Script(OK)}
    s = stage(scripts)
    strict = s.submit("one", idempotent=False)
    s.advance(1)
    assert isinstance(strict.exception(0), ServerError)
    assert not scripts["b"].attempts


def test_the_deadline_ends_a_request_whose_backend_hangs_and_cancels_the_attempt() -> None:
    """The edge keeps the deadline; the attempt is cancelled with the last who waits."""
    script = Script(HANG)
    s = stage({"a": script})
    pending = s.submit(timeout=3.0)
    s.advance(2.9)
    assert not pending.done()
    s.advance(0.2)
    assert isinstance(pending.exception(0), DeadlineExceededError)
    assert script.attempts[0].cancel.cancelled
    s.wake_cancelled()
    s.at_rest()


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


def test_a_cancelled_request_is_withdrawn_and_its_attempt_cancelled() -> None:
    """Pending.cancel reaches upstream."""
    script = Script(HANG)
    s = stage({"a": script})
    pending = s.submit()
    s.advance(0.5)
    assert pending.cancel()
    assert pending.cancelled()
    with pytest.raises(concurrent.futures.CancelledError):
        pending.result(0)
    assert script.attempts[0].cancel.cancelled
    s.wake_cancelled()
    s.at_rest()


def test_requests_beyond_the_limit_wait_and_go_in_their_order() -> None:
    """In flight stays within max_parallel_requests; the oldest goes first."""
    script = Script(OK)
    s = stage({"a": script}, max_parallel_requests=2)
    all_of_them = [s.submit(f"q{n}", coalesce=False) for n in range(6)]
    s.advance(0.05)
    assert len(script.attempts) == 2
    s.advance(1)
    assert [one.result(0).request_id for one in all_of_them] == [a.request_id for a in script.attempts]
    s.at_rest()


def test_the_more_urgent_request_overtakes() -> None:
    """CRITICAL leaves the queue before NORMAL and LOW."""
    script = Script(OK)
    s = stage({"a": script}, max_parallel_requests=1)
    s.submit("busy")
    s.settle()
    low = s.submit("low", priority="low")
    normal = s.submit("normal")
    critical = s.submit("critical", priority="critical")
    s.advance(1)
    order = [attempt.request_id for attempt in script.attempts[1:]]
    assert order == [critical.request_id, normal.request_id, low.request_id]


@pytest.mark.parametrize(("ageing", "first"), [(2.0, "low"), (10.0, "high")])
def test_who_waits_long_enough_overtakes_the_more_urgent(ageing: float, first: str) -> None:
    """How long that is the settings say."""
    script = Script([Sent(), 5.0, answer()], OK)
    s = stage({"a": script}, max_parallel_requests=1, settings={"ageing": ageing})
    s.submit("busy")
    s.settle()
    waiting = {"low": s.submit("low", priority="low")}
    s.advance(4.9)
    waiting["high"] = s.submit("high", priority="high")
    s.advance(0.15)
    assert script.attempts[1].request_id == waiting[first].request_id


def test_who_has_left_is_not_counted_among_those_who_wait() -> None:
    """Or every step would look through queues in which nobody is."""
    s = stage({"a": Script(OK)}, max_parallel_requests=1)
    for _ in range(3):
        s.submit()
    s.settle()
    ref = s.tree.children["supervisor"].address.ref
    assert ref is not None
    table = ref._actor_weakref()._departures._table  # type: ignore[union-attr]
    assert table.waiting == 2
    s.advance(0.3)
    assert table.waiting == 0


def test_when_nobody_waits_any_more_nobody_is_said_to_wait() -> None:
    """Neither to who comes nor to who looks."""
    s = stage({"a": Script(OK)}, max_parallel_requests=1)
    for _ in range(40):
        s.submit()
    s.advance(3.0)
    assert s.tree.roster.waiting[1] > 0
    assert s.tree.roster.outlooks["fast"].waiting == s.tree.roster.waiting
    s.advance(2.0)
    assert s.tree.roster.waiting == (0, 0, 0, 0)
    assert s.tree.roster.outlooks == {}


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


def test_a_backend_is_not_taken_for_slower_than_its_caller_has_seen() -> None:
    """A caller without patience shows that it takes longer than that, and not that it fails."""
    late = Failed(BackendTimeoutError("total", backend="a", maybe_executed=True))
    s = stage({"a": Script(OK, [Sent(), 0.5, late])})
    s.submit("known")
    s.advance(1.0)
    s.submit("in a hurry", timeout=0.5)
    s.advance(1.0)
    latency = s.tree.roster.slots["a"].latency.of(stream=False, now=s.clock.now())
    assert latency is not None
    assert latency <= 0.5 / FIRST_TOKENS


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


def test_a_backend_that_keeps_failing_is_left_alone_until_a_probe_succeeds() -> None:
    """The breaker opens after allowed_fails and closes after one success."""
    bad = Script(*[[Sent(), Failed(down())]] * 3, OK)
    s = stage({"a": bad, "b": Script(OK)}, route={"allowed_fails": 3, "cooldown_time": 10.0})
    for n in range(6):
        s.submit(f"q{n}")
        s.advance(0.3)
    assert len(bad.attempts) == 3
    s.advance(13)
    s.submit("probe")
    s.advance(1)
    assert len(bad.attempts) == 4
    after = s.submit("after")
    s.advance(1)
    assert after.result(0).backend == "a"
    s.at_rest()


def test_a_stream_fails_over_before_its_first_chunk_and_not_after() -> None:
    """Before: another backend. After: StreamInterruptedError with the text so far."""
    before = stage({"a": failing(down()), "b": Script([Sent(), Chunk("he"), 0.1, Chunk("y"), answer("hey")])})
    pending = before.submit(stream=True)
    before.advance(1)
    assert pending.result(0).backend == "b"

    after = stage({"a": Script([Sent(), Chunk("he"), 0.1, Failed(down())]), "b": Script(OK)})
    pending = after.submit(stream=True)
    after.advance(1)
    error = pending.exception(0)
    assert isinstance(error, StreamInterruptedError)
    assert error.partial == "he"
    after.at_rest()


def test_a_transport_that_raises_is_a_failed_attempt_and_not_the_end_of_its_seat() -> None:
    """A bug in a transport fails over like any other failure."""
    s = stage({"a": Script([Sent(), ValueError("bug")]), "b": Script(OK)})
    pending = s.submit()
    s.advance(1)
    assert pending.result(0).backend == "b"
    s.at_rest()


def test_identical_deterministic_requests_share_one_call() -> None:
    """N callers, one upstream call, N outcomes; the followers say that they were coalesced."""
    script = Script(OK)
    s = stage({"a": script})
    same = [s.submit("same", temperature=0) for _ in range(5)]
    s.advance(1)
    assert len(script.attempts) == 1
    sources = [one.result(0).source for one in same]
    assert sources == [Source.LIVE] + [Source.COALESCED] * 4
    assert len({one.result(0).request_id for one in same}) == 5
    later = s.submit("same", temperature=0)
    s.advance(1)
    assert later.result(0).source is Source.LIVE
    s.at_rest()


def test_a_failed_leader_gives_each_follower_its_own_error_and_does_not_poison_the_key() -> None:
    """The error is copied; the next identical request flies itself."""
    script = Script([Sent(), 0.1, Failed(ContextWindowExceededError("too long", backend="a"))], OK)
    s = stage({"a": script})
    first, second = (s.submit("same", temperature=0) for _ in range(2))
    s.advance(1)
    assert first.exception(0) is not second.exception(0)
    assert isinstance(second.exception(0), ContextWindowExceededError)
    third = s.submit("same", temperature=0)
    s.advance(1)
    assert third.result(0).content == "hi"


def test_a_leader_that_gives_up_does_not_take_its_followers_along() -> None:
    """The upstream call goes on for as long as somebody waits for it."""
    script = Script([Sent(), 5.0, answer()])
    s = stage({"a": script})
    leader, follower = (s.submit("same", temperature=0) for _ in range(2))
    s.advance(1)
    assert leader.cancel()
    s.advance(5)
    assert follower.result(0).content == "hi"
    assert not script.attempts[0].cancel.cancelled
    s.at_rest()


def test_tenants_never_share_an_answer() -> None:
    """The tenant is part of the key."""
    from showcaller.actors.models import RequestContext

    script = Script(OK)
    s = stage({"a": script})
    for tenant in ("one", "two"):
        s.submit("same", temperature=0, context=RequestContext(tenant=tenant))
    s.advance(1)
    assert len(script.attempts) == 2
