"""Where a configuration is looked for, and in which order."""

from __future__ import annotations

from pathlib import Path

import pytest

from showcaller.actors.errors import ConfigurationError
from showcaller.runtime.config import load_config
from showcaller.runtime.search_path import config_places, find_config


def test_a_configuration_is_looked_for_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every place can be shown; the first that has a file is taken."""
    monkeypatch.chdir(tmp_path)
    xdg = tmp_path / "xdg"
    (xdg / "showcaller").mkdir(parents=True)
    environ = {"XDG_CONFIG_HOME": str(xdg), "HOME": str(tmp_path)}
    assert [place.origin for place in config_places(environ)] == ["the current folder", "XDG_CONFIG_HOME"]
    assert find_config(environ) is None
    last = xdg / "showcaller" / "config.toml"
    last.touch()
    assert find_config(environ) == last
    (tmp_path / "showcaller.toml").touch()
    assert find_config(environ) == Path("showcaller.toml")
    named = environ | {"SHOWCALLER_CONFIG": "elsewhere.toml"}
    assert find_config(named) == Path("elsewhere.toml")
    with pytest.raises(ConfigurationError, match=r"elsewhere\.toml"):
        load_config(find_config(named) or "", environ=named)
    home = {"HOME": str(tmp_path), "XDG_CONFIG_HOME": "relative"}
    assert config_places(home)[-1].path == tmp_path / ".config" / "showcaller" / "config.toml"
