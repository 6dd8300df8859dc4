"""The pytest plugin, in real sessions of pytest: what a failure shows, and how it is repeated.

The sessions find the plugin as a user's do, by the entry point of the installed package.
"""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from showcaller.runtime.testing import watch
from showcaller.runtime.testing.plugin import Watcher

PATIENCE = 60.0
"""Seconds that a session may take before its test fails."""

TALK = """
import pytest
from showcaller import BackendConfig, RuntimeConfig
from showcaller.testing import Simulation

CONFIG = RuntimeConfig(backends=[
    BackendConfig(name="a", backend_type="openai_compatible", base_url="http://127.0.0.1:9/v1", model="m")
])

def talk(seed=None):
    with Simulation(CONFIG, seed=seed) as simulation:
        simulation.traffic(rate=2, duration=20)
        simulation.run()
    return simulation
"""


def session(pytester: pytest.Pytester, source: str, *arguments: str) -> pytest.RunResult:
    """A session of pytest over one file."""
    path = pytester.makepyfile(test_inner=TALK + source)
    return pytester.runpytest_subprocess("-p", "no:cacheprovider", *arguments, path, timeout=PATIENCE)


def shown(result: pytest.RunResult, pattern: str) -> list[str]:
    """What a pattern's group is, each time that a session says it."""
    return re.findall(pattern, result.stdout.str())


# --- what a failure shows ---


def test_a_failure_shows_seed_digest_time_and_the_end_of_the_trace(pytester: pytest.Pytester) -> None:
    """All of the simulation that the test has used."""
    result = session(
        pytester,
        """
def test_fails():
    simulation = talk(seed=7)
    print("digest was", simulation.world.trace.digest)
    assert not "wrong"
""",
    )
    result.assert_outcomes(failed=1)
    (digest,) = shown(result, r"digest was (\w+)")
    result.stdout.fnmatch_lines(
        [
            "*- showcaller simulation -*",
            f"seed 7, digest {digest}",
            "2?.??? virtual seconds, * steps",
            "the trace ends with:",
            "  2*.* showcaller:*",
            'repeat it: pytest "test_inner.py::test_fails" --showcaller-seed=7',
        ]
    )
    assert len(shown(result, r"(?m)^  (\d+\.\d{6} )")) == 30
    # What the stop at the end of the `with` block did is the same each time.
    result.stdout.no_fnmatch_line("*WindDown*")


def test_a_failure_shows_which_invariants_were_violated(pytester: pytest.Pytester) -> None:
    """The inspector's findings stand before the trace."""
    result = session(
        pytester,
        """
def test_fails():
    simulation = talk()
    simulation.inspector.violations.append("two outcomes for one request")
    assert not simulation.inspector.violations
""",
    )
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["violated: two outcomes for one request"])


def test_of_several_simulations_the_last_is_shown(pytester: pytest.Pytester) -> None:
    """That is the one that failed, and with Hypothesis the smallest."""
    result = session(
        pytester,
        """
from hypothesis import given, settings, strategies

@settings(database=None, max_examples=30, deadline=None)
@given(strategies.integers(0, 100))
def test_fails(seed):
    assert talk(seed).seed < 41
""",
    )
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "* simulations; this is the last",
            "seed 41, digest *",
            # The option would not decide what Hypothesis draws.
            'repeat it: pytest "test_inner.py::test_fails"',
        ]
    )


def test_a_simulation_that_a_fixture_began_is_shown_too(pytester: pytest.Pytester) -> None:
    """Its failure comes in another phase of the test than its beginning."""
    result = session(
        pytester,
        """
@pytest.fixture
def simulation():
    with Simulation(CONFIG) as simulation:
        yield simulation

def test_fails(simulation):
    simulation.runtime.ask("hello")
    assert simulation.seed == 1
""",
    )
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["seed 0, digest *"])


def test_a_failure_without_a_simulation_shows_nothing_of_an_earlier_one(pytester: pytest.Pytester) -> None:
    """The story belongs to its own test."""
    result = session(
        pytester,
        """
def test_talks():
    talk()

def test_fails():
    assert not "wrong"
""",
    )
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.no_fnmatch_line("*simulation -*")


# --- seeds ---


def test_without_anything_said_the_seed_is_0(pytester: pytest.Pytester) -> None:
    """A test that asked for no randomness passes always or never."""
    result = session(
        pytester,
        """
def test_seed():
    assert talk().seed == 0
""",
    )
    result.assert_outcomes(passed=1)


def test_a_random_seed_is_new_each_time_and_holds_for_the_whole_test(pytester: pytest.Pytester) -> None:
    """The fixture's value is the seed of every simulation that is given none."""
    source = """
def test_fails(showcaller_seed):
    assert talk().seed == talk().seed == showcaller_seed
    assert not "wrong"
"""
    results = [session(pytester, source) for _ in range(2)]
    for result in results:
        result.assert_outcomes(failed=1)
    seeds = [shown(result, r"--showcaller-seed=(\d+)") for result in results]
    assert seeds[0] != seeds[1]
    assert seeds[0] == shown(results[0], r"seed (\d+), digest")


