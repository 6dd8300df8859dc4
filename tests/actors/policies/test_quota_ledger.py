"""The ledger: what was not used comes back, once; what a refusal says is so; clocks that are wrong cost little."""

from __future__ import annotations

import copy

import pytest
from hypothesis import given
from hypothesis import strategies as st

from showcaller.actors.policies.quota_ledger import DAY, HOUR, MINUTE, QuotaLedger, QuotaLimits
from tests.actors.policies.ledgers import ROUNDING, limits, spend


@given(
    st.integers(1, 200),
    st.lists(
        st.tuples(
            st.floats(0.0, 20.0), st.floats(0.0, 1.0), st.none() | st.tuples(st.integers(), st.floats(0, 1))
        ),
        max_size=50,
    ),
)
def test_what_is_given_back_is_as_if_it_had_never_been_taken(capacity, steps):
    """After any steps exactly as much is left as in a bucket that knew from the start what is really spent."""
    ledger, now, takes, open_keys = QuotaLedger(QuotaLimits(tpm=capacity)), 0.0, [], []
    for number, (gap, share, end) in enumerate(steps):
        now += gap
        tokens = max(1, round(share * capacity))
        if ledger.reserve(number, tokens, now) is None:
            takes.append([now, tokens])
            open_keys.append((number, takes[-1]))
        if end is not None and open_keys:
            key, take = open_keys.pop(end[0] % len(open_keys))
            take[1] = round(take[1] * end[1])
            if take[1]:
                ledger.settle(key, take[1], now)
            else:
                ledger.refund(key, now)
    level, at = float(capacity), 0.0
    for moment, amount in [*takes, (now, 0)]:
        level, at = min(capacity, level + (moment - at) * capacity / 60.0) - amount, moment
    left = ledger.remaining(now)["tpm"]
    assert abs(left - max(0.0, level)) < 1.0 + ROUNDING


def test_a_long_busy_time_stays_cheap_and_gives_back_nearly_all():
    """However many reservations are open: never too much comes back, and at most a few percent too little."""
    ledger, takes, waiting = QuotaLedger(QuotaLimits(tpm=1000)), [], []
    for number in range(2000):
        now = number * 0.1
        if ledger.reserve(number, 1 + number % 97, now) is None:
            takes.append([now, 1 + number % 97])
            waiting.append((number, takes[-1]))
        while len(waiting) > 30 + number % 40:
            key, take = waiting.pop((number * 7) % len(waiting))
            take[1] = take[1] // 5
            ledger.settle(key, take[1], now)
    level, at = 1000.0, 0.0
    for moment, amount in [*takes, (now, 0)]:
        level, at = min(1000.0, level + (moment - at) * 1000 / 60.0) - amount, moment
    left = ledger.remaining(now)["tpm"]
    assert level - 60 <= left <= level
    assert len(ledger._tokens.peaks) < 200


def test_many_reservations_at_once_are_remembered_briefly():
    """What is kept of a bucket's past does not grow with their number."""
    ledger = QuotaLedger(QuotaLimits(tpm=1000))
    for number in range(900):
        assert ledger.reserve(number, 1, 0.0) is None
    assert len(ledger._tokens.peaks) < 200
    for number in range(900):
        ledger.refund(number, 0.0)
    assert 900 <= ledger.remaining(0.0)["tpm"] <= 1000


# --- what a refusal says ---


@given(limits, st.floats(0.0, 2 * DAY), st.integers(0, 40), st.integers(0, 100))
def test_a_refusal_is_over_when_it_says_and_not_before(limits, now, count, tokens):
    """Who comes back at `not_before` finds room under that limit; a moment earlier there was none."""
    ledger = QuotaLedger(limits)
    spend(ledger, count, now, tokens=7)
    for _ in range(4):
        refusal = ledger.reserve("next", tokens, now)
        if refusal is None:
            break
        assert refusal.limit in vars_of(limits)
        early = copy.deepcopy(ledger).reserve("next", tokens, (now + refusal.not_before) / 2)
        if refusal.not_before - now > 0.01:
            assert early is not None
        before, now = refusal, refusal.not_before + 0.001
        after = ledger.reserve("next", tokens, now)
        assert after is None or after.limit != before.limit
    else:
        pytest.fail("each of the four limits can refuse only once")


