"""Retries: never past the deadline, never more than num_retries, never twice what may happen only once."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from showcaller.actors.enums import FallbackCause
from showcaller.actors.errors import (
    AllBackendsFailedError,
    AuthenticationError,
    BackendCrashedError,
    BackendDrainedError,
    BackendError,
    BackendTimeoutError,
    BackendUnreachableError,
    BillingError,
    BudgetExceededError,
    ConfigurationError,
    ContentPolicyViolationError,
    ContextWindowExceededError,
    DeadlineExceededError,
    InvalidRequestError,
    MalformedResponseError,
    ModelNotFoundError,
    RateLimitError,
    RequestCancelledError,
    RequestTooLargeError,
    RuntimeStoppedError,
    ServerError,
    StreamInterruptedError,
)
from showcaller.actors.policies.retry import NO_BUDGET, Retry, RetryPolicy, Stop, cause_of, decide

ANYWHERE = (
    BackendCrashedError,
    BackendTimeoutError,
    BackendUnreachableError,
    MalformedResponseError,
    RateLimitError,
    ServerError,
)
ELSEWHERE = (
    AuthenticationError,
    BackendDrainedError,
    BillingError,
    ModelNotFoundError,
    RequestTooLargeError,
)
DIVERTED = (ContentPolicyViolationError, ContextWindowExceededError)
NOWHERE = (
    AllBackendsFailedError,
    BudgetExceededError,
    ConfigurationError,
    DeadlineExceededError,
    InvalidRequestError,
    RequestCancelledError,
    RuntimeStoppedError,
    StreamInterruptedError,
)

policies = st.builds(
    RetryPolicy,
    num_retries=st.integers(0, 6),
    min_delay=st.floats(0.0, 2.0),
    max_delay=st.floats(0.0, 20.0),
)
errors = st.builds(
    lambda kind, retry_after, maybe: kind("no", retry_after=retry_after, maybe_executed=maybe),
    st.sampled_from(ANYWHERE + ELSEWHERE + DIVERTED + NOWHERE),
    st.none() | st.floats(0.0, 60.0),
    st.booleans(),
)


def decision(error, policy=None, seed=1, **changed):
    given = {
        "failures": 1,
        "repeatable": True,
        "here": True,
        "others": False,
        "remaining": 100.0,
        "can_pay": True,
    }
    given |= changed
    return decide(policy or RetryPolicy(), error, rng=random.Random(seed), **given)


@given(
    policies,
    errors,
    st.integers(1, 8),
    st.booleans(),
    st.booleans(),
    st.booleans(),
    st.floats(-5.0, 60.0),
    st.booleans(),
    st.integers(),
)
def test_every_retry_is_allowed_by_every_rule(
    policy, error, failures, repeatable, here, others, remaining, can_pay, seed
):
    """Within the deadline, the number of retries, the budget, the error's own word and the request's."""
    decided = decision(
        error,
        policy,
        seed,
        failures=failures,
        repeatable=repeatable,
        here=here,
        others=others,
        remaining=remaining,
        can_pay=can_pay,
    )
    if isinstance(decided, Stop):
        assert decided.reason
        return
    assert isinstance(error, BackendError)
    assert failures <= policy.num_retries
    assert 0.0 <= decided.delay < remaining
    assert repeatable
    assert can_pay or not decided.paid
    if decided.elsewhere:
        assert others
        assert error.retry_elsewhere or isinstance(error, DIVERTED)
        assert decided.delay == 0.0
    else:
        assert here
        assert error.retry_here
        if error.retry_after is not None:
            assert decided.delay == error.retry_after
        else:
            assert decided.delay <= min(policy.max_delay, policy.min_delay * 2 ** (failures - 1))


@given(policies, st.integers(0, 10))
def test_a_request_that_always_fails_is_tried_once_more_than_num_retries(policy, seed):
    """Counted over the whole request, wherever the attempts go."""
    attempts = 0
    while True:
        attempts += 1
        others = attempts % 2 == 0
        decided = decision(ServerError("no"), policy, seed, failures=attempts, others=others)
        if isinstance(decided, Stop):
            break
    assert attempts == policy.num_retries + 1


@pytest.mark.parametrize("kind", ANYWHERE)
def test_a_passing_failure_goes_elsewhere_first(kind):
    """At once to a backend that was not tried; without one, here after a pause."""
    paid = kind is not BackendUnreachableError
    assert decision(kind("no"), others=True) == Retry(0.0, elsewhere=True, paid=paid)
    assert decision(kind("no"), others=True, here=False) == Retry(0.0, elsewhere=True, paid=paid)
    again = decision(kind("no"))
    assert isinstance(again, Retry)
    assert not again.elsewhere
    assert decision(kind("no"), here=False) == Stop("no backend is left that could be tried")


@pytest.mark.parametrize("kind", ELSEWHERE)
def test_a_failure_of_this_backend_alone_is_only_tried_elsewhere(kind):
    """A wrong key stays wrong; another backend has its own."""
    assert decision(kind("no"), others=True) == Retry(0.0, elsewhere=True)
    assert decision(kind("no")) == Stop("no backend is left that could be tried")


@pytest.mark.parametrize("kind", DIVERTED)
def test_what_only_its_own_fallbacks_may_cure_goes_there_or_nowhere(kind):
    """At once, and never to the same backend again; as a call that is paid for."""
    assert decision(kind("no"), others=True) == Retry(0.0, elsewhere=True)
    assert decision(kind("no")) == Stop("no backend is left that could be tried")
    assert decision(kind("no"), others=True, failures=3) == Stop("num_retries = 2 is used up")


@pytest.mark.parametrize(
    ("kind", "cause"),
    [
        (ContextWindowExceededError, FallbackCause.CONTEXT_WINDOW),
        (ContentPolicyViolationError, FallbackCause.CONTENT_POLICY),
        (ServerError, FallbackCause.FAILURE),
        (AuthenticationError, FallbackCause.FAILURE),
    ],
)
def test_each_error_says_which_fallbacks_may_cure_it(kind, cause):
    """Two causes have their own; all others share one."""
    assert cause_of(kind("no")) is cause


@pytest.mark.parametrize("kind", NOWHERE)
def test_what_no_attempt_could_cure_is_not_tried_again(kind):
    """The caller's own mistakes, ends and limits."""
    assert decision(kind("no"), others=True) == Stop("the error is not one that another attempt could cure")


