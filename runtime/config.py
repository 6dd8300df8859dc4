"""Reads a TOML configuration into a RuntimeConfig, or says every problem at once: field, value and fix.

A literal secret in the document is wrapped before anything can fail, and the error is raised where no local
variable holds the document, so that a traceback with its locals shows no secret.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from showcaller.actors.configuration import RuntimeConfig
from showcaller.actors.errors import ConfigurationError
from showcaller.actors.redaction import redact
from showcaller.runtime.config_tables import read_document


def load_config(path: str | Path, *, environ: Mapping[str, str] | None = None) -> RuntimeConfig:
    """Read a TOML file.

    Args:
        path: the file; relative paths in it are relative to its folder.
        environ: the environment, `os.environ` when left out.

    Raises:
        ConfigurationError: the file cannot be read, or something in it is wrong; all problems are listed.
    """
    try:
        file = Path(path)
    except TypeError:
        kind = type(path).__name__
        del path  # a document may hold a literal secret
        raise ConfigurationError(
            f"config = <{kind}>: give a RuntimeConfig, or the path of a TOML file"
        ) from None
    config, problems = _read_file(file, os.environ if environ is None else environ)
    if config is None:
        raise ConfigurationError(_listing(str(path), problems))
    return config


def parse_config(
    document: Mapping[str, Any], *, folder: Path | None = None, environ: Mapping[str, str] | None = None
) -> RuntimeConfig:
    """Check a document that was read elsewhere, as tomllib gives it.

    Args:
        document: the tables.
        folder: what relative paths are relative to; the current folder when left out.
        environ: the environment, `os.environ` when left out.

    Raises:
        ConfigurationError: something is wrong; all problems are listed.
    """
    env = os.environ if environ is None else environ
    config, problems = read_document(document, folder or Path(), env)
    del document
    if config is None:
        raise ConfigurationError(_listing("configuration", problems))
    return config


def _read_file(path: Path, environ: Mapping[str, str]) -> tuple[RuntimeConfig | None, list[str]]:
    try:
        # Some editors begin a file with a byte order mark.
        text = path.expanduser().read_text(encoding="utf-8-sig")
    except OSError as error:
        return None, [f"the file cannot be read ({error.strerror}); check the path, or SHOWCALLER_CONFIG"]
    except UnicodeDecodeError:
        return None, ["the file is not UTF-8 text; save it as UTF-8"]
    except (ValueError, RuntimeError):
        return None, ["the path cannot be one of a file; check it, or SHOWCALLER_CONFIG"]
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        return None, [f"it is no valid TOML: {redact(str(error))}"]
    except RecursionError:
        return None, ["it is nested too deeply"]
    except ValueError:
        return None, ["it has a number of more digits than can be read; write a smaller one"]
    return read_document(document, path.parent, environ)


def _listing(source: str, problems: list[str]) -> str:
    if len(problems) == 1:
        return f"{source}: {problems[0]}"
    return "\n  ".join([f"{source}: {len(problems)} problems", *problems])
