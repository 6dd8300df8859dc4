"""What `showcaller doctor` says of the configuration: found, valid, and its keys where they should be."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterator
from pathlib import Path

from showcaller.actors.backend_config import BackendConfig
from showcaller.actors.enums import BackendType
from showcaller.actors.errors import ConfigurationError
from showcaller.actors.secrets import CommandSecret, EnvSecret, Secret
from showcaller.runtime.cli.checks import Check
from showcaller.runtime.cli.output import in_home
from showcaller.runtime.config import load_config
from showcaller.runtime.detect import detect
from showcaller.runtime.search_path import config_places, find_config
from showcaller.runtime.transports.model_store import ensure_model


def config_checks(path: Path | None) -> Iterator[Check]:
    """The configuration that is named, or found, or what AUTO would take instead."""
    found = path or find_config()
    if found is None:
        yield from _auto_checks()
        return
    try:
        config = load_config(found)
    except ConfigurationError as error:
        # One line for each problem: the listing is the file's name, then a problem a line.
        fix = (
            f"change it in {in_home(found)}"
            if found.is_file()
            else f"write {in_home(found)}, or name another"
        )
        for problem in _problems(error, found):
            yield Check(name="configuration", status="failure", cause=problem, fix=fix)
        return
    if not config.backends:
        yield Check(
            name="configuration",
            status="warning",
            cause=f"{in_home(found)}, valid, and without any backend: nothing can be asked",
            fix='add one, such as [backends.local] with type = "embedded"',
        )
        return
    names = ", ".join(backend.name for backend in config.backends)
    yield Check(name="configuration", status="ok", cause=f"{in_home(found)}, valid; backends: {names}")
    for backend in config.backends:
        yield from _backend_checks(backend)


def _problems(error: ConfigurationError, path: Path) -> list[str]:
    first, *others = str(error).split("\n  ")
    return others or [first.removeprefix(f"{path}: ")]


def _auto_checks() -> Iterator[Check]:
    places = ", ".join(in_home(place.path) for place in config_places())
    yield Check(name="configuration", status="ok", cause=f"none, so AUTO decides; looked for {places}")
    try:
        choice = detect(allow_demo=True)
    except ConfigurationError as error:
        cause, _, fix = str(error).partition(": ")
        yield Check(name="AUTO", status="failure", cause=cause, fix=fix or "change the variable, or unset it")
        return
    chosen = choice.chosen
    if chosen is None:
        wishes = [
            name for name in ("SHOWCALLER_BACKEND", "DV_AGENT_BACKEND") if os.environ.get(name, "").strip()
        ]
        fix = "export OPENAI_API_KEY=…, or pip install 'showcaller[embedded]', or write a showcaller.toml"
        yield Check(
            name="AUTO",
            status="failure",
            cause="it can use nothing: "
            + "; ".join(f"{one.name}: {one.reason}" for one in choice.candidates),
            fix=f"unset {wishes[0]}, or {fix}" if wishes else fix,
        )
        return
    yield Check(name="AUTO", status="ok", cause=f"takes {chosen.name}: {chosen.reason}")


def _backend_checks(backend: BackendConfig) -> Iterator[Check]:
    name = f"backend {backend.name}"
    if not backend.enabled:
        yield Check(name=name, status="ok", cause="disabled")
        return
    if backend.backend_type is BackendType.EMBEDDED:
        yield _embedded(name, backend)
        return
    if backend.backend_type is BackendType.GITHUB_MODELS:
        yield Check(
            name=name,
            status="warning",
            cause="GitHub Models was retired for everyone on 2026-07-30",
            fix=f"take [backends.{backend.entry}] out, unless its base_url is an endpoint of your own",
        )
    secrets = [backend.api_key, *backend.headers.values()]
    found = [secret for secret in secrets if isinstance(secret, Secret)]
    for secret in found:
        yield _key(name, secret)
    if not found:
        yield Check(name=name, status="ok", cause="uses no key")


def _key(name: str, secret: Secret) -> Check:
    if isinstance(secret, CommandSecret):
        return Check(
            name=name, status="ok", cause=f"key from the {secret.source}, run at first use and not now"
        )
    try:
        secret.reveal()
    except ConfigurationError as error:
        if isinstance(secret, EnvSecret):
            cause, fix = f"its key is not there: {secret.name} is not set", f"export {secret.name}=…"
        else:
            cause, fix = "its key is not there", str(error)
        return Check(name=name, status="failure", cause=cause, fix=fix)
    return Check(name=name, status="ok", cause=f"key from the {secret.source}")


def _embedded(name: str, backend: BackendConfig) -> Check:
    model = backend.model or "smollm2"
    if importlib.util.find_spec("xllamacpp") is None:
        return Check(
            name=name,
            status="failure",
            cause="it runs in this process, and the package xllamacpp is not installed",
            fix="pip install 'showcaller[embedded]'",
        )
    if model.endswith(".gguf"):
        try:
            ensure_model(model, offline=True)
        except ConfigurationError as error:
            cause, _, fix = str(error).partition(" Fix: ")
            return Check(name=name, status="failure", cause=cause, fix=fix or "see the cause")
    return Check(name=name, status="ok", cause=f"runs {model} in this process")