@pytest.mark.parametrize("others", [False, True])
def test_what_must_not_be_repeated_is_tried_nowhere(others):
    """Whatever the last attempt failed of."""
    for error in (ServerError("no", maybe_executed=True), ServerError("no")):
        assert isinstance(decision(error, others=others), Retry)
        stopped = decision(error, others=others, repeatable=False)
        assert stopped == Stop("it may have been executed already, and the request is not idempotent")


def test_the_backend_s_own_pause_wins_over_the_backoff():
    """Exactly so long, unless the deadline comes first."""
    error = RateLimitError("busy", retry_after=30.0)
    assert decision(error, remaining=30.1) == Retry(30.0, elsewhere=False)
    late = Stop("the deadline would pass before it may be tried again")
    assert decision(error, remaining=30.0) == late
    assert decision(error, remaining=30.0, others=True) == Retry(0.0, elsewhere=True)
    assert decision(error, remaining=0.0, others=True) == late


def test_the_backoff_has_full_jitter():
    """Drawn evenly between nothing and the doubled delay, up to the longest."""
    policy = RetryPolicy(num_retries=9, min_delay=1.0, max_delay=4.0)
    for failures, longest in ((1, 1.0), (2, 2.0), (3, 4.0), (9, 4.0)):
        delays = [decision(ServerError("no"), policy, seed, failures=failures).delay for seed in range(300)]
        assert max(delays) <= longest
        assert min(delays) < longest * 0.05
        assert longest * 0.4 < sum(delays) / len(delays) < longest * 0.6


def test_the_thousandth_retry_is_decided_like_the_tenth():
    """However many retries are allowed, no number overflows."""
    policy = RetryPolicy(num_retries=10_000, max_delay=8.0)
    assert decision(ServerError("no"), policy, failures=9_999).delay <= 8.0


@pytest.mark.parametrize("kind", ANYWHERE + ELSEWHERE)
@pytest.mark.parametrize("others", [False, True])
def test_what_cannot_be_paid_for_is_not_tried_again(kind, others):
    """The budget is the last thing that is asked, and only what was never sent goes elsewhere without it."""
    affordable = decision(kind("no"), others=others)
    decided = decision(kind("no"), others=others, can_pay=False)
    if isinstance(affordable, Stop):
        assert decided == affordable
        assert decided != NO_BUDGET
    elif kind is BackendUnreachableError and others:
        assert decided == affordable == Retry(0.0, elsewhere=True, paid=False)
    else:
        assert affordable.paid
        assert decided == NO_BUDGET


def test_what_may_have_been_sent_after_all_is_paid_for():
    """The error's own word that it may have been executed wins over its kind."""
    error = BackendUnreachableError("no", maybe_executed=True)
    assert decision(error, others=True) == Retry(0.0, elsewhere=True, paid=True)
    assert decision(error, others=True, can_pay=False) == NO_BUDGET
