"""Where a configuration is looked for when none is given; every place that was tried can be shown."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from attrs import frozen

from showcaller.actors.configuration import RuntimeConfig
from showcaller.actors.log import AUTO_CHOSE

FILE_NAME = "showcaller.toml"


@frozen
class Place:
    """One place that is looked at.

    Attributes:
        path: the file.
        origin: why it is looked at.
        found: is there a file?
        must_exist: was it named on purpose, so that its absence is an error?
    """

    path: Path
    origin: str
    found: bool
    must_exist: bool = False


def config_places(environ: Mapping[str, str] | None = None) -> tuple[Place, ...]:
    """The places where a configuration may be, in order; the first that is found, or must exist, is taken."""
    env = os.environ if environ is None else environ
    places = []
    named = env.get("SHOWCALLER_CONFIG", "").strip()
    if named:
        places.append(_place(Path(named), "SHOWCALLER_CONFIG", must_exist=True))
    places.append(_place(Path(FILE_NAME), "the current folder"))
    base = env.get("XDG_CONFIG_HOME", "").strip()
    # The XDG specification: a relative path in it is to be ignored.
    if base and Path(base).is_absolute():
        places.append(_place(Path(base) / "showcaller" / "config.toml", "XDG_CONFIG_HOME"))
    else:
        home = env.get("HOME", "").strip()
        if home:
            places.append(_place(Path(home) / ".config" / "showcaller" / "config.toml", "~/.config"))
    return tuple(places)


def find_config(environ: Mapping[str, str] | None = None) -> Path | None:
    """The configuration that is taken when none is given, or None: AUTO then decides.

    A file that SHOWCALLER_CONFIG names is returned also when it is missing, so that reading it says so.
    """
    for place in config_places(environ):
        if place.found or place.must_exist:
            return place.path
    return None


def resolve_config(config: RuntimeConfig | str | Path | None) -> RuntimeConfig:
    """A configuration as it is, that of a file, and for None the one that is found or that AUTO makes.

    Raises:
        ConfigurationError: it is wrong, or there is none and nothing to use.
    """
    if isinstance(config, RuntimeConfig):
        return config
    from showcaller.runtime.config import load_config
    from showcaller.runtime.detect import detect

    path = find_config() if config is None else config
    if path is not None:
        return load_config(path)
    choice = detect()
    found = choice.require()
    if choice.chosen is not None:
        AUTO_CHOSE.say(choice.chosen.name, choice.chosen.reason)
    return found


def _place(path: Path, origin: str, *, must_exist: bool = False) -> Place:
    try:
        found = path.is_file()
    except (OSError, ValueError):
        found = False
    return Place(path, origin, found, must_exist)
