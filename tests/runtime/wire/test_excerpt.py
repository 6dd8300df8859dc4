"""Excerpts: short, printable, and without secrets."""

from __future__ import annotations

import json
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from showcaller.runtime.wire.excerpt import excerpt

SECRET = 'p4ss/w"ord+of=mine'


@pytest.mark.parametrize("echo", [SECRET, json.dumps(SECRET), quote(SECRET, safe=""), quote(SECRET)])
def test_a_given_secret_is_masked_in_every_spelling(echo: str) -> None:
    """Plain, JSON-escaped and percent-encoded."""
    line = excerpt(f"the key {echo} is wrong", [SECRET])
    assert "[redacted]" in line
    assert "p4ss" not in line
    assert line.endswith("is wrong")


def test_the_longest_secret_is_masked_first() -> None:
    """A secret that begins another leaves nothing of the other behind."""
    assert excerpt("abcd-efgh", ["abcd", "abcd-efgh"]) == "[redacted]"


def test_a_placeholder_does_not_garble_the_text() -> None:
    """A "key" of one letter is no secret."""
    assert excerpt("axle fix", ["x"]) == "axle fix"


def test_what_is_shaped_like_a_key_is_masked_unasked() -> None:
    """A provider may echo a key that is not ours to know."""
    assert "abcdefghij" not in excerpt("Incorrect API key: sk-abcdefghijklmnop0123")


def test_a_secret_is_masked_before_the_cut() -> None:
    """Half a secret at the end of an excerpt is a leak."""
    assert "p4ss" not in excerpt("x" * 290 + SECRET, [SECRET])


@pytest.mark.parametrize("before", ["", " " * 8190, "word " * 1638])
def test_a_secret_that_is_cut_in_a_very_long_text_is_not_quoted(before: str) -> None:
    """However much of the text before it is masked or is white space."""
    secret = "Zq7+" * 150
    assert "Zq7" not in excerpt(f"{before}{secret * 40} end", [secret])


def test_a_very_long_text_takes_no_longer_than_its_beginning() -> None:
    """Masking holds up every thread."""
    assert excerpt("word " * 10_000_000) == excerpt("word " * 1000)


@given(st.text(), st.integers(1, 400))
def test_it_is_one_printable_line_within_the_limit(text: str, limit: int) -> None:
    """No control character of somebody else's reaches a terminal or a log."""
    line = excerpt(text, limit=limit)
    assert len(line) <= limit
    assert line.isprintable()


@given(st.text(), st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=4), st.text())
def test_no_secret_survives(before: str, secret: str, after: str) -> None:
    """Whatever stands around it."""
    assert secret not in excerpt(f"{before}{secret}{after}", [secret]).replace("[redacted]", "\0")
