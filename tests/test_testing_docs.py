"""docs/testing.md and examples/testing: the page shows the files as they are, and they run as a stranger's would."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from showcaller import testing
from showcaller.runtime.testing import faults

ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "examples" / "testing"
PAGE = (ROOT / "docs" / "testing.md").read_text(encoding="utf-8")
NOT_FAULTS = {"ACTORS", "KINDS", "Fault"}
FILES = sorted(path.name for path in EXAMPLES.iterdir() if path.suffix in (".py", ".toml"))


@pytest.mark.parametrize("name", FILES)
def test_the_page_shows_each_file_as_it_is(name: str) -> None:
    """Whoever copies from the page gets what was run."""
    language = {".py": "python", ".toml": "toml"}[Path(name).suffix]
    assert f"```{language}\n{(EXAMPLES / name).read_text(encoding='utf-8')}```\n" in PAGE


def test_the_page_names_every_fault_and_no_other() -> None:
    """The table is complete."""
    table = PAGE.partition("\n## Faults\n")[2].partition("\n\nThe kinds of")[0]
    rows = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]
    assert {name for row in rows for name in re.findall(r"`(\w+)", row)} == set(faults.__all__) - NOT_FAULTS


def test_the_page_names_every_strategy() -> None:
    """With what it takes."""
    strategies = {name for name in testing.__all__ if testing._HOME[name].endswith(".strategies")}
    assert strategies <= set(re.findall(r"(?m)^\| `(\w+)\(", PAGE))


def test_every_kind_of_error_that_the_page_names_exists() -> None:
    """One that was renamed would be refused."""
    (kinds,) = re.findall(r"(?s)`faults.KINDS`: (.*?) and others", PAGE)
    assert set(re.findall(r"`(\w+)`", kinds)) <= set(faults.KINDS)


def test_a_property_of_ones_own_takes_ten_lines() -> None:
    """The second example, imports included."""
    lines = (EXAMPLES / "test_in_flight.py").read_text(encoding="utf-8").splitlines()
    assert len([line for line in lines if line.strip()]) <= 10


@pytest.mark.parametrize("name", [name for name in FILES if name.endswith(".py")])
def test_an_example_passes_in_a_folder_of_its_own(name: str, tmp_path: Path) -> None:
    """Without a key, without a network, and without anything of this repository but what is installed."""
    folder = tmp_path / "stranger"
    shutil.copytree(EXAMPLES, folder, ignore=shutil.ignore_patterns("__pycache__", ".*"))
    environ = {name: value for name, value in os.environ.items() if not name.endswith("_API_KEY")}
    # Where Hypothesis finds this it draws the same examples each time.
    environ["CI"] = "true"
    result = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--strict-markers", name],
        cwd=folder,
        env=environ,
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    assert "passed" in result.stdout


def test_the_readme_shows_the_first_example_as_it_is() -> None:
    """The same text in both places, and it is run."""
    example = (EXAMPLES / "test_outage.py").read_text(encoding="utf-8")
    assert f"```python\n{example}```\n" in (ROOT / "README.md").read_text(encoding="utf-8")
