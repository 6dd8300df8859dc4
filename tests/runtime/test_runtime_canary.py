"""A secret goes through the whole runtime, and a provider quotes it back; nobody here gets to read it."""

from __future__ import annotations

import io
import json
import logging
import threading
import traceback
from collections.abc import Iterator

import pytest
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from showcaller.actors.backend_config import BackendConfig
from showcaller.actors.configuration import RuntimeConfig
from showcaller.actors.errors import ShowcallerError
from showcaller.actors.messages import Provoke
from showcaller.actors.secrets import Secret
from showcaller.actors.settings import RuntimeSettings
from showcaller.runtime.runtime import Runtime
from tests.runtime.live import PATIENCE, Outcomes

KEY = "orchid tulip/5150+moss=9"
HEADER = "lichen-fern-4242-sorrel"
CANARIES = (KEY, HEADER)


class Everything(logging.Handler):
    """Keeps what any formatter could make of a record."""

    def __init__(self) -> None:
        super().__init__(logging.NOTSET)
        self.text = io.StringIO()
        self.errors: list[object] = []
        self._formatter = logging.Formatter("%(name)s %(message)s")

    def emit(self, record: logging.LogRecord) -> None:
        if not record.name.startswith(
            ("showcaller", "urllib3", "requests", "pykka", "concurrent", "asyncio")
        ):
            return
        self.text.write(self._formatter.format(record))
        self.text.write(repr(record.__dict__))
        if record.exc_info and record.exc_info[1] is not None:
            self.text.write(shown(record.exc_info[1]))


@pytest.fixture
def heard() -> Iterator[Everything]:
    """The log of a host that wants to know everything of everyone."""
    handler, root = Everything(), logging.getLogger()
    before = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    yield handler
    root.setLevel(before)
    root.removeHandler(handler)


def shown(error: BaseException) -> str:
    """What a reporter would make of it, with the locals of every frame."""
    lines = traceback.TracebackException.from_exception(error, capture_locals=True).format()
    return "".join([*lines, repr(error), str(error), repr(error.__dict__)])


def quoting(request: Request) -> Response:
    """A provider that quotes all it was sent."""
    body = {"error": {"message": f"refused: {dict(request.headers)!r}"}}
    status = int(request.headers.get("X-Status", "401"))
    return Response(json.dumps(body), status=status, headers={"X-Request-Id": HEADER})


def leaks(*texts: str) -> list[str]:
    return [canary for canary in CANARIES for text in texts if canary in text]


@pytest.mark.parametrize("status", [401, 429, 500])
def test_no_secret_comes_out_of_the_whole_runtime(
    status: int, httpserver: HTTPServer, heard: Everything
) -> None:
    """Not by a log, an error, an outcome, a recording, the status, or the death of an actor."""
    httpserver.expect_request("/v1/chat/completions").respond_with_handler(quoting)
    config = RuntimeConfig(
        runtime=RuntimeSettings(num_retries=1),
        backends=[
            BackendConfig(
                name="b",
                backend_type="openai",
                base_url=httpserver.url_for("/v1"),
                model="m",
                api_key=Secret(KEY),
                headers={"X-Api-Key": HEADER, "X-Status": str(status)},
            )
        ],
    )
    texts: list[str] = []
    outcomes = Outcomes()
    with Runtime.start(config) as runtime:

        def failing(call: object) -> None:
            with pytest.raises(ShowcallerError) as caught:
                call()  # type: ignore[operator]
            texts.append(shown(caught.value))

        failing(lambda: runtime.ask("q", timeout=2.0))
        failing(lambda: list(runtime.stream("q", timeout=2.0)))
        failing(lambda: runtime.submit("q", timeout=2.0).result(PATIENCE))
        runtime.tell("q", on_outcome=outcomes, timeout=2.0)
        texts.append(repr(outcomes.wait(1)))
        texts.append(repr(runtime.ask_many(["q", "q"], timeout=2.0)))
        for _ in range(1000):
            # What was observed is sent in batches; each of these asks ends at once.
            if runtime.recorder.get_recordings():
                break
            failing(lambda: runtime.ask("q", timeout=0.1))
        for slot in ("supervisor", "quota_manager", "recorder"):
            runtime._tree.address(slot).tell(Provoke(f"a drill with {KEY}"))
        runtime.backends.crash("b", KEY)
        failing(lambda: runtime.ask("q", timeout=2.0))
        texts += [repr(runtime.status()), str(runtime.status()), repr(runtime.backends), repr(runtime)]
        texts += [repr(vars(runtime)), repr(runtime.supervisor), repr(config)]
    texts += [repr(runtime.recorder.get_recordings()), repr(runtime.status())]
    assert httpserver.log
    sent = httpserver.log[0][0]
    assert KEY in sent.headers["Authorization"]
    assert sent.headers["X-Api-Key"] == HEADER
    assert runtime.recorder.get_recordings()
    assert "DrillError" in heard.text.getvalue()
    assert leaks(*texts) == []
    assert leaks(heard.text.getvalue()) == []


def test_a_callback_of_the_users_that_raises_with_a_secret_is_logged_without_it(
    httpserver: HTTPServer, heard: Everything
) -> None:
    """Its text and its traceback are the user's, the log is everyone's."""
    done = threading.Event()
    config = RuntimeConfig(
        backends=[
            BackendConfig(
                name="b", backend_type="openai", base_url=httpserver.url_for("/v1"), model="m", api_key=KEY
            )
        ]
    )

    def fail(_outcome: object) -> None:
        done.set()
        raise ValueError(f"the key is {KEY}")

    with Runtime.start(config) as runtime:
        runtime.tell("q", on_outcome=fail, timeout=PATIENCE)
        assert done.wait(PATIENCE)
    said = heard.text.getvalue()
    assert "ValueError" in said
    assert "[redacted]" in said
    assert leaks(said) == []
