"""JSON in the text of a model: strict where the whole text is meant, and found where prose stands around it.

Nothing is repaired: of what is broken or cut off no part is taken for the whole.
"""

from __future__ import annotations

import json
import re
from typing import Any, NoReturn

_OPENING = re.compile(r"[{\[]")
_MARK = re.compile(r'"(?:\\.|[^"\\])*+(?:"|\Z)|[{}\[\]]', re.DOTALL)


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")


_decoder = json.JSONDecoder(parse_constant=_refuse_constant)


def parse_json(text: str) -> Any:
    """The value of a text that is JSON and nothing else; NaN and Infinity are not.

    Raises:
        ValueError: it is not, or it is nested too deeply to be read.
    """
    try:
        return _decoder.decode(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def find_json(text: str) -> str | None:
    """The first object or array in a text, as it is written there; None when there is none.

    Passed over are braces and brackets of prose (`{name}`, `[see below]`), and as a whole what begins as JSON and
    is broken or cut off. What stands in prose as often, `{}`, `[]` and `[1]`, is taken only when nothing else is
    there.
    """
    doubtful: str | None = None
    at = 0
    while (opening := _OPENING.search(text, at)) is not None:
        start = opening.start()
        try:
            value, at = _decoder.raw_decode(text, start)
        except json.JSONDecodeError as error:
            prose = not text[start + 1 : error.pos].strip()
            at = start + 1 if prose else _end_of(text, start)
        except (ValueError, RecursionError):
            at = _end_of(text, start)
        else:
            if not _is_doubtful(value):
                return text[start:at]
            doubtful = doubtful or text[start:at]
    return doubtful


def _is_doubtful(value: Any) -> bool:
    return not value or (isinstance(value, list) and all(type(item) is int for item in value))


def _end_of(text: str, start: int) -> int:
    """Where what opens at `start` is closed, whatever stands in it; the end of the text when it never is."""
    depth = 0
    for mark in _MARK.finditer(text, start):
        if mark[0] in "{[":
            depth += 1
        elif mark[0] in "}]":
            depth -= 1
            if depth == 0:
                return mark.end()
    return len(text)
