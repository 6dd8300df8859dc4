"""Runs one measurement in a process of its own, so that none sees another's memory, threads or modules."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from pathlib import Path

SECONDS = 300.0


def measure(name: str, *, one_core: bool = False) -> dict[str, float]:
    """The figures of `benchmarks.<name>.measure()`, on one core or on all that this process may use.

    Raises:
        subprocess.CalledProcessError: it failed; its traceback was printed.
    """
    command = [sys.executable, "-m", "benchmarks.isolated", name]
    if one_core:
        command.append(str(min(os.sched_getaffinity(0))))
    completed = subprocess.run(
        command, cwd=Path(__file__).parents[1], stdout=subprocess.PIPE, timeout=SECONDS, check=True
    )
    figures: dict[str, float] = json.loads(completed.stdout)
    return figures


def main(name: str, *cores: str) -> None:
    """Print the figures as JSON."""
    if cores:
        os.sched_setaffinity(0, [int(core) for core in cores])
    print(json.dumps(importlib.import_module(f"benchmarks.{name}").measure()))


if __name__ == "__main__":
    main(*sys.argv[1:])
