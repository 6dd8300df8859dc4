"""A planted bug: a small patch to the real code, applied in memory."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from attrs import frozen


@frozen
class Bug:
    """One patch.

    Attributes:
        name: of the bug.
        description: what is wrong, in one sentence.
        apply: makes it so, until the monkeypatch is undone.
    """

    name: str
    description: str
    apply: Callable[[pytest.MonkeyPatch], None]


def planted(apply: Callable[[pytest.MonkeyPatch], None]) -> Bug:
    """The bug that a function plants, under its name and docstring."""
    assert apply.__doc__ is not None
    return Bug(apply.__name__, apply.__doc__, apply)
