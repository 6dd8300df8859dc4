"""`showcaller run`: the whole of it once, and what happens when it is interrupted or cannot begin."""

from __future__ import annotations

import re
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

from showcaller.runtime.cli.load import ASKS, TELLS
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


@pytest.mark.parametrize("moment", ["2  Three backends", "3  A streamed", "of 120 have", "crashed local-a"])
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
