"""`showcaller run`: the whole of it once, and what happens when it is interrupted or cannot begin."""

from __future__ import annotations

import io
import json
import re
import shlex
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

from showcaller.runtime.cli.load import ASKS, TELLS
from showcaller.runtime.cli.output import Screen
from showcaller.runtime.cli.run import _simulate
from showcaller.runtime.testing import world
from showcaller.runtime.testing.inspector import Inspector
from tests.runtime.cli.conftest import Command

pytestmark = pytest.mark.usefixtures("model")


def test_it_ends_by_itself_with_a_clean_account(command: Command) -> None:
    """The main job end to end: nothing lost, nothing twice, a crash survived."""
    done = command.run("run")
    text = done.stdout
    assert done.returncode == 0, text + done.stderr
    total = ASKS + TELLS + 1
    assert f"{total} accepted = {total} answered + 0 failed" in text
    assert re.search(r"✓  lost +0\n", text)
    assert re.search(r"✓  duplicated +0\n", text)
    crash = re.search(
        r"✓  crash +local-a died with (\d+) requests in flight .* answered: (\d+) by local-b", text
    )
    assert crash is not None, text
    assert int(crash[1]) >= 3
    assert re.search(r"✓  down +cost \d+ attempts", text)
    assert "left no thread behind" in text
    assert "judge the plumbing, not the prose" in text
    assert "\x1b" not in text
    assert done.stderr == ""
    repeats_its_simulation(text, command)


def repeats_its_simulation(text: str, command: Command) -> None:
    """The last part: ten virtual minutes, and the command that it prints is the same run."""
    _, _, last = text.partition("\n6  The same in simulation")
    digest = re.search(r"digest +([0-9a-f]{32})\n", last)
    printed = re.search(r"\n  (showcaller simulate --demo .*)\n", last)
    assert digest is not None, text
    assert printed is not None, text
    assert "✓  invariants  all hold\n" in last
    assert re.search(r"virtual time +60\d\.\d s\n", last)
    assert re.search(r"local-a .*[▁-█]·{6,}.*[▁-█]", last), last
    again = command.run(*shlex.split(printed[1])[1:], "--json")
    told = json.loads(again.stdout)
    assert (again.returncode, told["digest"], told["violations"]) == (0, digest[1], [])
    assert f"{told['accepted']} accepted = {told['answered']} answered + {told['failed']} failed" in last


def test_a_violated_invariant_of_the_simulation_fails_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """The demo judges itself, by its last part too."""
    told = io.StringIO()
    assert _simulate(Screen(told))
    monkeypatch.setattr(Inspector, "at_end", lambda self: self.violations.append("r-3 has two outcomes"))
    assert not _simulate(Screen(told))
    assert "✗  invariants  r-3 has two outcomes\n" in told.getvalue()
    monkeypatch.setattr(world, "AT_ONE_MOMENT", 3)
    assert not _simulate(Screen(told))
    assert "✗  3 steps were made" in told.getvalue()


@pytest.mark.parametrize(
    "moment", ["2  Three backends", "3  A streamed", "of 120 have", "crashed local-a", "6  The same in"]
)
def test_an_interrupt_ends_it_within_three_seconds(moment: str, command: Command) -> None:
    """Whatever it is doing: 130, and neither a traceback nor the noise of threads."""
    process = command.start("run")
    try:
        assert process.stdout is not None
        for line in process.stdout:
            if moment in line:
                break
        else:
            pytest.fail(f"{moment!r} was never shown")
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=3)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        raise
    assert process.returncode == 130
    assert err == "showcaller: interrupted\n"


def test_without_model_and_network_it_says_what_to_set(invoke: Callable[..., Result], tmp_path: Path) -> None:
    """One message, exit code 2."""
    result = invoke("run", SHOWCALLER_CACHE_DIR=str(tmp_path / "cache"), SHOWCALLER_OFFLINE="1")
    assert result.exit_code == 2
    assert "SHOWCALLER_CACHE_DIR" in result.stderr
    assert "Traceback" not in result.stderr
