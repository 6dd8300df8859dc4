"""Fetches one pinned wheel from the Python package index that this machine is set up to use.

First directly, which gives byte counts; when that fails, through pip, which knows every way to an index.
"""

from __future__ import annotations

import configparser
import hashlib
import html
import importlib.util
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urldefrag, urljoin, urlsplit, urlunsplit

import requests
from attrs import field, frozen

from showcaller.actors.redaction import redact
from showcaller.runtime.transports.wheel import Wheel

DEFAULT_INDEX = "https://pypi.org/simple"
_ACCEPT = "application/vnd.pypi.simple.v1+json, application/vnd.pypi.simple.v1+html;q=0.2, text/html;q=0.1"
_HREF = re.compile(r"""<a\b[^>]*\bhref\s*=\s*["']([^"']+)["']""", re.IGNORECASE)
_READ_SIZE = 16 * 1024
_CONNECT_TIMEOUT = 10.0


class FetchError(Exception):
    """The wheel could not be fetched; the text names the host and the reason, without credentials."""


class ChecksumError(FetchError):
    """What arrived is not the file that is wanted."""


@frozen(kw_only=True)
class IndexSettings:
    """What pip's configuration says of reaching an index.

    Attributes:
        url: of the index (its PEP 503 root).
        no_index: must no index be asked?
        ca_bundle: a file of certificates, or None for the environment's or requests' own.
        proxy: a proxy for everything, or None for the environment's.
    """

    url: str = field(default=DEFAULT_INDEX, repr=False)
    no_index: bool = False
    ca_bundle: str | None = None
    proxy: str | None = field(default=None, repr=False)

    @classmethod
    def of_this_machine(cls, environ: Mapping[str, str] = os.environ) -> IndexSettings:
        """Read PIP_* (and uv's UV_DEFAULT_INDEX) from the environment, then pip's configuration files."""
        files = configparser.RawConfigParser()
        for path in _configuration_files(environ):
            try:
                files.read(path, encoding="utf-8")
            except (OSError, UnicodeError, configparser.Error):
                continue  # pip itself complains of it loudly enough

        def setting(name: str) -> str | None:
            value = environ.get("PIP_" + name.upper().replace("-", "_"))
            for section in ("download", "global"):
                value = value or files.get(section, name, fallback=None)
            return value or None

        return cls(
            url=setting("index-url") or environ.get("UV_DEFAULT_INDEX") or DEFAULT_INDEX,
            no_index=(setting("no-index") or "").lower() in {"1", "true", "yes", "on"},
            ca_bundle=setting("cert"),
            proxy=setting("proxy"),
        )


def _configuration_files(environ: Mapping[str, str]) -> list[Path]:
    """Where pip keeps its configuration; the strongest file is last."""
    chosen = environ.get("PIP_CONFIG_FILE")
    if chosen == os.devnull:
        return []
    home = Path.home()
    files = [
        Path("/etc/pip.conf"),
        Path("/Library/Application Support/pip/pip.conf"),
        home / ".pip" / "pip.conf",
        Path(environ.get("XDG_CONFIG_HOME") or home / ".config") / "pip" / "pip.conf",
        home / "Library" / "Application Support" / "pip" / "pip.conf",
        Path(environ.get("APPDATA") or home) / "pip" / "pip.ini",
        Path(sys.prefix) / ("pip.ini" if sys.platform == "win32" else "pip.conf"),
    ]
    return [*files, Path(chosen)] if chosen else files


def fetch_wheel(
    wheel: Wheel,
    folder: Path,
    *,
    advanced: Callable[[int], None],
    stall_timeout: float,
    total_timeout: float,
) -> Path:
    """Fetch the wheel into the folder and return its path; its sha256 has been checked.

    Args:
        wheel: what to fetch.
        folder: where to; on failure what was begun stays there.
        advanced: told the number of further bytes that have arrived.
        stall_timeout: seconds without a byte after which a way is given up.
        total_timeout: seconds that each way may take as a whole.

    Raises:
        FetchError: by no way could it be fetched.
        ChecksumError: another file was served under its name.
    """
    settings = IndexSettings.of_this_machine()
    try:
        return _fetch_directly(wheel, folder, settings, advanced, stall_timeout, total_timeout)
    except ChecksumError:
        raise
    except FetchError as direct:
        try:
            return _fetch_with_pip(wheel, folder, stall_timeout, total_timeout)
        except ChecksumError:
            raise
        except FetchError as pip:
            raise FetchError(f"{direct}; {pip}") from direct


# --- directly --------------------------------------------------------------------------------------


