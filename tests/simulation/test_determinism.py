"""One seed is one run: in another process, with other hashes, in another order."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import ExitStack

import pytest

from showcaller.runtime.testing.chaos import soak

SEEDS = 100
HANGS = 600.0
"""Seconds after which something is wrong, even on a machine that has much else to do."""
SCRIPT = """
import sys
from showcaller.runtime.testing.chaos import soak
for seed in range(int(sys.argv[1])):
    report = soak(seed)
    print(seed, report.digest, report.steps, sorted(report.errors.items()), len(report.attempts))
"""


def run(hash_seed: str) -> subprocess.Popen[str]:
    """A process that runs all seeds and prints what came of each."""
    return subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(SEEDS)],
        env={**os.environ, "PYTHONHASHSEED": hash_seed},
        stdout=subprocess.PIPE,
        text=True,
    )


@pytest.mark.timeout(2 * HANGS)
def test_a_hundred_seeds_give_the_same_digests_in_two_processes() -> None:
    """With another PYTHONHASHSEED: nothing depends on the order of a set or on an address."""
    with ExitStack() as stack:
        processes = [stack.enter_context(run(hash_seed)) for hash_seed in ("1", "4711")]
        for process in processes:
            stack.callback(process.kill)
        outputs = [process.communicate(timeout=HANGS)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    one, other = (output.splitlines() for output in outputs)
    assert len(one) == SEEDS
    assert one == other
    assert len({line.split()[1] for line in one}) == SEEDS


def test_a_seed_gives_the_same_digest_whatever_was_run_before() -> None:
    """Nothing is left over from one simulation to the next."""
    first = soak(7)
    for seed in (8, 9):
        soak(seed)
    assert soak(7).digest == first.digest
