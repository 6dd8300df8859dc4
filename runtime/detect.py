"""AUTO: what this machine offers when nothing is configured, and why each candidate is taken or passed over.

It looks at the environment, PATH and installed packages only: no network, no process, nothing imported.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from attrs import frozen

from showcaller.actors.backend_config import BackendConfig
from showcaller.actors.configuration import RuntimeConfig
from showcaller.actors.enums import BackendType
from showcaller.actors.errors import ConfigurationError
from showcaller.actors.redaction import redact
from showcaller.actors.secrets import EnvSecret
from showcaller.actors.settings import RuntimeSettings
from showcaller.actors.validators import InvalidFieldError
from showcaller.runtime.presets import NOT_DRIVEN, PRESETS

DEFAULT_OPENAI_MODEL = "gpt-5-mini"
"""Asked of api.openai.com when no model is named; another endpoint's models are not known here."""

_WISHES: Mapping[str, BackendType] = {
    "auto": BackendType.AUTO,
    "copilot": BackendType.COPILOT_CLI,
    "gh": BackendType.GH_COPILOT,
    "openai": BackendType.OPENAI_COMPATIBLE,
    "github_models": BackendType.GITHUB_MODELS,
    "embedded": BackendType.EMBEDDED,
}


@frozen(kw_only=True)
class Candidate:
    """One thing that AUTO looks at.

    Attributes:
        name: what it is called in output and as a backend.
        backend_type: how it would be reached.
        found: is it there?
        chosen: is it the one that is used?
        reason: why, or why not, and what would change that.
    """

    name: str
    backend_type: BackendType
    found: bool
    chosen: bool
    reason: str


@frozen(kw_only=True)
class AutoChoice:
    """What AUTO found, in its order of preference.

    Attributes:
        candidates: everything it looked at.
        config: a configuration of the chosen one, or None when there is none.
    """

    candidates: tuple[Candidate, ...]
    config: RuntimeConfig | None

    @property
    def chosen(self) -> Candidate | None:
        """The one that is used, or None."""
        return next((one for one in self.candidates if one.chosen), None)

    def require(self) -> RuntimeConfig:
        """The configuration.

        Raises:
            ConfigurationError: there is nothing to use; the text says why for each candidate.
        """
        if self.config is None:
            lines = [f"{one.name}: {one.reason}" for one in self.candidates]
            raise ConfigurationError("\n  ".join(["no backend is configured and AUTO found none", *lines]))
        return self.config


@frozen(kw_only=True)
class _Finding:
    """A candidate before the choice: what it would be used with, if it can be used."""

    name: str
    backend_type: BackendType
    found: bool
    reason: str
    backend: BackendConfig | None = None


def detect(*, allow_demo: bool = False, environ: Mapping[str, str] | None = None) -> AutoChoice:
    """Look at what there is and choose the first that can be used.

    Args:
        allow_demo: may the embedded demo model be chosen?
        environ: the environment, `os.environ` when left out.

    Raises:
        ConfigurationError: SHOWCALLER_BACKEND or DV_AGENT_BACKEND names nothing known, or an endpoint in the
            environment is wrong.
    """
    env = os.environ if environ is None else environ
    wish = _wish(env)
    findings = [
        _copilot(env),
        _openai(env),
        *([_github_models(env)] if wish is BackendType.GITHUB_MODELS else []),
        _gh(env),
        _embedded(allow_demo=allow_demo or wish is BackendType.EMBEDDED),
    ]
    candidates = []
    config = None
    for one in findings:
        reason = one.reason
        chosen = False
        if one.backend is not None:
            if wish not in (BackendType.AUTO, one.backend_type):
                reason = f"{reason}; passed over: {_wish_source(env)} asks for another"
            elif config is not None:
                reason = f"{reason}; passed over: an earlier one is taken"
            else:
                chosen = True
                settings = RuntimeSettings(model=one.backend.name)
                config = RuntimeConfig(runtime=settings, backends=(one.backend,))
        candidates.append(
            Candidate(
                name=one.name,
                backend_type=one.backend_type,
                found=one.found,
                chosen=chosen,
                reason=reason,
            )
        )
    return AutoChoice(candidates=tuple(candidates), config=config)


def named_model(environ: Mapping[str, str]) -> str | None:
    """The model that the environment asks for: SHOWCALLER_MODEL, or its alias DV_AGENT_MODEL."""
    return _first(environ, "SHOWCALLER_MODEL", "DV_AGENT_MODEL")


def _copilot(env: Mapping[str, str]) -> _Finding:
    return _command(env, "copilot", BackendType.COPILOT_CLI, "copilot")


def _gh(env: Mapping[str, str]) -> _Finding:
    return _command(env, "gh", BackendType.GH_COPILOT, "gh copilot")


