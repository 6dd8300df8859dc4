"""`showcaller doctor`."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import pytest
from click.testing import Result

from showcaller.runtime.cli import checks

Examine: TypeAlias = Callable[..., dict[str, dict[str, Any]]]
SECRET = "sk-canary-0123456789abcdef"


@pytest.fixture
def examine(invoke: Callable[..., Result]) -> Examine:
    """The checks by name, from the JSON; several of one name keep the last."""

    def run(*arguments: str, **variables: str) -> dict[str, dict[str, Any]]:
        found = json.loads(invoke("doctor", "--json", *arguments, **variables).stdout)
        assert found["ok"] == all(check["status"] != "failure" for check in found["checks"])
        return {check["name"]: check for check in found["checks"]}

    return run


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str], str]:
    """Write a configuration; its path."""

    def put(text: str) -> str:
        file = tmp_path / "checked.toml"
        file.write_text(text)
        return str(file)

    return put


def program(folder: Path, name: str, script: str) -> str:
    """Put a program on a PATH of its own; that PATH."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / name
    file.write_text(f"#!/bin/sh\n{script}\n")
    file.chmod(0o755)
    return f"{folder}:/usr/bin:/bin"


@pytest.mark.usefixtures("model")
def test_a_machine_that_has_all_it_needs_is_0(invoke: Callable[..., Result]) -> None:
    """Nothing is marked as failed."""
    result = invoke("doctor")
    assert result.exit_code == 0, result.output
    assert "✗" not in result.output
    assert "✓  embedded model" in result.output


def test_every_problem_of_a_configuration_is_listed_and_is_1(
    invoke: Callable[..., Result], write: Callable[[str], str]
) -> None:
    """Each with the file to change."""
    file = write('[backends.a]\ntype = "opnai"\n[backends.b]\ntype = "openai"\nmodel = "m"\nweigth = 3\n')
    result = invoke("doctor", "--config", file)
    assert result.exit_code == 1
    assert 'did you mean "openai"?' in result.output
    assert 'did you mean "weight"?' in result.output
    assert result.output.count(f"fix: change it in {file}") == 2


def test_a_configuration_that_is_not_there_is_a_failure(examine: Examine, tmp_path: Path) -> None:
    """It was named, so that it is not passed over."""
    found = examine(SHOWCALLER_CONFIG=str(tmp_path / "none.toml"))["configuration"]
    assert found["status"] == "failure"
    assert found["fix"].startswith("write ")


def test_a_configuration_without_a_backend_is_a_warning(examine: Examine, tmp_path: Path) -> None:
    """It is valid, and nothing can be asked with it."""
    path = tmp_path / "showcaller.toml"
    path.touch()
    found = examine(SHOWCALLER_CONFIG=str(path))["configuration"]
    assert found["status"] == "warning"
    assert "[backends.local]" in found["fix"]


def test_a_missing_key_names_the_variable_to_export(
    invoke: Callable[..., Result], write: Callable[[str], str]
) -> None:
    """The fix can be typed as it is."""
    file = write('[backends.mine]\ntype = "openai"\nmodel = "m"\napi_key = { env = "MY_KEY" }\n')
    result = invoke("doctor", "--config", file)
    assert result.exit_code == 1
    assert "its key is not there: MY_KEY is not set" in result.output
    assert "fix: export MY_KEY=…" in result.output
    assert invoke("doctor", "--config", file, MY_KEY=SECRET).exit_code == 0


def test_no_value_of_a_key_is_shown(
    invoke: Callable[..., Result], write: Callable[[str], str], tmp_path: Path
) -> None:
    """Set or not is all that is said."""
    key = tmp_path / "key"
    key.write_text(SECRET)
    file = write(
        f'[backends.a]\ntype = "groq"\nmodel = "m"\n[backends.b]\ntype = "ollama"\nmodel = "n"\n'
        f'api_key = {{ file = "{key}" }}\n[backends.c]\ntype = "ollama"\nmodel = "o"\napi_key = "{SECRET}x"\n'
    )
    for arguments in (["doctor"], ["doctor", "--json"]):
        result = invoke(*arguments, "--config", file, GROQ_API_KEY=SECRET, OPENAI_API_KEY=SECRET)
        assert SECRET not in result.output
        assert "GROQ_API_KEY, OPENAI_API_KEY" in result.output