def test_a_seed_shows_itself_where_no_simulation_was_begun(pytester: pytest.Pytester) -> None:
    """The test may have drawn other things by it."""
    result = session(
        pytester,
        """
def test_fails(request):
    assert request.getfixturevalue("showcaller_seed") == -1
""",
    )
    result.assert_outcomes(failed=1)
    (seed,) = shown(result, r"(?m)^seed (\d+)$")
    assert set(shown(result, r"assert (\d+) == -1")) == {seed}
    assert shown(result, r"--showcaller-seed=(\d+)") == [seed]


def test_the_command_that_a_failure_shows_repeats_it(pytester: pytest.Pytester) -> None:
    """The same seed gives the same digest in another session."""
    source = """
def test_fails(showcaller_seed):
    talk()
    assert not "wrong"
"""
    first = session(pytester, source)
    ((test, option),) = shown(first, r'repeat it: pytest "(.*)" (.*)')
    again = pytester.runpytest_subprocess("-p", "no:cacheprovider", test, option, timeout=PATIENCE)
    assert shown(again, r"seed .*, digest .*") == shown(first, r"seed .*, digest .*") != []


def test_the_marker_runs_a_test_for_each_of_so_many_seeds(pytester: pytest.Pytester) -> None:
    """Whether the test asks for the seed or not; other parameters stay."""
    result = session(
        pytester,
        """
@pytest.mark.showcaller_seeds(3)
def test_without(): print("seed:", talk().seed)

@pytest.mark.parametrize("word", ["a", "b"])
@pytest.mark.showcaller_seeds(2)
def test_with(showcaller_seed, word): assert talk().seed == showcaller_seed < 2
""",
        "-rP",
    )
    result.assert_outcomes(passed=7)
    assert sorted(shown(result, r"seed: (\d)")) == ["0", "1", "2"]


def test_of_a_marked_test_the_option_runs_only_its_seed(pytester: pytest.Pytester) -> None:
    """Also one that the marker would not reach; a failure's node id finds it again."""
    source = """
@pytest.mark.showcaller_seeds(3)
def test_fails(): assert talk().seed != 17
"""
    assert session(pytester, source).ret == 0
    result = session(pytester, source, "--showcaller-seed=17")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        ['repeat it: pytest "test_inner.py::test_fails[[]seed17]" --showcaller-seed=17']
    )


@pytest.mark.parametrize("arguments", ["", "0", "2.0", "count=3"])
def test_a_marker_without_a_count_is_refused(pytester: pytest.Pytester, arguments: str) -> None:
    """A test that would silently not run is worse."""
    result = session(
        pytester,
        f"""
@pytest.mark.showcaller_seeds({arguments})
def test_never(): raise AssertionError("it ran")
""",
    )
    assert result.ret == pytest.ExitCode.INTERRUPTED
    result.stdout.fnmatch_lines(["*test_never: use showcaller_seeds(count) with a count of 1 or more*"])


# --- who does not use it ---


def test_a_suite_that_uses_no_simulation_is_untouched(pytester: pytest.Pytester) -> None:
    """Its output is the same as without the plugin, and nothing of the simulation is imported."""
    path = pytester.makepyfile(
        test_inner="""
import sys

def test_passes(): assert not [name for name in sys.modules if name.startswith("showcaller.actors")]
def test_fails(): assert not "wrong"
def test_prints(): print("said"); assert 1 / 0
"""
    )

    def output(*arguments: str) -> list[str]:
        result = pytester.runpytest_subprocess("-p", "no:cacheprovider", *arguments, path, timeout=PATIENCE)
        result.assert_outcomes(passed=1, failed=2)
        return [line for line in result.outlines if not line.startswith(("plugins: ", "===="))]

    assert output() == output("-p", "no:showcaller")


def test_the_plugin_imports_next_to_nothing() -> None:
    """It is loaded at each start of pytest."""
    program = (
        "import sys, pytest; before = set(sys.modules); import showcaller.runtime.testing.plugin; "
        "print(*sorted(set(sys.modules) - before))"
    )
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=PATIENCE, check=True
    )
    assert result.stdout.split() == [
        "showcaller",
        "showcaller.runtime",
        "showcaller.runtime.testing",
        "showcaller.runtime.testing.plugin",
        "showcaller.runtime.testing.watch",
    ]


def test_a_session_that_ends_sees_no_more() -> None:
    """A session within a session leaves the outer one as it was."""
    before = list(watch.begun)
    watcher = Watcher(only=None)
    assert len(watch.begun) == len(before) + 1
    watcher.pytest_unconfigure()
    assert list(watch.begun) == before
