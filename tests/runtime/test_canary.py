"""A secret is pushed in everywhere it can be given, and looked for everywhere it could come out."""

from __future__ import annotations

import io
import logging
import pickle
import time
import traceback
from collections.abc import Iterator
from pathlib import Path

import attrs
import pytest
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from showcaller.actors.backend_config import BackendConfig, Timeouts
from showcaller.actors.configuration import RuntimeConfig
from showcaller.actors.errors import ConfigurationError, ShowcallerError
from showcaller.actors.transport import Attempt, Done, Failed
from showcaller.runtime.config import load_config
from showcaller.runtime.logging import set_up_logging
from showcaller.runtime.transports.http import HttpTransport

KEY = "canary/key+8b1f=7"
HEADER = "canary-header-c0ffee42"
URL = "canary-url-d15ea5e9"
CANARIES = (KEY, HEADER, URL)

CONFIG = """
[backends.b]
type = "openai_compatible"
model = "m"
base_url = "{base_url}?key={url}"
api_key = "{key}"
headers = {{ X-Api-Key = "{header}" }}
"""


@pytest.fixture
def heard() -> Iterator[io.StringIO]:
    """The log of a host that wants to know everything, urllib3's included."""
    set_up_logging()
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    names = ("showcaller", "urllib3")
    for name in names:
        logging.getLogger(name).addHandler(handler)
        logging.getLogger(name).setLevel(logging.DEBUG)
    logging.getLogger("showcaller").debug("listening")
    yield stream
    for name in names:
        logging.getLogger(name).removeHandler(handler)
        logging.getLogger(name).setLevel(logging.NOTSET)


def _write(folder: Path, text: str, base_url: str = "http://h/v1") -> Path:
    path = folder / "showcaller.toml"
    path.write_text(text.format(base_url=base_url, key=KEY, header=HEADER, url=URL), encoding="utf-8")
    return path


def _transport(backend: BackendConfig) -> HttpTransport:
    assert backend.base_url is not None
    assert backend.model is not None
    assert backend.api_key is not None
    return HttpTransport(
        base_url=backend.base_url,
        model=backend.model,
        now=time.monotonic,
        wall=time.time,
        api_key=backend.api_key.reveal,
        headers=backend.headers,
    )


def _attempt() -> Attempt:
    return Attempt(
        request_id="r1",
        number=1,
        backend="b",
        payload=b'{"messages":[{"content":"hi","role":"user"}]}',
        stream=False,
        deadline=time.monotonic() + 30,
        timeout=Timeouts(),
    )


def _shown(error: BaseException) -> str:
    lines = traceback.TracebackException.from_exception(error, capture_locals=True).format()
    return "".join([*lines, repr(error), str(error), repr(error.__dict__)])


def _raised(error: ShowcallerError) -> str:
    """What a reporter would print of it, from a frame that knows nothing of its own."""
    try:
        raise error
    except ShowcallerError as caught:
        return _shown(caught)


def _leaks(*texts: str) -> list[str]:
    return [canary for canary in CANARIES for text in texts if canary in text]


def _echo(request: Request) -> Response:
    """A provider that quotes all it was sent."""
    quoted = f"refused {dict(request.headers)} at {request.url}"
    return Response(
        f'{{"error": {{"message": "{quoted!r}"}}}}'.replace("\\", ""),
        status=int(request.headers.get("X-Status", "401")),
        headers={"X-Request-Id": KEY},
    )


@pytest.mark.parametrize("status", [400, 401, 403, 404, 429, 500])
def test_a_provider_that_quotes_the_request_reveals_nothing(
    status: int, httpserver: HTTPServer, tmp_path: Path, heard: io.StringIO
) -> None:
    """Key, header and URL went out and came back in the error body; nobody here gets to read them."""
    httpserver.expect_request("/v1/chat/completions").respond_with_handler(_echo)
    text = CONFIG.replace("headers = {{", f'headers = {{{{ X-Status = "{status}",')
    config = load_config(_write(tmp_path, text, httpserver.url_for("/v1")))
    (backend,) = config.backends
    transport = _transport(backend)
    events = list(transport.attempt(_attempt()))
    transport.close()
    last = events[-1]
    assert isinstance(last, Failed)
    assert last.error.status == status
    sent = httpserver.log[0][0]
    assert KEY in sent.headers["Authorization"]
    assert sent.headers["X-Api-Key"] == HEADER
    assert URL in sent.url
    assert _leaks(_raised(last.error), repr(events), repr(pickle.dumps(last.error))) == []
    assert "listening" in heard.getvalue()
    assert _leaks(heard.getvalue()) == []


def test_a_good_answer_reveals_nothing_either(
    httpserver: HTTPServer, tmp_path: Path, heard: io.StringIO
) -> None:
    """The way that is taken most often."""
    message = {"role": "assistant", "content": "hi"}
    httpserver.expect_request("/v1/chat/completions").respond_with_json(
        {"choices": [{"message": message, "finish_reason": "stop"}], "model": "m"}
    )
    (backend,) = load_config(_write(tmp_path, CONFIG, httpserver.url_for("/v1"))).backends
    transport = _transport(backend)
    events = list(transport.attempt(_attempt()))
    assert isinstance(events[-1], Done)
    assert _leaks(repr(events), repr(transport), heard.getvalue()) == []
    transport.close()


def test_a_configuration_shows_none_of_its_secrets(tmp_path: Path) -> None:
    """By repr and as a dict."""
    config = load_config(_write(tmp_path, CONFIG))
    assert _leaks(repr(config)) == []
    assert _leaks(repr(attrs.asdict(config)["backends"][0]["api_key"])) == []
    assert isinstance(config, RuntimeConfig)


@pytest.mark.parametrize(
    "mistake",
    [
        "weight = -1",
        "unknown = 1",
        "timeout = 0",
        "models = ['a']",
        "limits = { rpm = 0 }",
        "auth_header = 'a b'",
        "options = { x = nan }",
        "[routes.r]\ntargets = ['nobody']",
        "[runtime]\nmodel = 'nobody'",
    ],
)
def test_a_refused_configuration_shows_none_of_its_secrets(mistake: str, tmp_path: Path) -> None:
    """Also to a reporter that prints the locals of every frame."""
    path = _write(tmp_path, CONFIG + mistake.replace("{", "{{").replace("}", "}}"))
    with pytest.raises(ConfigurationError) as caught:
        load_config(path)
    assert _leaks(_shown(caught.value)) == []


@pytest.mark.parametrize(
    "line",
    [
        'api_key = ["{key}"]',
        'api_key = {{ value = "{key}" }}',
        'api_key = {{ env = "A", key = "{key}" }}',
        'api_key = "{key}\\n"',
        'headers = {{ Authorization = "{key}\\n" }}',
        'headers = {{ Authorization = ["{key}"] }}',
        'headers = {{ X-Token = {{ value = "{key}" }} }}',
        'base_url = "https://user:{url}@h/v1"',
        'base_url = "ftp://h/v1?key={url}"',
    ],
)
def test_a_secret_in_the_wrong_form_is_refused_unseen(line: str, tmp_path: Path) -> None:
    """A secret that cannot be used is a secret still."""
    text = '[backends.b]\ntype = "openai"\nmodel = "m"\n' + line
    with pytest.raises(ConfigurationError) as caught:
        load_config(_write(tmp_path, text))
    assert "backends.b." in str(caught.value)
    assert _leaks(_shown(caught.value)) == []
