"""The tables of the configuration file and how they become settings.

cattrs finds unknown and missing keys; the settings' own validators judge the values. After a problem the
field is left out and the table is tried again, so that one run tells all that is wrong.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import attrs
from attrs import field, frozen
from cattrs import Converter
from cattrs.errors import AttributeValidationNote, ClassValidationError, ForbiddenExtraKeysError

from showcaller.actors.backend_config import BackendConfig, Limits, Timeouts
from showcaller.actors.configuration import RuntimeConfig
from showcaller.actors.enums import BackendType
from showcaller.actors.errors import ConfigurationError
from showcaller.actors.route_config import RouteConfig, TargetConfig
from showcaller.actors.secrets import CommandSecret, EnvSecret, FileSecret, Secret
from showcaller.actors.settings import HealthConfig, QuotaConfig, RuntimeSettings
from showcaller.actors.validators import InvalidFieldError, nearest, shown
from showcaller.runtime.presets import NOT_DRIVEN, PRESETS, Preset

T = TypeVar("T")
VERSION = 1

_WHERE_IT_IS = 'use { env = "NAME" }, { file = "path" } or { command = ["program", "argument"] }'


@frozen(kw_only=True)
class _Document:
    version: Any = VERSION
    runtime: Any = field(factory=dict)
    backends: Any = field(factory=dict)
    routes: Any = field(factory=dict)
    quota: Any = field(factory=dict)
    health: Any = field(factory=dict)


@frozen(kw_only=True)
class _BackendTable:
    type: Any
    models: Any = None
    limits: Any = None
    model: Any = None
    enabled: Any = None
    weight: Any = None
    timeout: Any = None
    max_retries: Any = None
    base_url: Any = None
    api_key: Any = None
    auth_header: Any = None
    auth_scheme: Any = None
    headers: Any = None
    max_parallel_requests: Any = None
    idempotent: Any = None
    options: Any = None
    supports: Any = None
    context_window: Any = None


_PASSED_ON = tuple(
    name for name in attrs.fields_dict(_BackendTable) if name not in ("type", "models", "limits")
)


def read_document(
    document: Mapping[str, Any], folder: Path, environ: Mapping[str, str]
) -> tuple[RuntimeConfig | None, list[str]]:
    """The configuration, or None and every problem found."""
    return _Reader(folder, environ).read(document)


class _Reader:
    """One reading of one document; it collects problems and goes on."""

    def __init__(self, folder: Path, environ: Mapping[str, str]) -> None:
        self._folder = folder
        self._environ = environ
        self._problems: list[str] = []

    def read(self, raw: Mapping[str, Any]) -> tuple[RuntimeConfig | None, list[str]]:
        document = self._structure(_Document, raw, "")
        if document is None:
            return None, self._problems
        if document.version != VERSION or isinstance(document.version, bool):
            self._say("version", document.version, f"this version of Showcaller reads version = {VERSION}")
        runtime = self._structure(RuntimeSettings, document.runtime, "runtime")
        quota = self._structure(QuotaConfig, document.quota, "quota")
        health = self._structure(HealthConfig, document.health, "health")
        backends = [
            backend
            for name, table in self._tables(document.backends, "backends")
            for backend in self._backends(name, table)
        ]
        routes = [
            route
            for name, table in self._tables(document.routes, "routes")
            if (route := self._route(name, table)) is not None
        ]
        if self._problems:
            return None, self._problems
        return self._assemble(
            runtime or RuntimeSettings(), backends, routes, quota or QuotaConfig(), health or HealthConfig()
        )

    def _assemble(
        self,
        runtime: RuntimeSettings,
        backends: list[BackendConfig],
        routes: list[RouteConfig],
        quota: QuotaConfig,
        health: HealthConfig,
    ) -> tuple[RuntimeConfig | None, list[str]]:
        while True:
            try:
                config = RuntimeConfig(
                    runtime=runtime,
                    backends=tuple(backends),
                    routes=tuple(routes),
                    quota=quota,
                    health=health,
                )
            except InvalidFieldError as error:
                self._problems.append(f"{error.field} = {error.shown}: {error.fix}")
                kept = [route for route in routes if not error.field.startswith(f"routes.{route.name}.")]
                if len(kept) == len(routes):
                    return None, self._problems
                # Nor does anything fall back on it, so that its name is not missed as well.
                gone = {route.name for route in routes} - {route.name for route in kept}
                routes = [route.without_fallbacks(gone) for route in kept]
            except ConfigurationError as error:
                # Without a route that was wrong, its name is unknown for no reason of its own.
                if not self._problems:
                    self._problems.append(error.message)
                return None, self._problems
            else:
                return (None if self._problems else config), self._problems

    def _tables(self, value: Any, path: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
        # What stands here by mistake may hold a key of a backend, and so a secret: it is not shown.
        if not isinstance(value, Mapping):
            self._problems.append(f"{path} = <{type(value).__name__}>: write tables such as [{path}.name]")
            return
        for name, table in value.items():
            if isinstance(table, Mapping):
                yield name, table
            else:
                fix = f"only tables stand here; write [{path}.NAME] above the keys of one"
                self._problems.append(f"{path}.{name} = <{type(table).__name__}>: {fix}")

    def _backends(self, entry: str, raw: Mapping[str, Any]) -> Iterator[BackendConfig]:
        path = f"backends.{entry}"
        table = self._structure(_BackendTable, raw, path)
        if table is None:
            return
        preset = self._preset(table.type, path)
        if preset is None:
            return
        values: dict[str, Any] = {
            name: value for name in _PASSED_ON if (value := getattr(table, name)) is not None
        }
        values["backend_type"] = preset.backend_type
        values["entry"] = entry
        self._fill_in(values, preset, path)
        if "timeout" in values:
            values["timeout"] = self._timeouts(values["timeout"], preset.backend_type, f"{path}.timeout")
        if table.limits is not None:
            limits = self._structure(Limits, table.limits, f"{path}.limits") or Limits()
            values["rate_limit_rpm"], values["rate_limit_tpm"] = limits.rpm, limits.tpm
        for name, model in self._models(entry, table, preset, path):
            named = values | {"name": name} | ({} if model is None else {"model": model})
            before = len(self._problems)
            backend = self._structure(BackendConfig, named, path)
            if backend is None or len(self._problems) > before:
                return  # the entry's other models would only say the same again
            yield backend

    def _models(
        self, entry: str, table: _BackendTable, preset: Preset, path: str
    ) -> list[tuple[str, str | None]]:
        models = table.models
        if models is None:
            return [(entry, None if table.model is not None else preset.model)]
        if table.model is not None:
            self._say(f"{path}.model", table.model, "give model or models, not both")
        elif not isinstance(models, list) or not models or not all(isinstance(one, str) for one in models):
            self._say(f"{path}.models", models, "use a list of model names")
        elif len(set(models)) < len(models):
            self._say(f"{path}.models", models, "name each model once")
        else:
            return [(f"{entry}/{model}", model) for model in models]
        return []

    def _preset(self, given: Any, path: str) -> Preset | None:
        name = given.strip().lower().replace("-", "_") if isinstance(given, str) else ""
        if name in NOT_DRIVEN:
            self._say(f"{path}.type", given, NOT_DRIVEN[name])
        elif name not in PRESETS:
            self._say(f"{path}.type", given, f"no such type{nearest(name, PRESETS)}")
        return PRESETS.get(name)

    def _fill_in(self, values: dict[str, Any], preset: Preset, path: str) -> None:
        if "base_url" not in values:
            url = self._environ.get(preset.base_url_env, "").strip() if preset.base_url_env else ""
            base_url = url.rstrip("/") + preset.base_url_path if url else preset.base_url
            if base_url is not None:
                values["base_url"] = base_url
        if "api_key" in values:
            values["api_key"] = self._secret(values["api_key"], f"{path}.api_key")
        elif preset.api_key_env is not None:
            values["api_key"] = EnvSecret(preset.api_key_env)
        values.setdefault("auth_header", preset.auth_header)
        values.setdefault("auth_scheme", preset.auth_scheme)
        headers = values.get("headers", {})
        if isinstance(headers, Mapping):
            values["headers"] = dict(preset.headers) | {
                name: (self._secret(value, f"{path}.headers.{name}") or "")
                if isinstance(value, Mapping)
                else value
                for name, value in headers.items()
            }

    def _secret(self, value: Any, path: str) -> Secret | None:
        try:
            if isinstance(value, str):
                return Secret(value)
            if isinstance(value, Mapping):
                if set(value) == {"env"}:
                    return EnvSecret(value["env"])
                if set(value) == {"file"}:
                    return FileSecret(self._folder / FileSecret(value["file"]).path.expanduser())
                if "command" in value and set(value) <= {"command", "timeout"}:
                    return CommandSecret(**value)
        except InvalidFieldError as error:
            place = f"{path}.{error.field}" if isinstance(value, Mapping) else path
            self._problems.append(f"{place} = {error.shown}: {error.fix}")
        except (TypeError, ValueError, RuntimeError):
            self._problems.append(f"{path} = <{type(value).__name__}>: {_WHERE_IT_IS}")
        else:
            self._problems.append(f"{path} = <{type(value).__name__}>: {_WHERE_IT_IS}")
        return None

    def _timeouts(self, value: Any, backend_type: BackendType, path: str) -> Any:
        if not isinstance(value, Mapping):
            return value
        defaults = attrs.asdict(Timeouts.for_type(backend_type))
        return self._structure(Timeouts, defaults | dict(value), path) or Timeouts()

    def _route(self, name: str, raw: Mapping[str, Any]) -> RouteConfig | None:
        path = f"routes.{name}"
        values = dict(raw)
        if "name" in values:
            self._say(f"{path}.name", values.pop("name"), "a route is named by its table; take this key out")
        targets = values.get("targets")
        if isinstance(targets, list):
            values["targets"] = [
                self._structure(
                    TargetConfig,
                    target if isinstance(target, Mapping) else {"backend": target},
                    f"{path}.targets[{index}]",
                )
                for index, target in enumerate(targets)
            ]
            if None in values["targets"]:
                # It has been told; the rest of the route is still to be judged.
                values["targets"] = ["told"]
        return self._structure(RouteConfig, values | {"name": name}, path)

    def _structure(self, cls: type[T], raw: Any, path: str) -> T | None:
        if not isinstance(raw, Mapping):
            self._say(path, raw, f"write it as a table [{path}]")
            return None
        data = dict(raw)
        left_out: set[str] = set()
        while True:
            try:
                return _converter().structure(data, cls)
            except ClassValidationError as group:
                found = list(_problems_of(group, cls, data))
            except InvalidFieldError as error:
                found = [(error.field, f"{error.field} = {error.shown}: {error.fix}")]
            for name, problem in found:
                if name not in left_out:
                    self._problems.append(f"{path}.{problem}" if path else problem)
            names = {name.partition(".")[0].partition("[")[0] for name, _ in found}
            left_out |= names
            if not names & set(data):
                return None
            data = {name: value for name, value in data.items() if name not in names}

    def _say(self, path: str, value: Any, fix: str) -> None:
        self._problems.append(f"{path} = {shown(value)}: {fix}")


def _problems_of(
    group: ClassValidationError, cls: type, data: Mapping[str, Any]
) -> Iterator[tuple[str, str]]:
    """The field and the text of each problem that cattrs has collected about one table."""
    known = [name for name in attrs.fields_dict(cls) if not name.startswith("_")]
    for error in group.exceptions:
        if isinstance(error, ForbiddenExtraKeysError):
            for name in sorted(error.extra_fields):
                yield name, f"{name}: no such key{nearest(name, known)}"
        elif isinstance(error, InvalidFieldError):
            yield error.field, f"{error.field} = {error.shown}: {error.fix}"
        else:
            notes = [
                note for note in getattr(error, "__notes__", ()) if isinstance(note, AttributeValidationNote)
            ]
            name = notes[0].name if notes else ""
            if isinstance(error, KeyError) and name not in data:
                yield name, f"{name}: is missing"
            else:
                yield name, f"{name} = {shown(data.get(name))}: is not of the right kind"


@cache
def _converter() -> Converter:
    converter = Converter(forbid_extra_keys=True, prefer_attrib_converters=True)
    # cattrs would turn True into 1 and 5 into "5"; the settings' validators are to see what was written.
    for kind in (bool, int, float, str):
        converter.register_structure_hook(kind, _as_written)
    converter.register_structure_hook_func(lambda kind: not attrs.has(kind), _as_written)
    return converter


def _as_written(value: Any, _: Any) -> Any:
    return value
