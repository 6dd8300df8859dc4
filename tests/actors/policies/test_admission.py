"""Admission: what is expected of the wait is measured while somebody waits, and forgotten soon."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from showcaller.actors.enums import RequestPriority
from showcaller.actors.policies.admission import FRESH, WINDOW, Admission, Outlook

LOW, NORMAL, HIGH, CRITICAL = RequestPriority
NONE_WAIT = (0, 0, 0, 0)


def let_pass(admission, now, *, waiting, left, seconds, gap=0.1):
    """Somebody waits all the time, and `left` of them leave at each look; the time after that."""
    for _ in range(round(seconds / gap)):
        for _ in range(left):
            admission.arrived()
        now += gap
        admission.look(waiting, now)
    return now


def busy(rate=10, seconds=3.0, waiting=20):
    """An admission that has seen so many leave a second while somebody waited, and its time."""
    admission = Admission()
    for _ in range(waiting):
        admission.arrived()
    admission.look(waiting, 0.0)
    return admission, let_pass(admission, 0.0, waiting=waiting, left=rate // 10, seconds=seconds)


def test_the_rate_is_how_many_leave_a_second_while_somebody_waits():
    """By all ways of leaving: what makes room makes room."""
    admission, now = busy(rate=20)
    outlook = admission.outlook((20, 0, 0, 0), now)
    assert outlook is not None
    assert outlook.rate == pytest.approx(20.0)


def test_without_evidence_nothing_is_expected():
    """Not at the beginning, not when it was short, and not when hardly anybody left."""
    assert Admission().outlook(NONE_WAIT, 0.0) is None
    assert busy(seconds=0.9)[0].outlook(NONE_WAIT, 1.0) is None
    admission, now = busy(rate=0)
    assert admission.outlook(NONE_WAIT, now) is None


def test_times_in_which_nobody_waits_do_not_count():
    """Little traffic is no sign of a slow backend."""
    admission, now = busy(rate=20, waiting=0)
    for _ in range(40):
        now += 0.1
        admission.arrived()
        admission.look(0, now)
    outlook = admission.outlook(NONE_WAIT, now)
    assert outlook is None
    admission, now = busy(rate=20)
    admission.look(0, now)
    assert admission.outlook(NONE_WAIT, now + 4.0).rate == pytest.approx(80 / 3.0)


def test_times_in_which_nobody_may_leave_count():
    """Who comes must expect more of them."""
    admission, now = busy(rate=20)
    now = let_pass(admission, now, waiting=20, left=0, seconds=3.0)
    assert admission.outlook(NONE_WAIT, now).rate == pytest.approx(10.0)


def test_who_comes_back_has_not_left():
    """Half of those that leave fail and wait again: the queue moves half as quickly."""
    admission, now = busy(rate=10)
    for _ in range(100):
        now += 0.1
        admission.arrived()
        # Two have left, and one of them is back.
        admission.look(20, now)
    assert admission.outlook(NONE_WAIT, now).rate == pytest.approx(10.0)


def test_what_is_older_than_the_window_is_forgotten():
    """A slow minute is over ten seconds later, and a quick one too."""
    admission, now = busy(rate=10)
    admission.answered(1.0, now)
    assert admission.outlook(NONE_WAIT, now + WINDOW - 3.0) is not None
    assert admission.outlook(NONE_WAIT, now + WINDOW + 0.1) is None
    now = let_pass(admission, now, waiting=20, left=4, seconds=WINDOW + 1.0)
    outlook = admission.outlook(NONE_WAIT, now)
    assert outlook is not None
    assert outlook.rate == pytest.approx(40.0)
    assert outlook.usual == 0.0


@given(st.lists(st.floats(0.01, 100.0), min_size=1, max_size=100))
def test_the_usual_time_is_one_that_few_exceed(times):
    """One in twenty of the last 64."""
    admission, now = busy()
    for time in times:
        admission.answered(time, now)
    outlook = admission.outlook(NONE_WAIT, now)
    last = times[-64:]
    assert outlook is not None
    assert outlook.usual in last
    assert sum(time > outlook.usual for time in last) <= 0.05 * len(last)
    assert sum(time >= outlook.usual for time in last) >= 0.05 * len(last)


def test_answers_leave_the_window():
    """A long one counts no longer than it is true."""
    admission, now = busy()
    admission.answered(50.0, now - WINDOW)
    admission.answered(1.0, now + 0.1)
    outlook = admission.outlook(NONE_WAIT, now + 0.1)
    assert outlook is not None
    assert outlook.usual == 1.0


# --- the outlook ---


def outlook(waiting=(4, 3, 2, 1), rate=2.0, usual=1.0):
    return Outlook(waiting, rate, usual, 100.0)


@pytest.mark.parametrize(("priority", "ahead"), [(LOW, 10), (NORMAL, 6), (HIGH, 3), (CRITICAL, 1)])
def test_ahead_are_those_of_its_class_and_above(priority, ahead):
    """So a CRITICAL request is not refused because of others."""
    assert outlook().ahead(priority) == ahead


@given(
    st.tuples(*[st.integers(0, 1000)] * 4),
    st.floats(0.01, 100.0),
    st.floats(0.0, 100.0),
    st.sampled_from(RequestPriority),
    st.floats(0.1, 1000.0),
)
def test_a_refusal_is_by_arithmetic(waiting, rate, usual, priority, timeout):
    """With nobody ahead there is none; a longer timeout is never worse; who comes back as told is in time."""
    there = outlook(waiting, rate, usual)
    refusal = there.refusal("fast", priority, timeout, 100.0)
    if refusal is None:
        assert there.refusal("fast", priority, 2 * timeout, 100.0) is None
        return
    assert sum(waiting[priority:]) > 0
    wait = (sum(waiting[priority:]) + 1) / rate
    assert refusal.retry_after == pytest.approx(wait + min(usual, 0.7 * timeout) - timeout)
    assert refusal.retry_after > 0


def test_a_small_request_is_not_refused_for_the_length_of_others_answers():
    """Answers take a minute: with a timeout of 10 s and a wait of a second it may well be a short one."""
    assert outlook((0, 1, 0, 0), rate=2.0, usual=60.0).refusal("fast", NORMAL, 10.0, 100.0) is None


def test_an_old_outlook_refuses_nobody():
    """What it was made by may be stuck."""
    there = outlook(rate=0.001)
    assert there.refusal("fast", LOW, 10.0, 100.0 + FRESH) is not None
    assert there.refusal("fast", LOW, 10.0, 100.1 + FRESH) is None


def test_a_refusal_says_how_many_wait_and_how_quickly_they_leave():
    """And what can be done."""
    refusal = outlook().refusal("fast", NORMAL, 2.0, 100.0)
    assert str(refusal) == (
        "6 requests of priority NORMAL or above wait for 'fast', of which 2 leave a second, and an answer takes 1 s; "
        "with a timeout of 2 s it would be in vain: try again later, raise the timeout, or add a backend"
    )
