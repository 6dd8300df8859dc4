"""The checks of the frozen value classes; each refusal names the field, the value and the fix."""

from __future__ import annotations

import enum
import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeGuard, TypeVar

from attrs import Attribute

from showcaller.actors.canonical import find_unjsonable
from showcaller.actors.errors import ConfigurationError
from showcaller.actors.redaction import redact

Check = Callable[[Any, "Attribute[Any]", Any], None]
E = TypeVar("E", bound=enum.Enum)

LONGEST_VALUE_SHOWN = 80
SECONDS = "use seconds greater than 0"
"""The fix of a duration that is none."""


class InvalidFieldError(ConfigurationError):
    """One field of one value class is wrong.

    Attributes:
        owner: the class's name.
        field: the field's name.
        shown: the value as it may be shown, without secrets.
        fix: what to do.
    """

    def __init__(self, owner: str, field: str, shown: str, fix: str) -> None:
        super().__init__(f"{owner}.{field} = {shown}: {fix}")
        self.owner = owner
        self.field = field
        self.shown = shown
        self.fix = fix


def shown(value: object) -> str:
    """A value for an error text: short, and without secrets."""
    try:
        text = redact(repr(value))
    except Exception:  # noqa: BLE001  a foreign __repr__ may do anything, and the refusal must be said
        text = f"<{type(value).__name__}>"
    return text if len(text) <= LONGEST_VALUE_SHOWN else f"{text[: LONGEST_VALUE_SHOWN - 1]}…"


def refuse(owner: object, field: str, value: object, fix: str) -> InvalidFieldError:
    """The error that says field, value and fix; `owner` is a class name, a class or an instance."""
    if not isinstance(owner, str):
        owner = owner.__name__ if isinstance(owner, type) else type(owner).__name__
    return InvalidFieldError(owner, field, shown(value), fix)


def nearest(name: str, known: Iterable[str]) -> str:
    """`; did you mean "…"?` for the nearest known name, or the known names, or nothing."""
    import difflib

    names = sorted(set(known))
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    if close:
        return f'; did you mean "{close[0]}"?'
    return f"; known: {', '.join(names[:12])}{', …' if len(names) > 12 else ''}" if names else ""


def is_number(value: object) -> TypeGuard[float]:
    """A finite int or float; bool is no number, nor is an int that no float can hold."""
    try:
        return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    except OverflowError:
        return False


def number(fix: str, *, above: float = -math.inf, least: float = -math.inf, none: bool = False) -> Check:
    """A finite number, greater than `above` and not less than `least`; with `none` also None."""

    def check(owner: object, attribute: Attribute[Any], value: Any) -> None:
        if none and value is None:
            return
        if not is_number(value) or value <= above or value < least:
            raise refuse(owner, attribute.name, value, fix)

    return check


def whole(fix: str, *, least: float = -math.inf, most: float = math.inf, none: bool = False) -> Check:
    """An int (no bool) that a float can hold, from `least` to `most`; with `none` also None."""

    def check(owner: object, attribute: Attribute[Any], value: Any) -> None:
        if none and value is None:
            return
        if not isinstance(value, int) or not is_number(value) or not least <= value <= most:
            raise refuse(owner, attribute.name, value, fix)

    return check


def text(fix: str, *, none: bool = False, empty: bool = False) -> Check:
    """A str, not empty unless `empty`; with `none` also None."""

    def check(owner: object, attribute: Attribute[Any], value: Any) -> None:
        if none and value is None:
            return
        if not isinstance(value, str) or (not value.strip() and not empty):
            raise refuse(owner, attribute.name, value, fix)

    return check


def token(fix: str, *, none: bool = False) -> Check:
    """A str that may stand in a header and in a log line: visible ASCII, at most 200 characters."""

    def check(owner: object, attribute: Attribute[Any], value: Any) -> None:
        if none and value is None:
            return
        if (
            not isinstance(value, str)
            or not 0 < len(value) <= 200
            or not (value.isascii() and value.isprintable())
            or " " in value
        ):
            raise refuse(owner, attribute.name, value, fix)

    return check


def boolean(*, none: bool = False) -> Check:
    """True or False; with `none` also None."""

    def check(owner: object, attribute: Attribute[Any], value: Any) -> None:
        if value is not True and value is not False and not (none and value is None):
            raise refuse(owner, attribute.name, value, "use true or false; in Python, True or False")

    return check


def json_mapping(fix: str) -> Check:
    """A mapping of str to what JSON can say; what it cannot is named by its path."""

    def check(owner: object, attribute: Attribute[Any], value: Any) -> None:
        if not isinstance(value, Mapping):
            raise refuse(owner, attribute.name, value, fix)
        found = find_unjsonable(value)
        if found is not None:
            raise refuse(owner, f"{attribute.name}.{found[0]}", found[1], fix)

    return check


def kind(cls: type | tuple[type, ...], fix: str, *, none: bool = False) -> Check:
    """An instance of the class; with `none` also None."""

    def check(owner: object, attribute: Attribute[Any], value: Any) -> None:
        if not isinstance(value, cls) and not (none and value is None):
            raise refuse(owner, attribute.name, value, fix)

    return check


def member(cls: type[E], value: object, owner: str, field: str) -> E:
    """The enum's member for a member, its value or its name in any case."""
    if isinstance(value, cls):
        return value
    if isinstance(value, str):
        wanted = value.strip().lower().replace("-", "_")
        for one in cls:
            if wanted in (one.name.lower(), str(one.value).lower()):
                return one
    names = [str(one.value) if isinstance(one.value, str) else one.name.lower() for one in cls]
    raise refuse(owner, field, value, f"use one of {', '.join(names)}")
