"""What each finished attempt says about how quick a backend is."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from showcaller.actors.policies.backend_latency import FIRST_TOKENS, PENALTY, BackendLatency

TTFT, INTERVAL = 0.4, 0.0125


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
