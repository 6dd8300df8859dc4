"""What each finished attempt says about how quick a backend is."""

from __future__ import annotations

import pytest
from attrs import define
from hypothesis import given
from hypothesis import strategies as st

from showcaller.actors.policies.backend_latency import (
    FIRST_TOKENS,
    LENGTH_KEPT,
    PENALTY,
    BackendLatency,
)
from showcaller.actors.policies.quickest_answer import LEAST, MARGIN

TTFT, INTERVAL = 0.4, 0.0125
ROUNDING = 1e-9


@define(eq=False)
class Attempt:
    """One that is under way."""

    key: int = 1
    is_silent: bool = True


def plain(latency: BackendLatency) -> float | None:
    """What is believed of plain answers."""
    return latency.of(stream=False, now=0.0)


def stream(latency: BackendLatency) -> float | None:
    """What is believed of streams."""
    return latency.of(stream=True, now=0.0)


def test_streams_and_plain_answers_are_known_apart() -> None:
    """One is seconds to the first token, the other seconds for a token."""
    latency = BackendLatency()
    latency.began(0.4, 0.0)
    assert (stream(latency), plain(latency)) == (0.4, None)
    latency.answered(1.4, 38, 0.0)
    assert (stream(latency), plain(latency)) == (0.4, 1.4 / 70)


@given(st.integers(0, 4000), st.integers(0, 4000))
def test_the_length_of_an_answer_says_nothing_about_its_backend(one: int, other: int) -> None:
    """For a backend whose first token takes as long as 32 others; one that is not quite so hardly differs."""
    believed = []
    for tokens in (one, other):
        latency = BackendLatency()
        latency.answered(TTFT + tokens * INTERVAL, tokens, 0.0)
        believed.append(plain(latency))
    assert believed[0] == pytest.approx(believed[1])
    assert pytest.approx(FIRST_TOKENS * INTERVAL) == TTFT


@given(st.integers(0, 4000), st.booleans())
def test_what_an_answer_takes_at_least_is_that_of_its_first_token(tokens: int, streams: bool) -> None:
    """Whatever else it said; a stream tells it, and of a plain answer it is its share."""
    latency = BackendLatency()
    assert latency.least(0.0) is None
    assert not latency.may_take(1000.0)
    for _ in range(LEAST):
        if streams:
            latency.began(TTFT + INTERVAL, 0.0)
        else:
            latency.answered(TTFT + tokens * INTERVAL, tokens, 0.0)
    least = MARGIN * (TTFT + INTERVAL)
    assert latency.least(0.0) == pytest.approx(least)
    assert [latency.may_take(least * part) for part in (0.99, 1.01)] == [False, True]


def test_a_failure_is_slow_however_quick_it_came() -> None:
    """For both kinds, and so much the more when it took its time."""
    quick, slow = BackendLatency(), BackendLatency()
    quick.failed(0.01, 0.0)
    slow.failed(20.0, 0.0)
    assert (stream(quick), plain(quick)) == (PENALTY, PENALTY / FIRST_TOKENS)
    assert (stream(slow), plain(slow)) == (20.0, 20.0 / FIRST_TOKENS)


def test_a_failure_makes_a_slow_backend_no_quicker() -> None:
    """One that takes longer than a failure counts as is not better for having failed."""
    latency = BackendLatency()
    latency.began(30.0, 0.0)
    latency.failed(0.1, 100.0)
    latency.began(30.0, 200.0)
    latency.failed(0.1, 200.0)
    assert latency.of(stream=True, now=200.0) == 30.0


def test_a_caller_who_waited_in_vain_says_how_long_at_least() -> None:
    """For the kind of answer that was waited for, and only when that is news."""
    latency = BackendLatency()
    latency.gave_up(3.0, 0.0, stream=True)
    assert (stream(latency), plain(latency)) == (3.0, None)
    latency.gave_up(3.2, 0.0, stream=False)
    latency.gave_up(1.0, 0.0, stream=True)
    assert (stream(latency), plain(latency)) == (3.0, 0.1)


@pytest.mark.parametrize(
    ("stream", "silent_for", "believed"),
    [
        (True, 0.0, 0.4),
        (True, 0.3, 0.4),
        (True, 3.0, 3.0),
        (False, 0.0, 0.0125),
        (False, 1.0, 0.0125),
        (False, 64.0, 0.5),
    ],
)
def test_no_backend_is_quicker_than_it_is_silent(stream: bool, silent_for: float, believed: float) -> None:
    """A plain answer of 96 tokens was the longest: so long, and with what precedes it, one may be silent."""
    latency, now = BackendLatency(), 0.0
    latency.began(0.4, now)
    latency.answered(1.6, 96, now)
    attempt = Attempt()
    latency.sent(attempt, now - silent_for, stream=stream)
    assert latency.of(stream=stream, now=now) == pytest.approx(believed)
    assert latency.of(stream=not stream, now=now) == (0.0125 if stream else 0.4)
    attempt.is_silent = False
    assert latency.of(stream=stream, now=now) == latency.learnt(stream=stream, now=now)