def vars_of(limits):
    return {name for name in QuotaLimits.__slots__ if getattr(limits, name, None) is not None}


def test_each_limit_refuses_under_its_own_name():
    """With the moment at which the hour, the day or the bucket has room again."""
    refusals = {}
    for name in ("requests_per_hour", "requests_per_day", "rpm", "tpm"):
        ledger = QuotaLedger(QuotaLimits(**{name: 2}))
        assert len(spend(ledger, 5, 3700.0)) == 2
        refusals[name] = ledger.reserve("more", 1, 3700.0)
    assert {name: refusal.limit for name, refusal in refusals.items()} == {name: name for name in refusals}
    moments = {name: refusal.not_before for name, refusal in refusals.items()}
    assert moments == {"requests_per_hour": 7200.0, "requests_per_day": DAY, "rpm": 3730.0, "tpm": 3730.0}


def test_a_refusal_takes_nothing():
    """A request that one limit refuses does not count under the others."""
    ledger = QuotaLedger(QuotaLimits(requests_per_hour=10, requests_per_day=20, rpm=10, tpm=100))
    assert ledger.reserve("a", 100, 0.0) is None
    assert ledger.reserve("b", 50, 0.0).limit == "tpm"
    assert ledger.remaining(0.0) == {"requests_per_hour": 9, "requests_per_day": 19, "rpm": 9, "tpm": 0}


def test_without_limits_everything_is_granted():
    """And there is nothing to report; reservations are counted all the same."""
    ledger = QuotaLedger(QuotaLimits())
    assert len(spend(ledger, 100, 0.0, tokens=10**9)) == 100
    assert ledger.remaining(0.0) == {}
    assert ledger.outstanding == 100


# --- sizes ---


def test_a_request_bigger_than_the_bucket_is_served_when_it_is_full():
    """It would wait for ever otherwise; what it really took is paid off before the next one goes."""
    ledger = QuotaLedger(QuotaLimits(tpm=100))
    assert ledger.reserve("small", 1, 0.0) is None
    refusal = ledger.reserve("huge", 1000, 0.0)
    assert refusal.not_before == pytest.approx(0.6)
    assert ledger.reserve("huge", 1000, 0.7) is None
    ledger.settle("huge", 300, 0.7)
    assert ledger.remaining(0.7) == {"tpm": 0}
    assert ledger.reserve("next", 1, 0.7).not_before == pytest.approx(0.7 + 201 * 0.6)


def test_a_huge_request_that_was_not_carried_out_gives_back_what_it_took():
    """The bucket's worth, not its own."""
    ledger = QuotaLedger(QuotaLimits(tpm=100))
    assert ledger.reserve("huge", 1000, 0.0) is None
    ledger.refund("huge", 0.0)
    assert ledger.remaining(0.0) == {"tpm": 100}


def test_settling_gives_back_the_rest_of_the_worst_case():
    """And keeps the request itself: it was carried out."""
    ledger = QuotaLedger(QuotaLimits(requests_per_hour=5, rpm=5, tpm=100))
    ledger.reserve("a", 90, 0.0)
    ledger.settle("a", 20, 0.0)
    assert ledger.remaining(0.0) == {"requests_per_hour": 4, "rpm": 4, "tpm": 80}


@pytest.mark.parametrize("tpm", [None, 100])
def test_no_number_of_tokens_is_too_large(tpm):
    """Asked for or counted: it is a large number, and not the end of the ledger."""
    ledger, huge = QuotaLedger(QuotaLimits(tpm=tpm)), 10**400
    assert ledger.reserve("a", huge, 0.0) is None
    ledger.settle("a", huge, 0.0)
    assert ledger.outstanding == 0
    assert (ledger.reserve("b", huge, 1.0) is None) is (tpm is None)


