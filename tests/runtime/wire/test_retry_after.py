"""When to come back: every form that a provider was seen to send, and nothing from what is malformed."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from showcaller.runtime.wire.retry_after import (
    parse_moment,
    parse_span,
    retry_after,
    retry_after_in_text,
)

NOW = 1_795_000_000.0  # 2026-11-18 11:06:40 UTC


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "12"}, 12.0),
        ({"retry-after": " 12 "}, 12.0),
        ({"retry-after": "0"}, 0.0),
        ({"retry-after": "1.5"}, 1.5),
        ({"retry-after": "5631"}, 5631.0),
        ({"retry-after": "Wed, 18 Nov 2026 11:07:40 GMT"}, 60.0),
        ({"retry-after": "Wed, 18 Nov 2026 11:05:40 GMT"}, 0.0),
        ({"retry-after": "2026-11-18T11:07:40Z"}, 60.0),
        ({"retry-after-ms": "250"}, 0.25),
        ({"retry-after-ms": "250", "retry-after": "9"}, 0.25),
        ({"retry-after-ms": "soon", "retry-after": "9"}, 9.0),
        ({"x-ratelimit-reset-requests": "12ms"}, 0.012),
        ({"x-ratelimit-reset-requests": "7.66s"}, 7.66),
        ({"x-ratelimit-reset-tokens": "6m0s"}, 360.0),
        ({"x-ratelimit-reset": "1h2m3s"}, 3723.0),
        ({"x-ratelimit-reset": "1795000030"}, 30.0),
        ({"x-ratelimit-reset": "1795000030500"}, 30.5),
        ({"x-ratelimit-reset": "1794999999"}, 0.0),
        ({"anthropic-ratelimit-requests-reset": "2026-11-18T11:06:50+00:00"}, 10.0),
        ({"x-ratelimit-timeremaining": "77"}, 77.0),
        ({"retry-after": "3", "x-ratelimit-reset-requests": "9s"}, 3.0),
        # Of several resets, the latest one that is known to be used up.
        (
            {
                "x-ratelimit-reset-requests": "9s",
                "x-ratelimit-remaining-requests": "0",
                "x-ratelimit-reset-tokens": "40s",
                "x-ratelimit-remaining-tokens": "12",
            },
            9.0,
        ),
        ({"x-ratelimit-reset-requests": "9s", "x-ratelimit-reset-tokens": "4s"}, 4.0),
    ],
)
def test_each_form_gives_its_seconds(headers: dict[str, str], seconds: float | None) -> None:
    """Integers, floats, dates, milliseconds and resets."""
    assert retry_after(headers, NOW) == pytest.approx(seconds)


@pytest.mark.parametrize(
    "value",
    [
        "",
        "-1",
        "-0.5",
        "nan",
        "NaN",
        "inf",
        "1e400",
        "soon",
        "12 parsecs",
        "1.2.3s",
        "s",
        "ms",
        "--3",
        "9" * 70,
        "Wed, 99 Nov 2026 11:07:40 GMT",
        "2026-13-40T00:00:00Z",
        "40000000000000000",
        "٣",
        "+-1",
        "0x10",
        "1_000",
    ],
)
@pytest.mark.parametrize("name", ["retry-after", "retry-after-ms", "x-ratelimit-reset-requests"])
def test_what_is_malformed_is_ignored(name: str, value: str) -> None:
    """Negative, not finite, more than a year or not a time at all: as if it were not there."""
    assert retry_after({name: value}, NOW) is None


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("Rate limit of 10 per 86400s exceeded. Please wait 5631 seconds before retrying.", 5631.0),
        ("Rate limit reached. Please try again in 7.66s. Visit", 7.66),
        ("Please try again in 6m0s.", 360.0),
        ("try again in 120ms", 0.12),
        ("Please retry in 31.4s", 31.4),
        ("Please retry after 20 seconds.", 20.0),
        ("try again in 2 minutes", 120.0),
        ("wait for 1 hour", 3600.0),
        ("come back later", None),
        ("wait 5 monkeys", None),
        ("", None),
    ],
)
def test_a_wait_in_prose_is_found(text: str, seconds: float | None) -> None:
    """GitHub Models, OpenAI and Google say it in the message."""
    assert retry_after_in_text(text) == pytest.approx(seconds)


@given(st.integers(0, 300), st.integers(0, 23), st.integers(0, 59), st.integers(0, 59), st.integers(0, 999))
def test_a_span_is_the_sum_of_its_parts(d: int, h: int, m: int, s: int, ms: int) -> None:
    """The span notation, as Go prints it, with days."""
    assert parse_span(f"{d}d{h}h{m}m{s}s{ms}ms") == pytest.approx(
        d * 86400 + h * 3600 + m * 60 + s + ms / 1000
    )


@given(
    st.dictionaries(
        st.sampled_from(["retry-after", "retry-after-ms", "x-ratelimit-reset", "x-ratelimit-remaining"]),
        st.one_of(st.text(), st.from_regex(r"[0-9.eE:+-]{1,12}[a-zA-Z]{0,2}"), st.floats().map(str)),
    ),
    st.text(),
)
def test_any_text_gives_a_sane_number_or_nothing(headers: dict[str, str], text: str) -> None:
    """Never an exception, never a negative, infinite or year-long wait."""
    for delay in (retry_after(headers, NOW), retry_after_in_text(text), parse_moment(text, NOW)):
        assert delay is None or (math.isfinite(delay) and 0 <= delay <= 366 * 86400)
