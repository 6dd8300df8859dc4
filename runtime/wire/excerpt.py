"""What somebody else wrote, as one short printable line of an error text, without secrets."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from urllib.parse import quote

from showcaller.actors.redaction import MASK, redact

# A shorter "secret" is a placeholder such as "x"; masking it would only garble the text.
_SHORTEST = 4
# Masking takes time; so much of a text has all that is shown of it.
_LONGEST = 8192
_SPACES = re.compile(r"\s+")
_CUT_WORD = re.compile(r"(?<!\S)\S+\Z")


def excerpt(text: str, secrets: Iterable[str] = (), *, limit: int = 300) -> str:
    """One line of at most `limit` characters.

    The given secrets are masked, also where they are JSON-escaped or percent-encoded, and with them whatever
    `showcaller.actors.redaction` knows or takes for a secret; all before anything is cut, but for the end of a very
    long text, whose last word goes with it: it may be half a secret.
    """
    if len(text) > _LONGEST:
        text = _CUT_WORD.sub("", text[:_LONGEST])
    line = "".join(c for c in _SPACES.sub(" ", text) if c.isprintable())
    for secret in sorted(secrets, key=len, reverse=True):
        if len(secret) >= _SHORTEST:
            for form in {secret, json.dumps(secret)[1:-1], quote(secret, safe=""), quote(secret)}:
                line = line.replace(form, MASK)
    line = redact(line).strip()
    return line if len(line) <= limit else f"{line[: limit - 1]}…"