def test_an_attempt_that_has_ended_is_silent_no_more() -> None:
    """What it has said is told apart from that."""
    latency, attempt = BackendLatency(), Attempt()
    latency.began(0.4, 0.0)
    latency.sent(attempt, -9.0, stream=True)
    assert stream(latency) == 9.0
    latency.ended(attempt, stream=True)
    assert stream(latency) == 0.4


def test_who_is_not_known_stays_unknown_while_it_is_silent() -> None:
    """It comes after everyone else anyway, as long as its first attempt is under way."""
    latency = BackendLatency()
    latency.sent(Attempt(), -60.0, stream=True)
    assert stream(latency) is None


def test_the_longest_answer_is_forgotten_by_the_others() -> None:
    """Not by time, in which nothing may have come."""
    latency = BackendLatency()
    latency.answered(10.0, 1000, 0.0)
    assert latency.after_silence(10.32, stream=False) == pytest.approx(0.01)
    for number in range(69):
        latency.answered(1.0, 10, float(number))
    half = pytest.approx(1.0 / (FIRST_TOKENS + 1000 * LENGTH_KEPT**69))
    assert latency.after_silence(1.0, stream=False) == half
    for number in range(1000):
        latency.answered(1.0, 10, float(number))
    assert latency.after_silence(1.0, stream=False) == pytest.approx(1.0 / (FIRST_TOKENS + 10))


def test_who_is_cancelled_says_how_long_it_was_silent_at_least() -> None:
    """Of a backend that is not known it says nothing: it could be cancelled at once."""
    latency = BackendLatency()
    latency.cancelled(0.001, 0.0, stream=True)
    latency.cancelled(0.001, 0.0, stream=False)
    assert (stream(latency), plain(latency)) == (None, None)
    latency.began(0.4, 0.0)
    latency.answered(1.6, 96, 0.0)
    latency.cancelled(0.1, 0.0, stream=True)
    latency.cancelled(0.1, 0.0, stream=False)
    assert (stream(latency), plain(latency)) == (0.4, 0.0125)
    latency.cancelled(3.0, 0.0, stream=True)
    latency.cancelled(64.0, 0.0, stream=False)
    assert (stream(latency), plain(latency)) == (3.0, 0.5)


seconds = st.floats(0.001, 100.0)
events = st.one_of(
    st.tuples(st.just("began"), seconds),
    st.tuples(st.just("answered"), seconds, st.integers(0, 4000)),
    st.tuples(st.sampled_from(["failed", "gave_up", "cancelled"]), seconds),
)


def tell(latency: BackendLatency, event: tuple[str, float, int] | tuple[str, float], now: float) -> None:
    """One event, of streams as of plain answers where it may be either."""
    name, *arguments = event
    if name in ("gave_up", "cancelled"):
        for kind in (True, False):
            getattr(latency, name)(*arguments, now, stream=kind)
    else:
        getattr(latency, name)(*arguments, now)


@given(st.lists(st.tuples(events, st.floats(0.0, 30.0)), max_size=20), seconds)
def test_who_does_not_answer_is_never_the_quicker_for_it(
    history: list[tuple[tuple[str, float], float]], silent_for: float
) -> None:
    """Whatever was seen before: no failure lowers what is believed, and no silence does."""
    latency, now = BackendLatency(), 0.0
    for event, pause in history:
        now += pause
        before = [latency.of(stream=kind, now=now) for kind in (True, False)]
        tell(latency, event, now)
        after = [latency.of(stream=kind, now=now) for kind in (True, False)]
        if event[0] in ("failed", "gave_up", "cancelled"):
            for old, new in zip(before, after, strict=True):
                assert old is None or (new is not None and new >= old * (1 - ROUNDING))
    for kind in (True, False):
        learnt = latency.of(stream=kind, now=now)
        latency.sent(Attempt(), now - silent_for, stream=kind)
        believed = latency.of(stream=kind, now=now)
        assert (believed is None) == (learnt is None)
        if believed is not None and learnt is not None:
            expected = max(learnt, latency.after_silence(silent_for, stream=kind))
            assert believed == pytest.approx(expected)
