"""Each planted bug is found within some seeds, and what finds it holds for the code as it is."""

from __future__ import annotations

import pytest

from showcaller.runtime.testing.chaos import chaos
from showcaller.runtime.testing.errors import SimulationError
from tests.simulation.planted import (
    answer_bugs,
    health_bugs,
    quota_bugs,
    request_bugs,
    resilience_bugs,
    route_bugs,
    supervision_bugs,
)
from tests.simulation.planted.bug import Bug

BUGS = [
    value
    for module in (
        request_bugs,
        answer_bugs,
        route_bugs,
        resilience_bugs,
        health_bugs,
        quota_bugs,
        supervision_bugs,
    )
    for value in vars(module).values()
    if isinstance(value, Bug)
]
SEEDS = 100
"""So many scenarios a bug may take."""

_sound: dict[int, list[str]] = {}


def violations(seed: int) -> list[str]:
    """What does not hold in the scenario of a seed."""
    simulation = chaos(seed).simulation()
    try:
        with simulation:
            simulation.run()
    except SimulationError as error:
        return [*simulation.inspector.violations, str(error)]
    return simulation.inspector.violations


def found(bug: Bug, seed: int) -> list[str]:
    """The same with the bug."""
    with pytest.MonkeyPatch.context() as patch:
        bug.apply(patch)
        return violations(seed)


def hunt(bug: Bug) -> tuple[int, str]:
    """The first seed that finds a bug, and how."""
    for seed in range(SEEDS):
        if seed not in _sound:
            _sound[seed] = violations(seed)
        assert _sound[seed] == []
        caught = found(bug, seed)
        if caught:
            return seed, caught[0]
    raise AssertionError(f"{bug.name} was not found in {SEEDS} seeds: {bug.description}")


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.name)
def test_a_planted_bug_is_found(bug: Bug) -> None:
    """Within the bound, by a violation that the same seeds do not show without it."""
    seed, violation = hunt(bug)
    print(f"planted {bug.name}: found at seed {seed} after {seed + 1} seeds: {violation}")
