"""What every command shares: exit codes, one message for an error, and no escape code where none belongs."""

from __future__ import annotations

import importlib.metadata
import socket
from collections.abc import Callable

import pytest
from click.testing import Result

from tests.runtime.cli.conftest import Command


def test_the_version_is_the_installed_ones(invoke: Callable[..., Result]) -> None:
    """From sources alone there is none, and it says so."""
    try:
        version = importlib.metadata.version("showcaller")
    except importlib.metadata.PackageNotFoundError:
        version = "(not installed: run from its sources)"
    assert invoke("--version").output == f"showcaller {version}\n"


@pytest.mark.parametrize("arguments", [["asc"], ["ask"], ["ask", "--nope", "x"], ["run", "x"]])
def test_wrong_usage_is_2(arguments: list[str], invoke: Callable[..., Result]) -> None:
    """As everywhere."""
    assert invoke(*arguments).exit_code == 2


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["ask", " "], "the prompt is empty"),
        (["ask", "hi", "--timeout", "0"], "timeout = 0.0"),
        (["ask", "hi", "--model", "smolm2"], 'did you mean "smollm2"?'),
        (["ask", "hi", "--config", "none.toml"], "none.toml: the file cannot be read"),
    ],
)
def test_a_configuration_error_is_2_and_one_message(
    arguments: list[str], said: str, invoke: Callable[..., Result]
) -> None:
    """On stderr, with nothing on stdout and nothing fetched or started."""
    result = invoke(
        *arguments, SHOWCALLER_OFFLINE="1", SHOWCALLER_CACHE_DIR="/nowhere", SHOWCALLER_BACKEND="embedded"
    )
    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr.splitlines()[-1].startswith("showcaller: ")
    assert said in result.stderr
    assert "Traceback" not in result.stderr


def test_a_failed_request_is_1_and_one_message(invoke: Callable[..., Result]) -> None:
    """A traceback says nothing to who typed the command."""
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{nobody.getsockname()[1]}/v1"
        result = invoke("ask", "hi", "--timeout", "20", OPENAI_BASE_URL=url, SHOWCALLER_MODEL="m")
    assert result.exit_code == 1
    assert result.stdout == ""
    assert "openai" in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize("arguments", [[], ["doctor"], ["--help"]])
def test_what_is_no_terminal_gets_no_escape_code(arguments: list[str], command: Command) -> None:
    """Whatever the environment says of colours."""
    done = command.run(*arguments, FORCE_COLOR="1", TERM="xterm-256color")
    assert "\x1b" not in done.stdout + done.stderr
    assert done.stdout
