"""The facade: every public name is there, said once for the type checker and once for the import."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import showcaller

FACADE = Path(showcaller.__file__ or "")


@pytest.mark.parametrize("name", showcaller.__all__)
def test_a_public_name_can_be_imported(name: str) -> None:
    """Each name of __all__ has a home."""
    assert getattr(showcaller, name) is not None


def test_the_type_checker_sees_what_the_import_gives() -> None:
    """The imports for the type checker, the homes and __all__ name the same things."""
    imports: dict[str, str] = {}
    for node in ast.walk(ast.parse(FACADE.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("showcaller."):
            imports |= {alias.name: node.module for alias in node.names}
    assert imports == showcaller._HOME
    assert sorted(imports) == showcaller.__all__


def test_an_unknown_name_is_an_attribute_error() -> None:
    """As for any module."""
    with pytest.raises(AttributeError, match="no attribute 'Runtme'"):
        _ = showcaller.Runtme


def test_importing_showcaller_imports_nothing_that_is_not_needed() -> None:
    """Neither requests nor anything heavy comes with the facade, nor requests with the Runtime."""
    program = (
        "import sys; before = set(sys.modules); import showcaller; facade = set(sys.modules) - before; "
        "showcaller.Runtime; print(*facade, '|', *(set(sys.modules) - before))"
    )
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=True
    )
    facade, _, runtime = result.stdout.partition("|")
    heavy = {"requests", "urllib3", "cattrs", "click", "rich", "asyncio", "xllamacpp", "tomllib"}
    assert not heavy & set(facade.split())
    assert not heavy & set(runtime.split())
    assert "attrs" not in facade.split()


def test_what_a_backend_can_do_is_said_with_a_public_name() -> None:
    """As a member or by its value."""
    backend = showcaller.BackendConfig(
        name="a", backend_type="simulated", supports=[showcaller.Capability.TOOLS, "images"]
    )
    assert backend.supports == {showcaller.Capability.TOOLS, showcaller.Capability.IMAGES}
