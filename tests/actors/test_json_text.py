"""JSON in a model's text: found where it is whole, and never a part of what is broken."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from showcaller.actors.json_text import find_json, parse_json

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
PROSE = st.text(alphabet=st.characters(exclude_characters='{}[]"'))

FOUND = {
    "alone": ('{"a": 1}', '{"a": 1}'),
    "prose around it": ('Sure! Here it is: {"a": 1}. Anything else?', '{"a": 1}'),
    "braces inside strings": ('ok {"a": "}{", "b": "\\"}"} done', '{"a": "}{", "b": "\\"}"}'),
    "braces of prose before it": ('Fill {name} and {"x}: {"a": 1}', None),
    "a placeholder before it": ('Fill {name}: {"a": 1}', '{"a": 1}'),
    "a citation before it": ('As [1] and [2, 3] say: {"a": 1}', '{"a": 1}'),
    "empty brackets before it": ('No [] and no {} but {"a": 1}', '{"a": 1}'),
    "a remark in brackets": ('[see below] {"a": 1}', '{"a": 1}'),
    "several objects": ('{"a": 1}\n{"b": 2}', '{"a": 1}'),
    "an array": ('The list: [{"a": 1}, {"b": 2}]', '[{"a": 1}, {"b": 2}]'),
    "numbers alone": ("Scores: [7, 8]", "[7, 8]"),
    "nothing but empty": ("It is {}.", "{}"),
    "nested": ('{"a": {"b": [1, {"c": "d"}]}}', '{"a": {"b": [1, {"c": "d"}]}}'),
    "cut off": ('{"a": [1, 2], "b": {"c": 3}, "d": ', None),
    "cut off in a string": ('{"a": "use {\\"x\\": 1} and', None),
    "a comma that is missing": ('{"a": 1 "b": {"c": 2}}', None),
    "broken, and whole after it": ('{"a": 1,, "b": {"c": 2}} no: {"a": 1}', '{"a": 1}'),
    "python": ("{'a': 1}", None),
    "a comma too many": ('{"a": 1,}', None),
    "NaN": ('{"a": NaN}', None),
    "none": ("I cannot say.", None),
    "a bare number": ("42", None),
    "nothing": ("", None),
}


@pytest.mark.parametrize(("text", "found"), FOUND.values(), ids=FOUND)
def test_json_is_found_where_it_is_whole(text: str, found: str | None) -> None:
    """As models answer."""
    assert find_json(text) == found


@given(st.text() | st.text(alphabet='{}[]",:\\1a '))
def test_whatever_is_found_is_json(text: str) -> None:
    """No text raises, and what is found stands in it and parses."""
    found = find_json(text)
    if found is not None:
        assert found in text
        assert isinstance(parse_json(found), (dict, list))


@given(PROSE, VALUES, PROSE)
def test_an_object_in_prose_is_found(before: str, value: object, after: str) -> None:
    """Whatever is in it, and whatever of no braces stands around it."""
    text = json.dumps({"value": value})
    assert find_json(f"{before}{text}{after}") == text


@given(VALUES, st.data())
def test_nothing_is_taken_of_what_is_cut_off(value: object, data: st.DataObject) -> None:
    """An object without its end holds no answer."""
    text = json.dumps({"value": value, "more": {"a": 1}})
    assert find_json(text[: data.draw(st.integers(1, len(text) - 1))]) is None


@pytest.mark.parametrize(
    "text", ["[" * 50_000, "{" * 50_000, '{"a":' * 50_000, '{"' + '\\"' * 50_000, "[1," * 50_000]
)
def test_a_hostile_text_is_read_in_one_go(text: str) -> None:
    """Quadratic work would not end within the test's time."""
    assert find_json(text) is None


@pytest.mark.parametrize("text", ["", "no", "{", "NaN", "[Infinity]", '{"a": 1} x', "[" * 50_000, "1" * 5000])
def test_what_is_no_json_is_a_value_error(text: str) -> None:
    """Also what would not fit on the stack."""
    with pytest.raises(ValueError):  # noqa: PT011 - the words are json's
        parse_json(text)


@given(VALUES)
def test_every_json_text_is_read(value: object) -> None:
    """Scalars too, and white space around them."""
    assert parse_json(f" {json.dumps(value)}\n") == value