def _command(env: Mapping[str, str], program: str, backend_type: BackendType, name: str) -> _Finding:
    found = shutil.which(program, path=env.get("PATH", "")) is not None
    where = f"{program} is on PATH" if found else f"{program} is not on PATH"
    return _Finding(
        name=name, backend_type=backend_type, found=found, reason=f"{where}; {NOT_DRIVEN[program]}"
    )


def _openai(env: Mapping[str, str]) -> _Finding:
    key = EnvSecret("OPENAI_API_KEY") if _first(env, "OPENAI_API_KEY") else None
    url = _first(env, "OPENAI_BASE_URL")
    preset = PRESETS["openai"]
    official = url is None or _host(url) == _host(preset.base_url or "")
    model = named_model(env) or (DEFAULT_OPENAI_MODEL if official else None)
    backend = None
    if key is None and url is None:
        reason = "neither OPENAI_API_KEY nor OPENAI_BASE_URL is set"
    elif key is None and official:
        reason = "OPENAI_BASE_URL is OpenAI's own and OPENAI_API_KEY is not set"
    elif model is None:
        reason = "OPENAI_BASE_URL is set and no model is named; set SHOWCALLER_MODEL"
    else:
        given = " and ".join(name for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL") if _first(env, name))
        reason = f"{given} set; model {model}"
        backend = _backend(
            "OPENAI_BASE_URL",
            name="openai",
            backend_type=BackendType.OPENAI_COMPATIBLE,
            base_url=(url or preset.base_url or "").rstrip("/"),
            api_key=key,
            model=model,
        )
    return _Finding(
        name="openai",
        backend_type=BackendType.OPENAI_COMPATIBLE,
        found=key is not None or url is not None,
        reason=reason,
        backend=backend,
    )


def _github_models(env: Mapping[str, str]) -> _Finding:
    token = _first(env, "GITHUB_TOKEN")
    url = _first(env, "GITHUB_MODELS_BASE_URL")
    model = named_model(env)
    backend = None
    if token is None or url is None or model is None:
        reason = (
            "GitHub Models was retired in July 2026; for an endpoint of its kind set GITHUB_MODELS_BASE_URL, "
            "GITHUB_TOKEN and SHOWCALLER_MODEL"
        )
    else:
        preset = PRESETS["github_models"]
        reason = f"GITHUB_MODELS_BASE_URL and GITHUB_TOKEN set; model {model}"
        backend = _backend(
            "GITHUB_MODELS_BASE_URL",
            name="github_models",
            backend_type=BackendType.GITHUB_MODELS,
            base_url=url.rstrip("/") + preset.base_url_path,
            api_key=EnvSecret("GITHUB_TOKEN"),
            headers=preset.headers,
            model=model,
        )
    return _Finding(
        name="github_models",
        backend_type=BackendType.GITHUB_MODELS,
        found=token is not None and url is not None,
        reason=reason,
        backend=backend,
    )


def _backend(url_variable: str, **values: Any) -> BackendConfig:
    """A backend of the environment; what is wrong is told by the variable that says it."""
    try:
        return BackendConfig(**values)
    except InvalidFieldError as error:
        place = url_variable if error.field == "base_url" else error.field
        raise ConfigurationError(f"{place} = {error.shown}: {error.fix}") from None


def _embedded(*, allow_demo: bool) -> _Finding:
    model = PRESETS["embedded"].model
    found = importlib.util.find_spec("xllamacpp") is not None
    backend = None
    if not found:
        reason = "the package xllamacpp is not installed; pip install 'showcaller[embedded]'"
    elif not allow_demo:
        reason = f"{model} is a demo model and is taken only when asked for: SHOWCALLER_BACKEND=embedded"
    else:
        reason = f"{model}, a demo model whose answers are poor"
        backend = BackendConfig(name="local", backend_type=BackendType.EMBEDDED, model=model)
    return _Finding(
        name="embedded", backend_type=BackendType.EMBEDDED, found=found, reason=reason, backend=backend
    )


def _wish(env: Mapping[str, str]) -> BackendType:
    wish = _first(env, "SHOWCALLER_BACKEND", "DV_AGENT_BACKEND") or "auto"
    name = wish.lower().replace("-", "_")
    if name not in _WISHES:
        fix = f"use one of {', '.join(_WISHES)}"
        raise ConfigurationError(f'{_wish_source(env)} = "{redact(wish)[:80]}": {fix}')
    return _WISHES[name]


def _wish_source(env: Mapping[str, str]) -> str:
    return "SHOWCALLER_BACKEND" if _first(env, "SHOWCALLER_BACKEND") else "DV_AGENT_BACKEND"


def _first(env: Mapping[str, str], *names: str) -> str | None:
    return next((value for name in names if (value := env.get(name, "").strip())), None)


def _host(url: str) -> str | None:
    try:
        return urlsplit(url).hostname
    except ValueError:
        return None
