"""What a test runner and the simulations know of each other; it imports nothing that a test does not use.

The pytest plugin stands on this module, so that it can be loaded at every start of pytest.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from showcaller.runtime.testing.simulation import Simulation

begun: list[Callable[[Simulation], None]] = []
"""Each is called with every simulation whose `with` block begins."""

default_seed: int | None = None
"""The seed of a simulation that is given none; None: 0."""
