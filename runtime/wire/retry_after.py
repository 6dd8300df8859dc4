"""When a provider says to come back, in every form that was seen; what is malformed is ignored.

`now` is an argument, in wall-clock seconds since the epoch, and answers are seconds from then.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

# Above this a plain number is a point in time, not a span; below it no provider's epoch lies.
_EPOCH_FROM = 1e9
_EPOCH_MS_FROM = 1e12
# A wait of more than a year is a garbled value.
_LONGEST = 366 * 86400.0

_NUMBER = re.compile(r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d{1,3})?", re.ASCII)
_SPAN = re.compile(
    r"(?=[\d.])(?:(?P<d>[\d.]+)d)?(?:(?P<h>[\d.]+)h)?(?:(?P<m>[\d.]+)m(?!s))?(?:(?P<s>[\d.]+)s)?"
    r"(?:(?P<ms>[\d.]+)ms)?",
    re.ASCII,
)
_UNITS = {"d": 86400.0, "h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
_PROSE = re.compile(
    r"(?:wait|retry after|try again (?:in|after)|retry in|available in)\s+(?:for\s+)?(?P<n>\d+(?:\.\d+)?)\s*"
    r"(?P<unit>milliseconds?|ms|seconds?|secs?|minutes?|mins?|hours?|days?|[dhms](?![a-z]))"
    r"(?P<rest>(?:\d+(?:\.\d+)?(?:ms|[hms]))*)",
    re.IGNORECASE | re.ASCII,
)


def parse_span(text: str) -> float | None:
    """Seconds of "12ms", "7.66s", "6m0s", "1h2m3s" or "1d"; None when it is not such a span."""
    match = _SPAN.fullmatch(text)
    if match is None:
        return None
    total = 0.0
    for unit, factor in _UNITS.items():
        number = match[unit]
        if number is not None:
            try:
                total += float(number) * factor
            except ValueError:
                return None
    return _sane(total)


def parse_moment(text: str, now: float) -> float | None:
    """Seconds from `now` of a plain number, an epoch, a span, an RFC 3339 time or an HTTP date.

    A moment in the past is 0.0. None for what is malformed, negative, not finite or more than a year off.
    """
    text = text.strip()
    if len(text) > 64 or not text:
        return None
    if _NUMBER.fullmatch(text):
        number = float(text)
        if number >= _EPOCH_MS_FROM:
            return _sane(max(0.0, number / 1000 - now))
        if number >= _EPOCH_FROM:
            return _sane(max(0.0, number - now))
        return _sane(number)
    span = parse_span(text)
    if span is not None:
        return span
    at = parse_date(text)
    return None if at is None else _sane(max(0.0, at - now))


def parse_date(text: str) -> float | None:
    """The epoch seconds of an RFC 3339 time or an HTTP date; None when it is neither."""
    try:
        moment = datetime.fromisoformat(text) if text[:4].isdecimal() else parsedate_to_datetime(text)
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        return moment.timestamp()
    except (ValueError, TypeError, IndexError, OverflowError):
        return None


def retry_after(headers: Mapping[str, str], now: float) -> float | None:
    """Seconds after which the response's headers say to try again, or None.

    `retry-after-ms` wins over `retry-after`, which wins over the rate-limit resets. Of several resets the
    latest of those whose remainder is used up counts; when none is known to be, the earliest.

    Args:
        headers: with lower-case names.
        now: wall-clock seconds since the epoch.
    """
    exact = headers.get("retry-after-ms", "").strip()
    if len(exact) <= 64 and _NUMBER.fullmatch(exact):
        delay = _sane(float(exact) / 1000)
        if delay is not None:
            return delay
    delay = parse_moment(headers.get("retry-after", ""), now)
    if delay is not None:
        return delay
    used_up: list[float] = []
    others: list[float] = []
    for name, value in headers.items():
        if "ratelimit" not in name or "reset" not in name:
            continue
        reset = parse_moment(value, now)
        if reset is not None:
            remaining = headers.get(name.replace("reset", "remaining"), "").strip()
            (used_up if remaining in ("0", "0.0") else others).append(reset)
    spare = parse_moment(headers.get("x-ratelimit-timeremaining", ""), now)
    if spare is not None:
        others.append(spare)
    return max(used_up) if used_up else min(others, default=None)


def retry_after_in_text(text: str) -> float | None:
    """Seconds of "Please wait 5631 seconds", "try again in 6m0s" and their like in a message, or None."""
    match = _PROSE.search(text)
    if match is None:
        return None
    unit = match["unit"].lower()
    if unit.startswith(("ms", "milli")):
        unit = "ms"
    total = float(match["n"]) * _UNITS[unit if unit == "ms" else unit[0]]
    if match["rest"]:
        total += parse_span(match["rest"].lower()) or 0.0
    return _sane(total)


def _sane(seconds: float) -> float | None:
    # NaN fails both comparisons.
    return seconds if 0.0 <= seconds <= _LONGEST else None