def _fetch_directly(
    wheel: Wheel,
    folder: Path,
    settings: IndexSettings,
    advanced: Callable[[int], None],
    stall_timeout: float,
    total_timeout: float,
) -> Path:
    if settings.no_index:
        raise FetchError("pip is configured with no-index")
    index, credentials = _without_credentials(settings.url)
    timeout = (min(_CONNECT_TIMEOUT, stall_timeout), stall_timeout)
    target = folder / wheel.filename
    host = urlsplit(index).hostname or "the package index"
    way: dict[str, Any] = {"verify": settings.ca_bundle or True}
    if settings.proxy:
        way["proxies"] = {"http": settings.proxy, "https": settings.proxy}
    try:
        with requests.Session() as session:
            page_url = f"{index.rstrip('/')}/{wheel.project}/"
            accept = {"Accept": _ACCEPT}
            with session.get(page_url, headers=accept, auth=credentials, timeout=timeout, **way) as page:
                _require_ok(page, host)
                url = _link_to(wheel.filename, page)
            if url is None:
                raise FetchError(f"{host} has no {wheel.filename}")
            same_host = urlsplit(url).netloc == urlsplit(index).netloc
            host = urlsplit(url).hostname or host
            with session.get(
                url,
                headers={"Accept-Encoding": "identity"},
                auth=credentials if same_host else None,
                timeout=timeout,
                stream=True,
                **way,
            ) as response:
                _require_ok(response, host)
                _write(response, target, wheel, host, advanced, total_timeout)
    except requests.RequestException as error:
        raise FetchError(f"{host}: {_reason(error)}") from error
    return target


def _without_credentials(url: str) -> tuple[str, tuple[str, str] | None]:
    parts = urlsplit(url)
    userinfo, at, location = parts.netloc.rpartition("@")
    if not at:
        return url, None
    user, _, password = userinfo.partition(":")
    return urlunsplit(parts._replace(netloc=location)), (unquote(user), unquote(password))


def _require_ok(response: requests.Response, host: str) -> None:
    if response.status_code != 200:
        raise FetchError(f"{host} answered {response.status_code}")


def _link_to(filename: str, page: requests.Response) -> str | None:
    """Where the index says that file is, from a PEP 691 or PEP 503 page."""
    if "json" in page.headers.get("Content-Type", ""):
        try:
            links = {str(file["filename"]): str(file["url"]) for file in page.json()["files"]}
        except (ValueError, KeyError, TypeError):
            raise FetchError(f"{urlsplit(page.url).hostname} does not answer as a package index") from None
    else:
        found = map(html.unescape, _HREF.findall(page.text))
        links = {unquote(urlsplit(link).path.rpartition("/")[2]): link for link in found}
    link = links.get(filename)
    return None if link is None else urldefrag(urljoin(page.url, link)).url


def _write(
    response: requests.Response,
    target: Path,
    wheel: Wheel,
    host: str,
    advanced: Callable[[int], None],
    total_timeout: float,
) -> None:
    digest, received = hashlib.sha256(), 0
    ends = time.monotonic() + total_timeout
    with target.open("wb") as file:
        for piece in response.iter_content(_READ_SIZE):
            file.write(piece)
            digest.update(piece)
            received += len(piece)
            advanced(len(piece))
            if received > wheel.size:
                break
            if time.monotonic() > ends:
                raise FetchError(f"{host} was too slow: {received:,} bytes in {total_timeout:.0f} s")
    if received < wheel.size:
        raise FetchError(f"{host} broke off after {received:,} of {wheel.size:,} bytes")
    _require_checksum(digest.hexdigest(), wheel, host)


def _require_checksum(found: str, wheel: Wheel, source: str) -> None:
    if found != wheel.sha256:
        raise ChecksumError(
            f"{source} served another {wheel.filename} than the one wanted: "
            f"its sha256 does not match (wanted {wheel.sha256[:12]}…)"
        )


def _reason(error: requests.RequestException) -> str:
    if isinstance(error, requests.ConnectTimeout):
        return "no connection in time"
    if isinstance(error, requests.Timeout) or "timed out" in str(error).lower():
        return "it stalled"
    if isinstance(error, requests.exceptions.SSLError):
        return "its certificate is not trusted here (set PIP_CERT)"
    if isinstance(error, requests.exceptions.ProxyError):
        return "the proxy refused or cannot be reached"
    if isinstance(error, requests.exceptions.ChunkedEncodingError):
        return "the connection broke"
    if isinstance(error, requests.exceptions.InvalidSchema):
        return "not an http index"
    if isinstance(error, requests.ConnectionError):
        return "cannot be reached"
    return type(error).__name__


# --- through pip -----------------------------------------------------------------------------------


def _fetch_with_pip(wheel: Wheel, folder: Path, stall_timeout: float, total_timeout: float) -> Path:
    if importlib.util.find_spec("pip") is None:
        raise FetchError("pip is not installed here")
    pinned = folder / "requirements.txt"
    pinned.write_text(f"{wheel.project}=={wheel.version} --hash=sha256:{wheel.sha256}\n", encoding="utf-8")
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary", ":all:"]
    command += ["--disable-pip-version-check", "--no-input", "--no-cache-dir", "--quiet", "--retries", "1"]
    command += ["--timeout", str(max(1, round(stall_timeout))), "--dest", str(folder), "-r", str(pinned)]
    try:
        result = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            timeout=total_timeout,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise FetchError(f"pip was too slow: more than {total_timeout:.0f} s") from error
    if "DO NOT MATCH THE HASHES" in result.stderr:
        raise ChecksumError(
            f"pip found another {wheel.filename} than the one wanted: its sha256 does not match"
        )
    target = folder / wheel.filename
    if result.returncode != 0 or not target.exists():
        errors = [line for line in result.stderr.splitlines() if line.startswith("ERROR:")]
        reason = redact(errors[-1].removeprefix("ERROR:").strip()) if errors else "no reason given"
        raise FetchError(f"pip: {reason[:200]}")
    with target.open("rb") as file:
        _require_checksum(hashlib.file_digest(file, "sha256").hexdigest(), wheel, "pip")
    return target
