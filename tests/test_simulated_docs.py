"""The reports in the documents are what `showcaller simulate` prints today."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
COMMAND = re.compile(r"^\$ showcaller (simulate .*)\n((?:(?!\$|```).*\n)+)", re.MULTILINE)
SHOWN = [
    pytest.param(command, report.splitlines(), id=f"{page.stem}: {command}")
    for page in sorted((ROOT / "docs").glob("*.md"))
    for command, report in COMMAND.findall(page.read_text(encoding="utf-8"))
]


def test_there_are_reports_to_look_at() -> None:
    """Two of overload and two of a slow backend."""
    assert len(SHOWN) == 4


@pytest.mark.parametrize(("command", "report"), SHOWN)
def test_the_page_shows_what_the_command_prints(command: str, report: list[str]) -> None:
    """Line by line in their order; lines may be left out."""
    done = subprocess.run(
        [sys.executable, "-m", "showcaller", *shlex.split(command)],
        cwd=ROOT / "examples",
        env={**os.environ, "PYTHONUTF8": "1"},
        capture_output=True,
        encoding="utf-8",
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    printed = iter(done.stdout.splitlines())
    for line in report:
        assert line in printed, f"it does not print, or not there: {line}"
