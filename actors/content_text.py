"""The text in a message's content, which is a string or, with some backends, a list of parts."""

from __future__ import annotations

from typing import Any


def text_of(content: Any) -> str:
    """The text of a message's or delta's content; without the parts that are no text, such as thoughts."""
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        return "".join(
            part["text"] for part in content if isinstance(part, dict) and isinstance(part.get("text"), str)
        )
    return ""
