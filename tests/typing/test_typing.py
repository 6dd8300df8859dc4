"""The public API is what a strict type checker thinks it is."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

PATIENCE = 110.0


def test_mypy_accepts_the_public_api_as_users_write_it(tmp_path: Path) -> None:
    """Strict, with unneeded ignores as errors; on the package as it is installed."""
    pytest.importorskip("mypy", reason="mypy comes with the extra `lint`")
    usage = Path(__file__).with_name("public_api.py")
    checked = subprocess.run(
        [
            sys.executable,
            "-m",
            "mypy",
            "--strict",
            "--config-file",
            "",
            "--follow-imports",
            "silent",
            str(usage),
        ],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
        cwd=tmp_path,
    )
    assert (checked.stdout, checked.returncode) == ("Success: no issues found in 1 source file\n", 0), (
        checked.stderr
    )
