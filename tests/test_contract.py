"""docs/contract.md is a promise: every name in it is public and has what the table says."""

from __future__ import annotations

import enum
import inspect
from collections.abc import Iterator
from pathlib import Path

import attrs
import pytest

import showcaller

CONTRACT = Path(__file__).parents[1] / "docs" / "contract.md"


def _rows() -> Iterator[tuple[str, str, tuple[str, ...]]]:
    section = ""
    for line in CONTRACT.read_text(encoding="utf-8").splitlines():
        if line.startswith("## "):
            section = line.removeprefix("## ").strip()
        elif line.startswith("| ") and not line.startswith("| name "):
            name, members, _status = (cell.strip() for cell in line.strip().strip("|").split("|"))
            yield section, name, tuple(member.strip() for member in members.split(","))


ROWS = list(_rows())


def test_every_table_is_read() -> None:
    """A change of the page's form must not leave it unchecked."""
    sections = [section for section, _, _ in ROWS]
    assert {name: sections.count(name) for name in dict.fromkeys(sections)} == {
        "Enums": 6,
        "Data": 13,
        "Systems": 10,
        "Functions": 1,
    }


@pytest.mark.parametrize(("section", "name", "members"), ROWS, ids=[row[1] for row in ROWS])
def test_a_name_of_the_contract_is_public_and_whole(
    section: str, name: str, members: tuple[str, ...]
) -> None:
    """The facade has the name, and behind it is everything that the row lists."""
    thing = getattr(showcaller, name, None)
    if section == "Functions":
        assert inspect.isfunction(thing), f"from showcaller import {name}"
        assert tuple(inspect.signature(thing).parameters) == members
        return
    assert isinstance(thing, type), f"from showcaller import {name}"
    if section == "Enums":
        assert issubclass(thing, enum.Enum)
        assert set(members) <= set(thing.__members__)
    elif section == "Data":
        fields = set(attrs.fields_dict(thing))
        derived = {member for member in members if isinstance(getattr(thing, member, None), property)}
        assert set(members) <= fields | derived
    else:
        assert [member for member in members if not callable(getattr(thing, member, None))] == []


@pytest.mark.parametrize("name", [row[1] for row in ROWS if row[0] == "Data"])
def test_the_contracts_data_is_frozen(name: str) -> None:
    """Values travel between threads, so none of them can be changed."""
    cls = getattr(showcaller, name, None)
    assert cls is not None, f"from showcaller import {name}"
    assert cls.__setattr__ is not object.__setattr__
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        cls.__new__(cls).anything = 1
