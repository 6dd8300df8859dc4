"""Taking secrets out of text: the values that are known, and whatever is shaped like a token.

The known values are a process-wide register: a log record can carry a secret of any runtime.
"""

from __future__ import annotations

import binascii
import json
import re
import threading
from urllib.parse import quote

MASK = "[redacted]"

SHORTEST_SECRET = 6
"""Characters from which a known value is masked; keys like "none" or "x" are placeholders and words."""

MOST_SECRETS = 4096
"""Known spellings kept; past it the oldest goes, so that hourly tokens do not pile up."""

_SHAPES = re.compile(
    r"""
    \b(?:sk|pk|rk|gsk|xai|hf|csk|nvapi|pplx|or)[-_][A-Za-z0-9_\-]{12,}    # OpenAI, Anthropic, Groq, ...
    | \bgh[pousr]_[A-Za-z0-9]{16,}                                          # GitHub
    | \bgithub_pat_[A-Za-z0-9_]{16,}
    | \bAIza[A-Za-z0-9_\-]{20,}                                             # Google
    | \bAKIA[A-Z0-9]{12,}                                                   # AWS
    | \beyJ[A-Za-z0-9_\-]{8,}\.[A-Za-z0-9_\-]{8,}(?:\.[A-Za-z0-9_\-]*)?     # JSON Web Tokens
    """,
    re.VERBOSE,
)
_SCHEMES = re.compile(r"\b(bearer\s+|(?:basic|token)\s+(?=\S*[0-9=]))[A-Za-z0-9._~+/=\-]{6,}", re.IGNORECASE)
_ASSIGNED = re.compile(
    r"""
    (
      (?:api[-_]?key|(?:access|auth)[-_]?token|secret|passw(?:or)?d|signing[-_]?key|authorization) ["']?
      \s*+ [:=] \s*+ (?:(?:bearer|basic|token)\s++)?+ (?:b(?=["']))?+ ["']?+
    )
    (?!\[redacted\]) [^\s"',;&}\])]{6,}
    """,
    re.VERBOSE | re.IGNORECASE,
)
_USERINFO = re.compile(r"(\b[a-z][a-z0-9+.\-]{0,20}://)[^\s/@]+@", re.IGNORECASE)
_QUERY_KEY = re.compile(r"([?&](?:key|token|sig|signature|code|auth)=)[^\s&#\"']+", re.IGNORECASE)

_lock = threading.Lock()
_known: dict[str, None] = {}
_longest_first: tuple[str, ...] = ()


def has_shape_of_secret(text: str) -> bool:
    """Is there in it what is shaped like the tokens that providers hand out?"""
    return _SHAPES.search(text) is not None


def remember_secret(value: str) -> None:
    """Mask this value, and its URL, JSON and base64 spellings, in every text from now on."""
    global _longest_first
    if len(value) < SHORTEST_SECRET or value in _known:
        return
    encoded = value.encode("utf-8", "surrogatepass")
    spellings = {
        value,
        quote(encoded, safe=""),
        quote(encoded),
        json.dumps(value)[1:-1],
        repr(value)[1:-1],
        binascii.b2a_base64(encoded, newline=False).decode(),
    }
    with _lock:
        _known.update(dict.fromkeys(spellings))
        while len(_known) > MOST_SECRETS:
            del _known[next(iter(_known))]
        _longest_first = tuple(sorted(_known, key=len, reverse=True))


def redact(text: str) -> str:
    """The text without known secrets and without what is shaped like one."""
    for value in _longest_first:
        if value in text:
            text = text.replace(value, MASK)
    text = _SHAPES.sub(MASK, text)
    text = _SCHEMES.sub(rf"\1{MASK}", text)
    text = _ASSIGNED.sub(rf"\1{MASK}", text)
    text = _USERINFO.sub(rf"\1{MASK}@", text)
    return _QUERY_KEY.sub(rf"\1{MASK}", text)
