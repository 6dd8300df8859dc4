"""Markdown as models write it: its code, and its text without the marks."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from showcaller.actors.markdown_text import CodeBlock, find_code, to_text

BLOCKS = {
    "a language": ("Hi:\n```python\nprint(1)\n```\nBye", [CodeBlock("print(1)", "python")]),
    "an info string": ("```JSON title=x\n{}\n```", [CodeBlock("{}", "json")]),
    "no language": ("```\na\n\nb\n```", [CodeBlock("a\n\nb")]),
    "tildes": ("~~~sh\nls\n~~~", [CodeBlock("ls", "sh")]),
    "nested fences": ("````md\n```js\nx\n```\n````", [CodeBlock("```js\nx\n```", "md")]),
    "in a list": ("1. do\n   ```sh\n   ls\n   ```\n", [CodeBlock("ls", "sh")]),
    "in a quote": ("> ```\n> a\n> ```", [CodeBlock("a")]),
    "several": ("```a\n1\n```\nand\n```b\n2\n```", [CodeBlock("1", "a"), CodeBlock("2", "b")]),
    "never closed": ("```py\nx = 1\ny = 2", [CodeBlock("x = 1\ny = 2", "py")]),
    "inline code is none": ("use ```this``` and `that`", []),
    "a fence inside a line is none": ('{"a": "```py"}', []),
    "empty": ("```\n```", [CodeBlock("")]),
    "none": ("no code", []),
}
TEXTS = {
    "marks": ("Some **bold**, *it*, `code` and \\*", "Some bold, it, code and *"),
    "headings": ("# One\nText\n\n## Two", "One\n\nText\n\nTwo"),
    "links and images": ("[text](http://a) ![seen](b.png) <http://c>", "text seen http://c"),
    "lists": ("- a\n- b\n  1. c\n  2. d\n\nend", "- a\n- b\n  1. c\n  2. d\n\nend"),
    "a list that starts later": ("3. a\n4. b", "3. a\n4. b"),
    "quotes": ("> said\n> so", "said\nso"),
    "tables": ("| a | b |\n|---|---|\n| 1 | **2** |", "a\tb\n1\t2"),
    "code": ("Run:\n```sh\nls -l  *\n```\nDone", "Run:\n\nls -l  *\n\nDone"),
    "entities": ("a &amp; b &lt;c&gt;", "a & b <c>"),
    "plain": ("nothing to do", "nothing to do"),
    "nothing": ("", ""),
}


@pytest.mark.parametrize(("text", "blocks"), BLOCKS.values(), ids=BLOCKS)
def test_code_blocks_are_found(text: str, blocks: list[CodeBlock]) -> None:
    """As CommonMark has them."""
    assert find_code(text) == blocks


@pytest.mark.parametrize(("text", "plain"), TEXTS.values(), ids=TEXTS)
def test_marks_are_taken_away(text: str, plain: str) -> None:
    """And the words stay."""
    assert to_text(text) == plain


@given(st.text() | st.text(alphabet="`~#*_->|[]()!1. \n\\<&;a"))
def test_no_text_is_too_strange(text: str) -> None:
    """Nothing raises, and nothing but white space is lost at the ends."""
    assert to_text(text) == to_text(text).strip()
    assert all(isinstance(block.code, str) for block in find_code(text))


@given(
    st.lists(st.text(alphabet="abc `#*\n", min_size=1).map(str.strip).filter(bool), min_size=1, max_size=3)
)
def test_what_is_fenced_comes_out_as_it_went_in(codes: list[str]) -> None:
    """With a fence that is longer than any in the code."""
    fence = "`" * (max(len(code) for code in codes) + 3)
    text = "\n\n".join(f"Words\n{fence}x\n{code}\n{fence}" for code in codes)
    assert [block.code for block in find_code(text)] == codes
