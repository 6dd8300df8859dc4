"""Markdown as models write it: its code blocks, and its text without the marks. Read by markdown-it-py (CommonMark)."""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING

from attrs import frozen

if TYPE_CHECKING:
    from collections.abc import Sequence

    from markdown_it import MarkdownIt
    from markdown_it.token import Token

_BREAKS = re.compile(r"\n{3,}")


@frozen
class CodeBlock:
    """A code block.

    Attributes:
        code: without the line break at its end.
        language: the first word behind the fence, in lower case; "" when there is none.
    """

    code: str
    language: str = ""


@cache
def _reader() -> MarkdownIt:
    from markdown_it import MarkdownIt  # slow to import, and needed by few

    return MarkdownIt("commonmark").enable("table")


def find_code(text: str) -> list[CodeBlock]:
    """The fenced blocks in their order, also in lists and quotes; a fence that is never closed reaches to the end."""
    if "```" not in text and "~~~" not in text:
        return []
    return [
        CodeBlock(token.content.removesuffix("\n"), (token.info.split() or [""])[0].lower())
        for token in _reader().parse(text)
        if token.type == "fence"
    ]


def to_text(text: str) -> str:
    """The text without the marks of Markdown.

    Links keep their text and images their description, lists keep a dash or their number, the cells of a table
    are parted by tabs, and code and HTML stay as they are.
    """
    parts: list[str] = []
    lists: list[int | None] = []
    for token in _reader().parse(text):
        match token.type:
            case "bullet_list_open":
                lists.append(None)
            case "ordered_list_open":
                lists.append(int(token.attrs.get("start", 1)))
            case "bullet_list_close" | "ordered_list_close":
                lists.pop()
                parts.append("\n")
            case "list_item_open":
                number = lists[-1]
                parts.append("  " * (len(lists) - 1) + ("- " if number is None else f"{number}. "))
                lists[-1] = None if number is None else number + 1
            case "tr_close":
                parts[-1] = "\n"
            case _:
                parts.append(_said(token))
    return _BREAKS.sub("\n\n", "".join(parts)).strip()


def _said(token: Token) -> str:
    match token.type:
        case "inline":
            return _inline(token.children or ())
        case "fence" | "code_block" | "html_block":
            return token.content.removesuffix("\n") + "\n\n"
        case "paragraph_close":
            return "\n" if token.hidden else "\n\n"
        case "heading_close" | "table_close":
            return "\n\n"
        case "th_close" | "td_close":
            return "\t"
        case _:
            return ""


def _inline(tokens: Sequence[Token]) -> str:
    parts = []
    for token in tokens:
        if token.type in ("softbreak", "hardbreak"):
            parts.append("\n")
        elif token.type == "image":
            parts.append(_inline(token.children or ()))
        else:
            parts.append(token.content)
    return "".join(parts)
