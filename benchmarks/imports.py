"""The time of `import showcaller`, and of having its Runtime, in a fresh interpreter."""

from __future__ import annotations

import subprocess
import sys
from statistics import median

ROUNDS = 15
CODE = """
import time
begin = time.perf_counter()
{statement}
print(time.perf_counter() - begin)
"""
STATEMENTS = {"facade": "import showcaller", "runtime": "from showcaller import Runtime"}


def measure() -> dict[str, float]:
    """Milliseconds, median and least over the rounds; the first, which may compile, does not count."""
    figures: dict[str, float] = {}
    for name, statement in STATEMENTS.items():
        program = [sys.executable, "-c", CODE.format(statement=statement)]
        seconds = [
            float(subprocess.run(program, capture_output=True, check=True).stdout) for _ in range(ROUNDS + 1)
        ]
        figures[f"{name}_median_ms"] = median(seconds[1:]) * 1e3
        figures[f"{name}_least_ms"] = min(seconds[1:]) * 1e3
    return figures
