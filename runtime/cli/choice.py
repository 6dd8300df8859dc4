"""Which configuration a command uses: the file that is named or found, else what AUTO takes."""

from __future__ import annotations

import os
from pathlib import Path

from attrs import frozen

from showcaller.actors.configuration import RuntimeConfig
from showcaller.runtime.config import load_config
from showcaller.runtime.detect import Candidate, detect
from showcaller.runtime.search_path import find_config


@frozen
class Choice:
    """A configuration and where it comes from.

    Attributes:
        config: the configuration.
        candidate: what AUTO took, or None when a file says it.
        passed_over: what AUTO found and could not use.
    """

    config: RuntimeConfig
    candidate: Candidate | None = None
    passed_over: tuple[Candidate, ...] = ()


def choose(path: Path | None, model: str | None = None) -> Choice:
    """Find the configuration.

    Args:
        path: the file that was named, or None.
        model: what the request asks for; without a file it is what the endpoint is asked for.

    Raises:
        ConfigurationError: it is wrong, or there is none and nothing to use.
    """
    found = path or find_config()
    if found is not None:
        return Choice(load_config(found))
    environ = os.environ if model is None else {**os.environ, "SHOWCALLER_MODEL": model}
    auto = detect(allow_demo=True, environ=environ)
    config, chosen = auto.require(), auto.chosen
    assert chosen is not None
    before = auto.candidates[: auto.candidates.index(chosen)]
    return Choice(config, chosen, tuple(one for one in before if one.found))