def test_a_key_from_a_command_is_not_fetched(
    examine: Examine, write: Callable[[str], str], tmp_path: Path
) -> None:
    """The command may ask for a password, or use the network."""
    touched = tmp_path / "touched"
    file = write(
        f'[backends.a]\ntype = "openai"\nmodel = "m"\napi_key = {{ command = ["touch", "{touched}"] }}\n'
    )
    assert examine("--config", file)["backend a"]["status"] == "ok"
    assert not touched.exists()


def test_a_model_that_is_not_cached_is_a_warning_that_says_the_cost(examine: Examine, tmp_path: Path) -> None:
    """Nothing is fetched by looking."""
    empty = tmp_path / "cache"
    found = examine(SHOWCALLER_CACHE_DIR=str(empty))
    assert found["embedded model"]["status"] == "warning"
    assert "92.9 MB" in found["embedded model"]["fix"]
    assert not empty.exists()
    offline = examine(SHOWCALLER_CACHE_DIR=str(empty), SHOWCALLER_OFFLINE="1")["embedded model"]
    assert "unset SHOWCALLER_OFFLINE" in offline["fix"]


def test_a_cache_that_cannot_be_written_is_a_failure(examine: Examine, tmp_path: Path) -> None:
    """A file where a folder should be is no folder for anybody, root included."""
    file = tmp_path / "file"
    file.touch()
    found = examine(SHOWCALLER_CACHE_DIR=str(file))["cache"]
    assert found["status"] == "failure"
    assert "SHOWCALLER_CACHE_DIR" in found["fix"]


def test_gh_is_asked_its_version_and_nothing_else(examine: Examine, tmp_path: Path) -> None:
    """`gh copilot` may download a program."""
    calls = tmp_path / "calls"
    path = program(tmp_path / "bin", "gh", f'echo "$@" >>{calls}; echo "gh version 2.86.0 (2026-01-01)"')
    assert "gh version 2.86.0" in examine(PATH=path)["gh"]["cause"]
    assert calls.read_text() == "--version\n"


def test_a_gh_that_hangs_is_given_up(
    examine: Examine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A doctor that hangs is no doctor."""
    monkeypatch.setattr(checks, "PROBE_SECONDS", 0.2)
    path = program(tmp_path / "bin", "gh", "exec sleep 60")
    assert examine(PATH=path)["gh"]["status"] == "warning"


def test_copilot_is_read_and_never_started(examine: Examine, tmp_path: Path) -> None:
    """Its version is in the package beside it."""
    started = tmp_path / "started"
    path = program(tmp_path / "pkg" / "bin", "copilot", f"touch {started}")
    (tmp_path / "pkg" / "package.json").write_text('{"name": "@github/copilot", "version": "1.2.3"}')
    assert examine(PATH=path)["copilot"]["cause"].startswith("1.2.3, ")
    assert not started.exists()


def test_an_unknown_wish_has_the_known_ones_as_its_fix(examine: Examine) -> None:
    """SHOWCALLER_BACKEND is a word of a few."""
    found = examine(SHOWCALLER_BACKEND="copilt")["AUTO"]
    assert found["status"] == "failure"
    assert "copilot" in found["fix"]


def test_a_wish_that_cannot_be_met_can_be_unset(examine: Examine) -> None:
    """This version drives no Copilot CLI."""
    found = examine(SHOWCALLER_BACKEND="copilot")["AUTO"]
    assert found["status"] == "failure"
    assert found["fix"].startswith("unset SHOWCALLER_BACKEND")


def test_github_models_is_said_to_be_retired(
    invoke: Callable[..., Result], write: Callable[[str], str]
) -> None:
    """Whoever still has it configured should know why nothing comes."""
    file = write('[backends.old]\ntype = "github_models"\nmodel = "openai/gpt-5"\napi_key = "x"\n')
    result = invoke("doctor", "--config", file)
    assert result.exit_code == 0
    assert "!  backend old" in result.output
    assert "fix: take [backends.old] out" in result.output


@pytest.mark.parametrize(
    ("version", "status"),
    [("4.5.0", "ok"), ("4.5.3", "ok"), ("4.6.0", "failure"), ("4.50.0", "failure"), (None, "failure")],
)
def test_pykka_is_held_to_its_minor_version(version: str | None, status: str) -> None:
    """The kernel stands on its private hooks."""
    assert checks.check_pykka(version).status == status


def test_an_old_python_is_a_failure() -> None:
    """And this one is not."""
    assert checks.check_python((3, 10)).failed
    assert not checks.check_python().failed
