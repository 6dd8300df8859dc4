"""AUTO says what it found and why it takes one and passes over the others."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from showcaller.actors.enums import BackendType
from showcaller.actors.errors import ConfigurationError
from showcaller.actors.secrets import EnvSecret
from showcaller.runtime.detect import AutoChoice, detect

KEY = {"OPENAI_API_KEY": "sk-not-real"}
LOCAL_URL = {"OPENAI_BASE_URL": "http://127.0.0.1:1/v1/"}


@pytest.fixture
def no_xllamacpp(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if the embedded extra were not installed."""
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "xllamacpp" else find(name))


@pytest.fixture
def with_xllamacpp(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if it were."""
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: find("json" if name == "xllamacpp" else name)
    )


def _reason(choice: AutoChoice, name: str) -> str:
    return next(one.reason for one in choice.candidates if one.name == name)


def test_the_candidates_are_in_the_order_of_preference(with_xllamacpp: None) -> None:
    """Each has a reason, also when nothing is there."""
    choice = detect(environ={})
    assert [one.name for one in choice.candidates] == ["copilot", "openai", "gh copilot", "embedded"]
    assert all(one.reason for one in choice.candidates)
    assert choice.chosen is None
    with pytest.raises(ConfigurationError, match="OPENAI_API_KEY nor OPENAI_BASE_URL") as caught:
        choice.require()
    assert all(one.name in str(caught.value) for one in choice.candidates)


def test_an_openai_key_is_enough() -> None:
    """The key is named by its variable, and its value is nowhere."""
    choice = detect(environ=KEY)
    (backend,) = choice.require().backends
    assert choice.chosen is not None
    assert choice.chosen.name == "openai"
    assert (backend.base_url, backend.model) == ("https://api.openai.com/v1", "gpt-5-mini")
    assert backend.api_key == EnvSecret("OPENAI_API_KEY")
    assert "sk-not-real" not in repr(choice)
    assert choice.require().route_for(None).targets[0].backend == "openai"


@pytest.mark.parametrize("variable", ["SHOWCALLER_MODEL", "DV_AGENT_MODEL"])
def test_an_endpoint_of_ones_own_needs_a_model_and_no_key(variable: str) -> None:
    """Its models are not known here, so none is guessed."""
    assert "set SHOWCALLER_MODEL" in _reason(detect(environ=LOCAL_URL), "openai")
    assert detect(environ=LOCAL_URL).config is None
    (backend,) = detect(environ=LOCAL_URL | {variable: "llama"}).require().backends
    assert (backend.base_url, backend.model, backend.api_key) == ("http://127.0.0.1:1/v1", "llama", None)


def test_showcallers_own_name_wins_over_its_alias() -> None:
    """Both may be set while a project moves over."""
    environ = KEY | {"SHOWCALLER_MODEL": "new", "DV_AGENT_MODEL": "old"}
    assert detect(environ=environ).require().backends[0].model == "new"


def test_openais_own_endpoint_needs_a_key() -> None:
    """A URL alone does not open it."""
    choice = detect(environ={"OPENAI_BASE_URL": "https://api.openai.com/v1"})
    assert choice.config is None
    assert "OPENAI_API_KEY is not set" in _reason(choice, "openai")


def test_a_command_line_is_found_and_honestly_not_driven(tmp_path: Path) -> None:
    """Being there is not being used."""
    for name in ("copilot", "gh"):
        (tmp_path / name).write_text("#!/bin/sh\n", encoding="utf-8")
        (tmp_path / name).chmod(0o755)
    choice = detect(environ={"PATH": str(tmp_path)})
    for name in ("copilot", "gh copilot"):
        candidate = next(one for one in choice.candidates if one.name == name)
        assert candidate.found
        assert not candidate.chosen
        assert "not driven by this version" in candidate.reason


def test_the_demo_model_is_taken_only_when_asked_for(with_xllamacpp: None) -> None:
    """Nobody gets its answers by surprise."""
    assert detect(environ={}).config is None
    assert detect(environ={}, allow_demo=True).require().backends[0].backend_type is BackendType.EMBEDDED
    asked = detect(environ=KEY | {"SHOWCALLER_BACKEND": "embedded"})
    assert asked.require().backends[0].model == "smollm2"
    assert "SHOWCALLER_BACKEND asks for another" in _reason(asked, "openai")


def test_an_earlier_candidate_wins_over_the_demo_model(with_xllamacpp: None) -> None:
    """And the reason says so."""
    choice = detect(environ=KEY, allow_demo=True)
    assert choice.require().backends[0].name == "openai"
    assert "an earlier one is taken" in _reason(choice, "embedded")


def test_without_its_package_the_demo_model_says_what_to_install(no_xllamacpp: None) -> None:
    """The fix is a command."""
    choice = detect(environ={}, allow_demo=True)
    assert choice.config is None
    assert "pip install" in _reason(choice, "embedded")


def test_github_models_is_looked_at_only_when_asked_for() -> None:
    """It has been retired, and an endpoint of its kind may still exist."""
    token = {"GITHUB_TOKEN": "x" * 10}
    assert "github_models" not in [one.name for one in detect(environ=token).candidates]
    asked = token | {"DV_AGENT_BACKEND": "github-models"}
    assert "retired" in _reason(detect(environ=asked), "github_models")
    full = asked | {"GITHUB_MODELS_BASE_URL": "http://127.0.0.1:1/", "DV_AGENT_MODEL": "p/m"}
    (backend,) = detect(environ=full).require().backends
    assert (backend.base_url, backend.model) == ("http://127.0.0.1:1/inference", "p/m")


@pytest.mark.parametrize("variable", ["SHOWCALLER_BACKEND", "DV_AGENT_BACKEND"])
def test_an_unknown_wish_is_refused(variable: str) -> None:
    """With the variable that holds it and the names there are."""
    with pytest.raises(ConfigurationError, match=f'{variable} = "copilto": use one of auto, copilot'):
        detect(environ={variable: "copilto"})


@pytest.mark.parametrize(
    "environ",
    [
        {"OPENAI_BASE_URL": "http://["},
        {"GITHUB_MODELS_BASE_URL": "localhost:1", "GITHUB_TOKEN": "x", "SHOWCALLER_BACKEND": "github-models"},
    ],
)
def test_a_wrong_url_in_the_environment_is_told_by_its_variable(environ: dict[str, str]) -> None:
    """Not by a field that its user has never written, nor by a traceback out of urllib."""
    with pytest.raises(ConfigurationError) as caught:
        detect(environ={**environ, "SHOWCALLER_MODEL": "m"})
    assert str(caught.value).startswith(f"{next(iter(environ))} = '{next(iter(environ.values()))}")
