"""`showcaller` alone."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

from tests.runtime.cli.conftest import Command

WITHOUT_NETWORK = """
import os, sys
def refuse(event, arguments):
    if event in ("socket.connect", "socket.getaddrinfo", "socket.bind", "subprocess.Popen", "os.posix_spawn"):
        os.write(2, f"{event} {arguments}".encode())
        os._exit(99)
sys.addaudithook(refuse)
from showcaller.runtime.cli.main import cli
cli(standalone_mode=False)
print(*sys.modules, file=sys.stderr)
"""


@pytest.fixture
def bare(command: Command) -> subprocess.CompletedProcess[str]:
    """The bare command in an interpreter that ends at the first use of the network or of a process."""
    return subprocess.run(
        [sys.executable, "-c", WITHOUT_NETWORK],
        cwd=command.folder,
        env=command.environ,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_it_uses_no_network_and_starts_nothing(bare: subprocess.CompletedProcess[str]) -> None:
    """It can be typed anywhere."""
    assert bare.returncode == 0, bare.stderr


@pytest.mark.parametrize("module", ["requests", "urllib3", "xllamacpp", "rich", "asyncio", "pykka"])
def test_it_does_not_load(module: str, bare: subprocess.CompletedProcess[str]) -> None:
    """What it does not need would cost its time."""
    assert module not in bare.stderr.split()


def test_it_says_what_auto_takes_and_why_the_others_are_passed_over(invoke: Callable[..., Result]) -> None:
    """Each candidate has a line with its reason."""
    text = invoke(OPENAI_API_KEY="k", SHOWCALLER_MODEL="gpt-5").output
    assert "✓  openai      OPENAI_API_KEY set; model gpt-5" in text
    assert "·  copilot     " in text
    assert "·  gh copilot  " in text
    assert "passed over: an earlier one is taken" in text


def test_a_demo_model_is_said_to_be_the_command_lines_own_choice(invoke: Callable[..., Result]) -> None:
    """Runtime.start() takes it only when asked for."""
    assert "SHOWCALLER_BACKEND=embedded" in invoke().output
    assert "Runtime.start() takes" not in invoke(SHOWCALLER_BACKEND="embedded").output


def test_it_says_where_a_configuration_was_looked_for(invoke: Callable[..., Result], tmp_path: Path) -> None:
    """Found or not, every place is shown."""
    (tmp_path / "showcaller.toml").write_text('[backends.mine]\ntype = "ollama"\nmodel = "m"\n')
    lines = invoke().output.splitlines()
    assert any(line.startswith("  ✓  showcaller.toml") and "found" in line for line in lines)
    assert any("~/.config/showcaller/config.toml" in line and "not there" in line for line in lines)
    assert any("backends" in line and "mine" in line for line in lines)


def test_a_broken_configuration_is_told_and_is_no_crash(
    invoke: Callable[..., Result], tmp_path: Path
) -> None:
    """The overview is where one looks when nothing works."""
    (tmp_path / "showcaller.toml").write_text("[backends.mine]\ntype = 'olama'\n")
    result = invoke()
    assert result.exit_code == 0
    assert 'did you mean "ollama"?' in result.output


def test_three_commands_are_shown(invoke: Callable[..., Result]) -> None:
    """And each of them exists."""
    text = invoke().output
    for name in ("ask", "doctor", "run"):
        assert f"showcaller {name}" in text
        assert invoke(name, "--help").exit_code == 0