# --- later, and earlier ---


@pytest.mark.parametrize("name", ["requests_per_hour", "requests_per_day", "rpm", "tpm"])
def test_a_refund_in_a_later_window_makes_no_new_quota(name):
    """What was reserved in another hour, day or fill of the bucket is gone with it."""
    ledger = QuotaLedger(QuotaLimits(**{name: 3}))
    later = DAY + 10.0
    old = spend(ledger, 3, 10.0)
    new = spend(ledger, 3, later)
    assert (len(old), len(new)) == (3, 3)
    for key in old:
        ledger.refund(key, later)
    assert ledger.remaining(later) == {name: 0}
    for key in new:
        ledger.refund(key, later)
    assert ledger.remaining(later) == {name: 3}


def test_a_refund_into_a_bucket_that_is_full_again_is_lost():
    """The time in which it would have been used has passed."""
    ledger = QuotaLedger(QuotaLimits(rpm=10))
    old = spend(ledger, 5, 0.0)
    assert len(spend(ledger, 9, 29.9)) == 9
    for key in old:
        ledger.refund(key, 29.9)
    assert ledger.remaining(29.9) == {"rpm": 1}


@pytest.mark.parametrize("name", ["requests_per_hour", "requests_per_day", "rpm", "tpm"])
def test_a_clock_that_is_set_back_a_little_makes_and_loses_nothing(name):
    """Around the boundary of a window too: the later window stays, and refunds reach it."""
    ledger = QuotaLedger(QuotaLimits(**{name: 3}))
    assert len(spend(ledger, 2, DAY + 5.0)) == 2
    before = spend(ledger, 5, DAY - 5.0)
    assert len(before) == 1
    assert spend(ledger, 5, DAY + 5.0 + 1e-9) == []
    ledger.refund(before[0], DAY - 4.0)
    assert len(spend(ledger, 5, DAY + 5.0 + 2e-9)) == 1


@pytest.mark.parametrize("name", ["requests_per_hour", "requests_per_day", "rpm", "tpm"])
def test_a_clock_that_had_been_years_ahead_blocks_nobody_for_years(name):
    """Set right again, it makes no new quota at once, and the next window begins in its time."""
    ledger, ahead = QuotaLedger(QuotaLimits(**{name: 3})), 14 * 365 * DAY
    ahead_keys = spend(ledger, 3, ahead + 1.0)
    assert len(ahead_keys) == 3
    refusal = ledger.reserve("next", 1, 10.0)
    assert refusal.not_before <= DAY
    assert len(spend(ledger, 5, DAY + 1.0)) == 3


@pytest.mark.parametrize(
    ("limits", "tokens", "last"),
    [
        (QuotaLimits(requests_per_hour=2, requests_per_day=2), 1, DAY),
        (QuotaLimits(rpm=2, tpm=100), 100, MINUTE),
        (QuotaLimits(requests_per_hour=2, rpm=2), 1, HOUR),
    ],
)
def test_who_comes_back_when_it_is_told_is_sent_away_by_no_other_limit(
    limits: QuotaLimits, tokens: int, last: float
) -> None:
    """The limit that lasts longest is the one to name."""
    ledger = QuotaLedger(limits)
    for key in range(2):
        assert ledger.reserve(key, 50, 0.0) is None
    refusal = ledger.reserve("next", tokens, 0.0)
    assert refusal is not None
    assert refusal.not_before == last
    assert ledger.reserve("next", tokens, last) is None


def test_a_clock_that_was_set_back_is_part_of_what_there_is_to_wait() -> None:
    """Nothing comes back to a bucket before the time at which it was looked at last."""
    ledger = QuotaLedger(QuotaLimits(rpm=1))
    assert ledger.reserve("first", 1, 1000.0) is None
    refusal = ledger.reserve("next", 1, 970.0)
    assert refusal is not None
    assert refusal.not_before == 1060.0
    assert ledger.reserve("next", 1, refusal.not_before) is None
