"""The pytest plugin: seeds for tests, and with a failed test what its simulation did and how to repeat it.

pytest loads it at every start where Showcaller is installed, so that it imports nothing but `watch`.
"""

from __future__ import annotations

import random
from collections.abc import Generator
from typing import TYPE_CHECKING

import pytest

from showcaller.runtime.testing import watch

if TYPE_CHECKING:
    from showcaller.runtime.testing.simulation import Simulation

OPTION = "--showcaller-seed"
MARKER = "showcaller_seeds"
FIXTURE = "showcaller_seed"
SHOWN = 30
"""So many lines of the trace are shown."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """The option."""
    parser.getgroup("showcaller").addoption(
        OPTION,
        type=int,
        metavar="N",
        help="the seed of simulations that are given none, and of showcaller_seed",
    )


def pytest_configure(config: pytest.Config) -> None:
    """The marker, and what watches the tests."""
    config.addinivalue_line(
        "markers", f"{MARKER}(count): run the test in simulation once for each seed from 0 to count - 1"
    )
    config.pluginmanager.register(Watcher(config.getoption(OPTION)), "showcaller-watcher")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """One test for each seed."""
    marker = metafunc.definition.get_closest_marker(MARKER)
    if marker is None:
        return
    if marker.kwargs or len(marker.args) != 1 or type(marker.args[0]) is not int or marker.args[0] < 1:
        raise pytest.UsageError(
            f"{metafunc.definition.nodeid}: use {MARKER}(count) with a count of 1 or more"
        )
    only = metafunc.config.getoption(OPTION)
    seeds = range(marker.args[0]) if only is None else [only]
    if FIXTURE not in metafunc.fixturenames:
        metafunc.fixturenames.append(FIXTURE)
    metafunc.parametrize(FIXTURE, seeds, indirect=True, ids=[f"seed{seed}" for seed in seeds])


@pytest.fixture
def showcaller_seed(request: pytest.FixtureRequest) -> int:
    """A seed: a new one at each run, the one of `--showcaller-seed`, or the marker's; shown when the test fails."""
    watcher = request.config.pluginmanager.get_plugin("showcaller-watcher")
    assert isinstance(watcher, Watcher)
    return watcher.seed()


class Watcher:
    """Sees the simulations of the test that is running.

    Args:
        only: the seed of the command line.
    """

    def __init__(self, only: int | None) -> None:
        self._only = only
        self._seed: int | None = None
        self._asked = False
        self._last: Simulation | None = None
        self._count = 0
        watch.begun.append(self._note)

    def pytest_unconfigure(self) -> None:
        """See no more."""
        watch.begun.remove(self._note)

    def seed(self) -> int:
        """The seed of the test that is running; drawn now when nothing has decided it."""
        self._asked = True
        if self._seed is None:
            # A source of its own: the test may have seeded the common one.
            self._seed = watch.default_seed = random.SystemRandom().randrange(2**32)
        return self._seed

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, object, object]:
        """Give the test its seed, and forget the test before."""
        before = watch.default_seed
        callspec = getattr(item, "callspec", None)
        self._seed = self._only if callspec is None else callspec.params.get(FIXTURE, self._only)
        self._asked = False
        self._last, self._count = None, 0
        watch.default_seed = self._seed
        if FIXTURE in getattr(item, "fixturenames", ()):
            self.seed()
        try:
            return (yield)
        finally:
            watch.default_seed = before

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Add to a failure what its simulation did."""
        report = yield
        if report.failed and (self._asked or self._last is not None):
            report.sections.append(("showcaller simulation", "\n".join(self._story(item))))
        return report

    def _note(self, simulation: Simulation) -> None:
        self._last = simulation
        self._count += 1

    def _story(self, item: pytest.Item) -> list[str]:
        simulation, seed, lines = self._last, self._seed, []
        if simulation is not None:
            if self._count > 1:
                lines.append(f"{self._count} simulations; this is the last")
            seed = simulation.seed if seed is None else seed
            trace = simulation.world.trace
            lines.append(f"seed {simulation.seed}, digest {trace.digest}")
            lines.append(f"{simulation.now:.3f} virtual seconds, {simulation.world.steps} steps")
            violations = simulation.inspector.violations
            lines += [f"violated: {violation}" for violation in violations]
            lines += ["the trace ends with:", *(f"  {line}" for line in trace.tail(SHOWN))]
        else:
            lines.append(f"seed {seed}")
        command = f'pytest "{item.nodeid}"'
        if getattr(getattr(item, "obj", None), "is_hypothesis_test", False):
            # What Hypothesis draws has its own seeds, and its database brings the failing example back.
            lines.append(f"repeat it: {command}")
        else:
            lines.append(f"repeat it: {command} {OPTION}={seed}")
        return lines
