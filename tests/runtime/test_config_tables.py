"""The tables of a configuration: what each may hold, and the place at which a wrong one is told."""

from __future__ import annotations

from typing import Any

import pytest

from showcaller.actors.backend_config import BackendConfig
from showcaller.actors.errors import ConfigurationError
from showcaller.actors.secrets import CommandSecret, EnvSecret, Secret
from showcaller.runtime.config import parse_config
from showcaller.runtime.presets import PRESETS


def _refusal(document: dict[str, Any]) -> str:
    with pytest.raises(ConfigurationError) as caught:
        parse_config(document, environ={})
    return str(caught.value)


def _one(table: dict[str, Any], environ: dict[str, str] | None = None) -> BackendConfig:
    (backend,) = parse_config({"backends": {"b": table}}, environ=environ or {}).backends
    return backend


@pytest.mark.parametrize(
    ("document", "told"),
    [
        ({"backends": []}, "backends = <list>: write tables such as [backends.name]"),
        ({"backends": {"a": 1}}, "backends.a = <int>: only tables stand here; write [backends.NAME]"),
        ({"runtime": 5}, "runtime = 5: write it as a table [runtime]"),
        ({"version": True}, "version = True"),
        ({"runtime": {"timeout": 10**400}}, "runtime.timeout = 1000"),
        ({"runtime": {"control": "yes"}}, "runtime.control = 'yes': use true or false"),
        ({"backends": {"ä": {"type": "embedded"}}}, "backends.ä.name = 'ä': use letters, digits and"),
        ({"backends": {"a": {"type": "ollama", "model": "m", "timeout": 0}}}, "or give connect, first_token"),
        ({"routes": {"r": {"targets": ["x", 3]}}}, "routes.r.targets[1].backend = 3: use letters"),
        ({"routes": {"r": {"targets": ["x"]}}}, "routes.r.targets = 'x': no backend has this name"),
        ({"routes": {"r": {"targets": "x"}}}, "routes.r.targets = 'x': list at least one backend"),
        ({"runtime": {"model": "x"}, "backends": {"a": {"type": "embedded"}}}, "runtime.model = 'x'"),
        ({"backends": {"a": {"type": 5}}}, "backends.a.type = 5: no such type"),
        ({"backends": {"a": {"type": "ollama", "models": []}}}, "backends.a.models = []: use a list"),
        ({"backends": {"a": {"type": "ollama", "models": ["m", "m"]}}}, "name each model once"),
        ({"backends": {"a": {"type": "azure", "model": "m"}}}, "backends.a.base_url = None"),
    ],
)
def test_a_wrong_document_is_refused_by_place(document: dict[str, Any], told: str) -> None:
    """The path in the text is the path in the file."""
    assert told in _refusal(document)


def test_two_wrong_routes_are_both_told() -> None:
    """Names are checked route by route."""
    routes = {"r": {"targets": ["x"]}, "s": {"targets": ["y"]}}
    told = _refusal({"backends": {"a": {"type": "embedded"}}, "routes": routes, "runtime": {"model": "r"}})
    assert "routes.r.targets" in told
    assert "routes.s.targets" in told
    assert "runtime.model" not in told


def test_a_route_that_is_wrong_is_not_missed_by_those_that_fall_back_on_it() -> None:
    """Each problem is told once, where it is."""
    document = {
        "backends": {"a": {"type": "ollama", "model": "m"}},
        "routes": {
            "fast": {"targets": ["a"], "fallbacks": ["smart"]},
            "smart": {"targets": ["a"], "fallbacks": ["nothing"], "context_window_fallbacks": ["fast"]},
        },
    }
    told = _refusal(document)
    assert "routes.smart.fallbacks = 'nothing': no route, backend or model has this name" in told
    assert "routes.fast" not in told


