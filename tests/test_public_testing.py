"""The facade `showcaller.testing`: every name is there, and only the strategies need Hypothesis."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import showcaller.testing

FACADE = Path(showcaller.testing.__file__)


def run(program: str) -> str:
    """What a fresh interpreter prints."""
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True
    )
    return result.stdout


@pytest.mark.parametrize("name", showcaller.testing.__all__)
def test_a_public_name_can_be_imported(name: str) -> None:
    """Each name of __all__ has a home."""
    assert getattr(showcaller.testing, name) is not None
    assert name in dir(showcaller.testing)


def test_the_type_checker_sees_what_the_import_gives() -> None:
    """The imports for the type checker, the homes and __all__ name the same things."""
    imports: dict[str, str] = {}
    for node in ast.walk(ast.parse(FACADE.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("showcaller."):
            imports |= {alias.name: node.module for alias in node.names}
    assert imports == showcaller.testing._HOME
    assert sorted(imports) == showcaller.testing.__all__


def test_an_unknown_name_is_an_attribute_error() -> None:
    """As for any module."""
    with pytest.raises(AttributeError, match="no attribute 'Simulator'"):
        _ = showcaller.testing.Simulator


def test_a_simulation_needs_neither_hypothesis_nor_pytest() -> None:
    """They are not among the core's dependencies."""
    names = [name for name in showcaller.testing.__all__ if name not in ("DrawnSchedule", *STRATEGIES)]
    loaded = run(
        f"import sys; from showcaller.testing import {', '.join(names)}; print(*sys.modules)"
    ).split()
    assert "showcaller.runtime.testing.simulation" in loaded
    assert not {"hypothesis", "pytest"} & set(loaded)


STRATEGIES = ("configs", "fault_scripts", "requests", "scenarios", "schedules")


@pytest.mark.parametrize("name", STRATEGIES)
def test_a_strategy_without_hypothesis_says_how_to_get_it(name: str) -> None:
    """The extra has it."""
    said = run(
        "import sys; sys.modules['hypothesis'] = None\n"
        "import showcaller.testing\n"
        f"try: showcaller.testing.{name}\n"
        "except ModuleNotFoundError as error: print(error)"
    )
    assert said == 'the strategies need Hypothesis: pip install "showcaller[testing]"\n'
