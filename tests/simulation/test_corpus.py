"""Seeds that failed once, kept by `make soak`: they are run again for ever."""

from __future__ import annotations

from pathlib import Path

import pytest

from showcaller.runtime.testing.assertions import assert_invariants
from showcaller.runtime.testing.chaos import soak

SEEDS = [int(line) for line in (Path(__file__).parent / "corpus.txt").read_text().split()]


@pytest.mark.parametrize("seed", SEEDS)
def test_a_seed_that_failed_once_fails_no_more(seed: int) -> None:
    """Every invariant holds, and everything works again afterwards."""
    assert_invariants(soak(seed))