@pytest.mark.parametrize(
    ("given_as", "expected"),
    [
        ("literal-key", Secret("literal-key")),
        ({"env": "MY_KEY"}, EnvSecret("MY_KEY")),
        ({"command": ["pass", "show", "x"]}, CommandSecret(["pass", "show", "x"])),
        ({"command": "pass show x", "timeout": 3}, CommandSecret("pass show x")),
    ],
)
def test_a_secret_may_be_anywhere(given_as: Any, expected: Secret) -> None:
    """And is not looked for while loading."""
    assert _one({"type": "openai", "model": "m", "api_key": given_as}).api_key == expected


@pytest.mark.parametrize(
    "wrong",
    [
        5,
        [],
        {},
        {"env": ""},
        {"env": 5},
        {"file": 5},
        {"file": ""},
        {"command": []},
        {"env": "A", "file": "b"},
        {"command": "x", "timeout": 0},
        {"command": "x", "shell": True},
        {"environment": "A"},
        "",
    ],
)
def test_a_secret_of_no_known_form_is_refused_and_not_shown(wrong: Any) -> None:
    """It may be a secret in the wrong place."""
    table = {"type": "openai", "model": "m", "api_key": wrong}
    assert "backends.b.api_key" in _refusal({"backends": {"b": table}})


@pytest.mark.parametrize(
    ("backends", "place"),
    [
        ({"api_key": "zebra crossing"}, "backends.api_key"),
        ([{"name": "b", "apikey": "zebra"}], "backends"),
        ({"b": {"type": "openai", "model": "m", "api_key": {"env": "zebra="}}}, "backends.b.api_key.env"),
        (
            {"b": {"type": "openai", "model": "m", "api_key": {"env": "sk-zebra-zebra-zebra-1"}}},
            "backends.b.api_key.env",
        ),
        ({"b": {"type": "openai", "model": "m", "api_key": {"file": ["zebra"]}}}, "backends.b.api_key.file"),
        (
            {"b": {"type": "openai", "model": "m", "api_key": {"command": ["echo", 3, "zebra"]}}},
            "backends.b.api_key.command",
        ),
    ],
)
def test_a_secret_in_the_wrong_place_is_told_by_its_place_alone(backends: Any, place: str) -> None:
    """No value that might be one is in the error's text."""
    told = _refusal({"backends": backends})
    assert f"{place} = <" in told
    assert "zebra" not in told


def test_the_timeout_of_a_command_is_told_by_its_place() -> None:
    """It is no secret."""
    table = {"type": "openai", "model": "m", "api_key": {"command": "x", "timeout": 0}}
    assert "backends.b.api_key.timeout = 0: use seconds" in _refusal({"backends": {"b": table}})


def test_the_environment_moves_the_endpoint_and_the_entry_wins() -> None:
    """OPENAI_BASE_URL means here what it means to the SDK."""
    environ = {"OPENAI_BASE_URL": "http://proxy/v1/", "GITHUB_MODELS_BASE_URL": "http://gh"}
    table = {"type": "openai", "model": "m"}
    assert _one(table, environ).base_url == "http://proxy/v1"
    assert _one(table | {"base_url": "http://own/v1"}, environ).base_url == "http://own/v1"
    retired = _one({"type": "github-models", "model": "m"}, environ)
    assert retired.base_url == "http://gh/inference"
    assert retired.api_key == EnvSecret("GITHUB_TOKEN")
    assert retired.headers == {"X-GitHub-Api-Version": "2022-11-28"}


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_is_complete(name: str) -> None:
    """With a model and, where only the user knows it, a URL."""
    preset = PRESETS[name]
    table = {"type": name, "model": "m"} | ({} if preset.base_url else {"base_url": "http://h/v1"})
    backend = _one(table)
    assert backend.backend_type is preset.backend_type
    assert backend.api_key == (EnvSecret(preset.api_key_env) if preset.api_key_env else None)
    assert (backend.auth_header, backend.auth_scheme) == (preset.auth_header, preset.auth_scheme)
