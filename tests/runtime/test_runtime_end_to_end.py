"""The whole way with nothing scripted: a real model in the process, and one behind a server that is killed."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from showcaller.actors.backend_config import BackendConfig
from showcaller.actors.configuration import RuntimeConfig
from showcaller.actors.errors import BackendUnreachableError, StreamInterruptedError
from showcaller.actors.route_config import RouteConfig
from showcaller.actors.settings import RuntimeSettings
from showcaller.runtime.runtime import Runtime
from showcaller.runtime.transports.model_store import ensure_model

PATIENCE = 60.0


@pytest.fixture(scope="module")
def start_server() -> Iterator[Callable[[], tuple[str, subprocess.Popen[str]]]]:
    """Starts model servers; each gives its address and its process."""
    program = Path(__file__).with_name("model_server.py")
    processes: list[subprocess.Popen[str]] = []

    def start() -> tuple[str, subprocess.Popen[str]]:
        command = [sys.executable, str(program), str(ensure_model())]
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        processes.append(process)
        assert process.stdout is not None
        return f"{process.stdout.readline().strip()}/v1", process

    yield start
    for process in processes:
        process.kill()
        process.wait(PATIENCE)
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.close()
        process.stdout.close()


@pytest.fixture(scope="module")
def url(start_server: Callable[[], tuple[str, subprocess.Popen[str]]]) -> str:
    """The address of a server that stays."""
    return start_server()[0]


def over_http(url: str, name: str = "http") -> BackendConfig:
    return BackendConfig(
        name=name,
        backend_type="openai",
        base_url=url,
        model=f"smollm2-{name}",
        api_key="the-key-of-the-tests",
        timeout=PATIENCE,
    )


def embedded() -> BackendConfig:
    return BackendConfig(
        name="embedded", backend_type="embedded", model="smollm2", options={"n_ctx": 2048, "n_threads": 1}
    )


def config(*backends: BackendConfig, timeout: float = PATIENCE) -> RuntimeConfig:
    """Those backends, the first one preferred."""
    return RuntimeConfig(
        runtime=RuntimeSettings(model="fast", timeout=timeout),
        backends=backends,
        routes=[RouteConfig(name="fast", routing_strategy="failover", targets=list(backends))],
    )


@pytest.mark.parametrize("where", ["embedded", "http"])
def test_a_real_model_answers_and_streams(where: str, url: str) -> None:
    """Asked, asked for a repeatable answer twice, and streamed."""
    backend = embedded() if where == "embedded" else over_http(url)
    with Runtime.start(config(backend)) as runtime:
        response = runtime.ask("Say hello", max_tokens=8, temperature=0)
        assert response.content
        assert response.backend == where
        assert response.usage.output_tokens >= 1
        assert not response.usage.estimated
        with runtime.stream("Say hello", max_tokens=8, temperature=0) as stream:
            text = "".join(chunk.text for chunk in stream)
        assert text == stream.response.content == response.content
        outcomes = runtime.ask_many(["Say one", "Say two", "Say three"], max_tokens=4)
        assert all(outcome.ok for outcome in outcomes)
        account = runtime.status().account
        assert (account.accepted, account.answered) == (5, 5)


def test_a_stream_that_is_left_stops_the_model(url: str) -> None:
    """Two seats and two streams of a thousand tokens: a third is answered only if they are given up."""
    backend = over_http(url)
    with Runtime.start(config(backend)) as runtime:
        for _ in range(4):
            with runtime.stream("Count to one thousand", max_tokens=1000) as stream:
                assert next(stream) is not None
        assert runtime.ask("Say hello", max_tokens=4).content
        assert runtime.status().account.failed == 4


def test_a_server_killed_in_mid_stream_leaves_what_had_come(
    start_server: Callable[[], tuple[str, subprocess.Popen[str]]],
) -> None:
    """The error has it; a new request goes to the embedded model."""
    url, process = start_server()
    with Runtime.start(config(over_http(url), embedded())) as runtime:
        with runtime.stream("Count to one thousand", max_tokens=1500) as stream:
            read = [next(stream).text for _ in range(5)]
            process.kill()
            with pytest.raises(StreamInterruptedError) as caught:
                read.extend(chunk.text for chunk in stream)
        assert caught.value.partial == "".join(read)
        process.wait(PATIENCE)
        response = runtime.ask("Say hello", max_tokens=4)
        assert response.backend == "embedded"
        assert response.attempts == 2


def test_a_dead_server_is_passed_over_for_the_embedded_model() -> None:
    """And says why, when there is nothing else."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/v1"
        with Runtime.start(config(over_http(url), embedded())) as runtime:
            response = runtime.ask("Say hello", max_tokens=4)
            assert response.backend == "embedded"
            with runtime.stream("Say hello", max_tokens=4) as stream:
                assert "".join(chunk.text for chunk in stream) == stream.response.content
            assert stream.response.backend == "embedded"
            with pytest.raises(Exception, match=r"http.*cannot be reached") as caught:
                runtime.ask("Say hello", model="http", timeout=0.5)
    errors = getattr(caught.value, "attempts", (caught.value,))
    assert any(isinstance(error, BackendUnreachableError) for error in errors)
