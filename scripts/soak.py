"""Soaks the tree in random scenarios, one for each seed, on every core; seeds that fail go into the corpus.

The corpus is a file with one seed a line, which the tests run again for ever.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import os
import sys
import time
from pathlib import Path

from showcaller.runtime.testing.chaos import soak

CORPUS = Path(__file__).parent.parent / "tests" / "simulation" / "corpus.txt"
CHUNK = 10
PROGRESS_SECONDS = 5.0


def soak_some(seeds: range) -> tuple[int, list[tuple[int, list[str]]]]:
    """The steps that were made, and what was violated by which seed."""
    steps, failed = 0, []
    for seed in seeds:
        try:
            report = soak(seed)
        except Exception as error:  # noqa: BLE001 - a seed that breaks the simulation itself has failed too
            failed.append((seed, [f"{type(error).__name__}: {error}"]))
            continue
        steps += report.steps
        if report.violations:
            failed.append((seed, list(report.violations)))
    return steps, failed


def main() -> int:
    """0 when every seed has passed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=500, help="how many")
    parser.add_argument("--first", type=int, default=0, help="the first")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes")
    parser.add_argument("--keep", action="store_true", help=f"add seeds that fail to {CORPUS.name}")
    given = parser.parse_args()
    end = given.first + given.seeds
    chunks = [range(at, min(at + CHUNK, end)) for at in range(given.first, end, CHUNK)]
    began = said = time.monotonic()
    done = steps = 0
    failed: list[tuple[int, list[str]]] = []
    with concurrent.futures.ProcessPoolExecutor(given.jobs) as pool:
        runs = {pool.submit(soak_some, chunk): chunk for chunk in chunks}
        for run in concurrent.futures.as_completed(runs):
            some, wrong = run.result()
            steps += some
            done += len(runs[run])
            failed += wrong
            for seed, violations in wrong:
                print(f"soak: seed {seed}: " + "; ".join(violations[:3]), flush=True)
            if time.monotonic() - said > PROGRESS_SECONDS:
                said = time.monotonic()
                print(f"soak: {done} of {given.seeds} seeds, {len(failed)} failed", flush=True)
    seconds = time.monotonic() - began
    print(
        f"soak: {done} seeds from {given.first}, {steps} steps in {seconds:.0f} s on {given.jobs} processes "
        f"({steps / max(seconds, 0.001) / given.jobs:.0f} steps/s each), {len(failed)} failed"
    )
    if failed and given.keep:
        known = CORPUS.read_text().split() if CORPUS.exists() else []
        seeds = sorted({*map(int, known), *(seed for seed, _ in failed)})
        CORPUS.write_text("".join(f"{seed}\n" for seed in seeds))
        print(f"soak: kept in {CORPUS.relative_to(Path.cwd())}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
