"""The time of `import showcaller` in a fresh interpreter."""

from __future__ import annotations

import subprocess
import sys
from statistics import median

ROUNDS = 15
CODE = """
import time
begin = time.perf_counter()
import showcaller
print(time.perf_counter() - begin)
"""


def measure() -> dict[str, float]:
    """Milliseconds, median and least over the rounds; the first, which may compile, does not count."""
    seconds = [
        float(subprocess.run([sys.executable, "-c", CODE], capture_output=True, check=True).stdout)
        for _ in range(ROUNDS + 1)
    ]
    return {"median_ms": median(seconds[1:]) * 1e3, "least_ms": min(seconds[1:]) * 1e3}
