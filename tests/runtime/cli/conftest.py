"""What the command line's tests share: a clean environment, the command as a process, and an endpoint."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from attrs import field, frozen
from click.testing import CliRunner, Result

from showcaller.runtime.cli.main import cli
from showcaller.runtime.transports.model_store import default_cache_dir, ensure_model
from tests.runtime.transports.fault_server import FaultServer

PATIENCE = 100.0
"""Seconds that a process may take before its test fails."""

_OURS = (
    "SHOWCALLER_",
    "DV_AGENT_",
    "OPENAI_",
    "GITHUB_",
    "GROQ_",
    "AZURE_",
    "OPENROUTER_",
    "XDG_",
    "NO_COLOR",
)


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    """An environment that configures nothing: no key, an empty home, and the cache of this machine."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(_OURS)}
    home = tmp_path / "home"
    home.mkdir()
    return {**kept, "HOME": str(home), "SHOWCALLER_CACHE_DIR": str(default_cache_dir())}


@pytest.fixture(scope="session")
def model() -> Path:
    """The demo model; fetched once."""
    return ensure_model()


@frozen
class Command:
    """`python -m showcaller` in an empty folder."""

    folder: Path
    environ: dict[str, str] = field(repr=False)

    def start(self, *arguments: str, **variables: str) -> subprocess.Popen[str]:
        """Start it; its output is a pipe."""
        return subprocess.Popen(
            [sys.executable, "-m", "showcaller", *arguments],
            cwd=self.folder,
            env={**self.environ, **variables},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            # A Python that is started with SIGINT ignored, as by a shell's &, would never be interrupted.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),  # noqa: PLW1509
        )

    def run(self, *arguments: str, stdin: str = "", **variables: str) -> subprocess.CompletedProcess[str]:
        """Run it to its end."""
        return subprocess.run(
            [sys.executable, "-m", "showcaller", *arguments],
            cwd=self.folder,
            env={**self.environ, **variables},
            input=stdin,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )


@pytest.fixture
def command(tmp_path: Path, environ: dict[str, str]) -> Command:
    """The command, in a folder of its own."""
    folder = tmp_path / "empty"
    folder.mkdir()
    return Command(folder, environ)


@pytest.fixture
def invoke(tmp_path: Path, environ: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """The command in this process: `invoke("doctor", "--json", NAME="value")`."""
    for name in list(os.environ):
        if name.startswith(_OURS):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str, stdin: str | None = None, **variables: str) -> Result:
        return CliRunner().invoke(cli, arguments, input=stdin, env={**environ, **variables})

    return run


def line_of(lines: list[str], name: str) -> list[str]:
    """The words of the one line that has this name."""
    (line,) = [line for line in lines if f" {name} " in f"{line} "]
    return line.split()


@pytest.fixture
def endpoint() -> Iterator[FaultServer]:
    """An OpenAI-compatible endpoint that plays scripts."""
    with FaultServer() as server:
        yield server


@pytest.fixture
def pointed_at(endpoint: FaultServer) -> dict[str, str]:
    """The variables with which AUTO takes the endpoint."""
    return {"OPENAI_BASE_URL": endpoint.url, "SHOWCALLER_MODEL": "m"}
