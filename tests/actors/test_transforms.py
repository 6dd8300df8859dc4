"""Transformers: what each makes of answers as models give them, and what may be given as one."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from showcaller.actors.enums import ResponseTransform
from showcaller.actors.errors import ConfigurationError
from showcaller.actors.json_text import parse_json
from showcaller.actors.models import ChatRequest
from showcaller.actors.transforms import (
    NAMED,
    ExtractCodeTransformer,
    ExtractJsonTransformer,
    FunctionTransformer,
    MarkdownToTextTransformer,
    ResponseTransformerBase,
    StripWhitespaceTransformer,
    as_transforms,
)

TEXTS = st.text() | st.text(alphabet='`~#*{}[]",:\\ \n1a')

JSON_ANSWERS = {
    "alone": (' {"a": 1}\n', '{"a": 1}'),
    "a scalar": ("true", "true"),
    "fenced": ('Here:\n```json\n{"a": 1}\n```\nDone.', '{"a": 1}'),
    "the marked fence wins": ('```\n{"x": 0}\n```\n```json\n{"a": 1}\n```', '{"a": 1}'),
    "the fence wins over prose": ('With {"x": 0} in mind:\n```json\n{"a": 1}\n```', '{"a": 1}'),
    "a fence that is never closed": ('```json\n{"a": 1}', '{"a": 1}'),
    "code in another language": ('```python\nx = {"x": 0,}\n```\n{"a": 1}', '{"a": 1}'),
    "a broken fence": ('```json\n{"a": }\n```\nSorry: {"a": 1}', '{"a": 1}'),
    "a fence in a string": ('{"a": "```js\\nx\\n```"} there', '{"a": "```js\\nx\\n```"}'),
    "prose": ('The answer is {"a": {"b": "}"}}.', '{"a": {"b": "}"}}'),
    "fenced words": ('```\nhello\n```\n[{"a": 1}]', '[{"a": 1}]'),
}


class Shout(ResponseTransformerBase):
    """One of a user's own."""

    def transform(self, text: str) -> str:
        return text.upper()


@pytest.mark.parametrize(("text", "found"), JSON_ANSWERS.values(), ids=JSON_ANSWERS)
def test_json_is_taken_out_of_what_is_around_it(text: str, found: str) -> None:
    """The whole, then the fences, then the prose."""
    assert ExtractJsonTransformer().transform(text) == found


@pytest.mark.parametrize("text", ["", "no", '{"a": ', "```json\n{]\n```"])
def test_an_answer_without_json_is_refused(text: str) -> None:
    """By a ValueError, which makes it a failed attempt."""
    with pytest.raises(ValueError, match="no whole JSON"):
        ExtractJsonTransformer().transform(text)


def test_code_is_the_first_block_and_a_text_without_one_is_kept() -> None:
    """Unchanged, white space and all."""
    assert ExtractCodeTransformer().transform("a\n```py\nx\n\ny\n```\n```\nz\n```") == "x\n\ny"
    assert ExtractCodeTransformer().transform(" no code\n") == " no code\n"


@given(TEXTS)
def test_white_space_and_markdown_can_be_taken_from_every_text(text: str) -> None:
    """Nothing raises, and stripping twice is stripping once."""
    stripped = StripWhitespaceTransformer().transform(text)
    assert stripped == StripWhitespaceTransformer().transform(stripped) == text.strip()
    assert isinstance(MarkdownToTextTransformer().transform(text), str)
    assert isinstance(ExtractCodeTransformer().transform(text), str)


@given(TEXTS)
def test_what_is_extracted_is_json_and_stays_the_same(text: str) -> None:
    """Or there is none, and that is a ValueError."""
    try:
        found = ExtractJsonTransformer().transform(text)
    except ValueError:
        return
    parse_json(found)
    assert ExtractJsonTransformer().transform(found) == found


@given(st.dictionaries(st.text(), st.text() | st.integers(), min_size=1))
def test_json_comes_out_of_every_wrapping(value: dict[str, object]) -> None:
    """Alone, fenced, and with words around it."""
    text = json.dumps(value, indent=1)
    for wrapped in (
        text,
        f"```json\n{text}\n```",
        f"Sure:\n\n```\n{text}\n```\nBye",
        f"It is {text}, I think.",
    ):
        assert json.loads(ExtractJsonTransformer().transform(wrapped)) == value


def test_each_member_but_none_has_a_transformer() -> None:
    """Of a name that says what it is."""
    assert set(NAMED) == set(ResponseTransform) - {ResponseTransform.NONE}
    assert [one.get_name() for one in NAMED.values()] == [type(one).__name__ for one in NAMED.values()]


def test_members_values_instances_and_functions_may_be_given() -> None:
    """NONE is nothing; what was converted once stays as it is."""
    shout = Shout()
    given = as_transforms([ResponseTransform.STRIP_WHITESPACE, "none", "Extract-Code", shout, str.lower])
    assert given == (
        StripWhitespaceTransformer(),
        ExtractCodeTransformer(),
        shout,
        FunctionTransformer(str.lower),
    )
    assert as_transforms(given) == given
    assert as_transforms(None) == ()
    assert [one.get_name() for one in given[2:]] == ["Shout", "str.lower"]
    assert given[3].transform("A") == "a"


async def later(text: str) -> str:
    return text


class Later:
    async def __call__(self, text: str) -> str:
        return text


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("strip_whitespace", "ChatRequest.transforms = 'strip_whitespace': use a list"),
        (["strip"], r"transforms\[0\].*use one of none, strip_whitespace"),
        ([str.strip, 7], r"transforms\[1\] = 7"),
        ([ExtractCodeTransformer], "not its class"),
        ([later], "not awaited"),
        ([Later()], "not awaited"),
    ],
)
def test_what_is_no_transform_is_refused_when_the_request_is_built(given: object, words: str) -> None:
    """With its place and the fix."""
    with pytest.raises(ConfigurationError, match=words):
        ChatRequest("x", transforms=given)  # type: ignore[arg-type]
