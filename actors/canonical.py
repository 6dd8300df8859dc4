"""Canonical JSON and deep-frozen snapshots of JSON values.

Two equal values give the same bytes whatever the order of their keys, and a frozen value never changes
under whoever holds it, so it may be shared between threads and between the subscribers of one answer.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, NoReturn

MAX_DEPTH = 64
"""Levels of nesting beyond which a value is refused: no chat request needs them, and a cycle has them."""

_encode = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode


def canonical_json(value: object) -> bytes:
    """The canonical JSON of a value: sorted keys, no spaces, UTF-8, no NaN or infinity.

    Raises:
        TypeError: something in it has no JSON form.
        ValueError: a number is not finite or too long, a text is not valid Unicode, or it refers to itself.
        RecursionError: it is nested too deeply.
    """
    return _encode(value).encode()


class FrozenDict(dict[str, Any]):
    """A dict that refuses every change; it can be hashed, pickled and written as JSON like any dict."""

    __slots__ = ()

    def _refuse(self, *args: Any, **kwargs: Any) -> NoReturn:
        raise TypeError("this dict is frozen; copy it with dict(...) to change it")

    __setitem__ = _refuse
    __delitem__ = _refuse
    __ior__ = _refuse
    clear = _refuse
    pop = _refuse
    popitem = _refuse
    setdefault = _refuse
    update = _refuse

    def __hash__(self) -> int:  # type: ignore[override]
        return hash(frozenset(self.items()))

    def __copy__(self) -> FrozenDict:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> FrozenDict:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return (FrozenDict, (dict(self),))


def freeze(value: Any, depth: int = 0) -> Any:
    """A deep-frozen copy: mappings become FrozenDict, lists become tuples, the rest is kept.

    Raises:
        ValueError: the value is nested deeper than MAX_DEPTH.
        TypeError: a key of a mapping is not a str.
    """
    kind = type(value)
    if kind is str or kind is FrozenDict:
        return value
    if isinstance(value, Mapping):
        if depth >= MAX_DEPTH:
            raise ValueError(f"nested deeper than {MAX_DEPTH} levels")
        items = {}
        for key, item in value.items():
            if not isinstance(key, str):
                raise TypeError(f"the key {key!r} is not a str")
            items[key] = item if type(item) is str else freeze(item, depth + 1)
        return FrozenDict(items)
    if kind is list or kind is tuple:
        if depth >= MAX_DEPTH:
            raise ValueError(f"nested deeper than {MAX_DEPTH} levels")
        return tuple([freeze(item, depth + 1) for item in value])
    return value


def frozen_mapping(value: Mapping[str, Any]) -> Mapping[str, Any]:
    """The mapping, deep-frozen; what cannot be frozen stays as it is, for a validator to refuse by its name."""
    given: object = value
    if not isinstance(given, Mapping):
        return value
    try:
        frozen: FrozenDict = freeze(given)
    except (TypeError, ValueError):
        return value
    return frozen


def find_unjsonable(value: object) -> tuple[str, object] | None:
    """The path and the value of the first thing in `value` that has no JSON form, or None."""
    return next(_unjsonable(value, "", 0), None)


def _unjsonable(value: object, path: str, depth: int) -> Iterator[tuple[str, object]]:
    if isinstance(value, (Mapping, list, tuple)) and depth >= MAX_DEPTH:
        yield path, "a value nested too deeply, or one that contains itself"
    elif isinstance(value, Mapping):
        for key, item in value.items():
            if not isinstance(key, str) or not _encodes(key):
                yield f"{path}[{key!r}]", key
            else:
                yield from _unjsonable(item, f"{path}.{key}" if path else key, depth + 1)
    elif isinstance(value, (list, tuple)):
        for index, item in enumerate(value):
            yield from _unjsonable(item, f"{path}[{index}]", depth + 1)
    elif not _encodes(value):
        yield path, value


def _encodes(leaf: object) -> bool:
    try:
        canonical_json(leaf)
    except (TypeError, ValueError, RecursionError):
        return False
    return True
