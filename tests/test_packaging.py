"""What a release carries, and what `import showcaller` costs. Runs from a checkout."""

from __future__ import annotations

import configparser
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDERS = {"showcaller": "public", "showcaller.actors": "actors", "showcaller.runtime": "runtime"}


@pytest.fixture(scope="module")
def options() -> configparser.SectionProxy:
    """The [options] of setup.cfg."""
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg", encoding="utf-8")
    return parser["options"]


def package_folders() -> set[str]:
    """The dotted names of the folders that hold modules, as users will import them."""
    found = set()
    for name, folder in FOLDERS.items():
        for module in (ROOT / folder).rglob("*.py"):
            found.add(".".join([name, *module.parent.relative_to(ROOT / folder).parts]))
    return found


def test_every_package_folder_is_listed(options: configparser.SectionProxy) -> None:
    """An unlisted package works in an editable install and is missing in the wheel."""
    assert set(options["packages"].split()) == package_folders()


def test_every_package_folder_has_an_init() -> None:
    """A namespace package is left out by the tools that check imports."""
    for name, folder in FOLDERS.items():
        for module in (ROOT / folder).rglob("*.py"):
            assert (module.parent / "__init__.py").exists(), f"{module.parent} of {name} has no __init__.py"


def test_packages_map_to_the_folders_given(options: configparser.SectionProxy) -> None:
    """The installed names are showcaller's own; bare `actors` and `runtime` would collide with others'."""
    mapping = dict(line.split(" = ") for line in options["package_dir"].strip().splitlines())
    assert mapping == FOLDERS


def test_pykka_is_held_to_the_minor_version_whose_hooks_are_used() -> None:
    """A release of Pykka may change the private hooks that the kernel stands on."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert "pykka>=4.5,<4.6" in project["dependencies"]


@pytest.mark.parametrize("module", ["requests", "urllib3", "xllamacpp", "rich", "click", "sqlite3", "yaml"])
def test_importing_showcaller_does_not_load(module: str, modules_of_a_bare_import: set[str]) -> None:
    """Transports and the command line load what they need when they are first used."""
    assert module not in modules_of_a_bare_import


@pytest.fixture(scope="module")
def modules_of_a_bare_import() -> set[str]:
    """The modules that a fresh interpreter holds after `import showcaller`."""
    # Coverage would start itself in the child and bring its own modules.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE")}
    code = "import sys, showcaller; print(*sys.modules)"
    completed = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=60, check=True
    )
    return set(completed.stdout.split())
