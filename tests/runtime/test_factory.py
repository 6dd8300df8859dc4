"""Which transport a backend gets, and which connections it shares."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import pytest

from showcaller.actors.backend_config import BackendConfig, Timeouts
from showcaller.actors.enums import BackendType
from showcaller.actors.errors import ConfigurationError
from showcaller.actors.kernel.clock import SystemClock
from showcaller.actors.transport import Attempt, Done, Failed, Transport, TransportEvent
from showcaller.runtime.transports.factory import TransportFactory
from tests.runtime.transports.fault_server import FaultServer, Peer, good

PATIENCE = 20.0


@pytest.fixture
def factory() -> TransportFactory:
    return TransportFactory(SystemClock())


@pytest.fixture
def server() -> Any:
    with FaultServer() as server:
        server.play(good)
        yield server


def http(name: str, url: str, **options: Any) -> BackendConfig:
    options.setdefault("model", name.rpartition("/")[2])
    return BackendConfig(name=name, backend_type="openai", base_url=url, **options)


def attempt(transport: Transport, timeouts: Timeouts | None = None) -> list[TransportEvent]:
    """Carry out one attempt to its end."""
    return list(
        transport.attempt(
            Attempt(
                request_id="r",
                number=1,
                backend="b",
                payload=b'{"messages":[]}',
                stream=False,
                deadline=time.monotonic() + PATIENCE,
                timeout=timeouts or Timeouts(),
            )
        )
    )


def test_backends_of_one_entry_share_their_connections(
    factory: TransportFactory, server: FaultServer
) -> None:
    """Each with its own model; the last one that closes takes the connections with it."""
    one, two = (factory.make(http(f"e/{model}", server.url)) for model in ("one", "two"))
    assert isinstance(attempt(one)[-1], Done)
    assert isinstance(attempt(two)[-1], Done)
    one.close()
    three = factory.make(http("e/three", server.url))
    assert isinstance(attempt(three)[-1], Done)
    assert server.connections == 1
    assert [
        b'"model":"%b"' % name in request
        for name, request in zip((b"one", b"two", b"three"), server.requests, strict=True)
    ] == [True] * 3
    two.close()
    three.close()
    four = factory.make(http("e/four", server.url))
    assert isinstance(attempt(four)[-1], Done)
    assert server.connections == 2
    four.close()


def test_backends_that_share_have_as_many_connections_as_attempts(
    factory: TransportFactory, server: FaultServer
) -> None:
    """One that is busy does not starve the other of its connection."""
    both = threading.Barrier(2)

    def together(peer: Peer) -> None:
        both.wait(PATIENCE)
        good(peer)

    server.play(together)
    made = [factory.make(http(f"e/{m}", server.url, max_parallel_requests=1)) for m in ("one", "two")]
    ends: list[TransportEvent] = []
    callers = [
        threading.Thread(
            target=lambda t=t: ends.append(attempt(t, Timeouts.of_total(PATIENCE))[-1]), daemon=True
        )
        for t in made
    ]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join(PATIENCE)
    assert [type(end) for end in ends] == [Done, Done]
    for transport in made:
        transport.close()


@pytest.mark.parametrize(
    "other",
    [
        {"api_key": "another-key"},
        {"api_key": None},
        {"auth_header": "api-key"},
        {"auth_scheme": "Token"},
        {"headers": {"X-Team": "b"}},
    ],
)
def test_an_entry_with_two_credentials_does_not_mix_them(
    other: dict[str, Any], factory: TransportFactory, server: FaultServer
) -> None:
    """Configured by hand, two backends may name one entry and differ in what is true of an endpoint."""
    first = factory.make(http("e/one", server.url, api_key="the-first-key"))
    second = factory.make(http("e/two", server.url, **{"api_key": "the-first-key", **other}))
    attempt(first)
    attempt(second)
    heads = [request.partition(b"\r\n\r\n")[0].split(b"\r\n")[1:] for request in server.requests]
    assert b"Authorization: Bearer the-first-key" in heads[0]
    assert sorted(heads[0]) != sorted(heads[1])
    first.close()
    second.close()


def test_an_entry_with_two_addresses_reaches_both(factory: TransportFactory, server: FaultServer) -> None:
    """The second is not sent to the first."""
    with FaultServer() as elsewhere:
        elsewhere.play(good)
        made = [factory.make(http("e/one", server.url)), factory.make(http("e/two", elsewhere.url))]
        for transport in made:
            attempt(transport)
            transport.close()
        assert (len(server.requests), len(elsewhere.requests)) == (1, 1)


@pytest.mark.parametrize("kind", [BackendType.COPILOT_CLI, BackendType.GH_COPILOT])
def test_a_type_that_is_not_driven_is_refused_by_name(kind: BackendType, factory: TransportFactory) -> None:
    """With what can be used instead."""
    with pytest.raises(ConfigurationError, match=rf"backends\.e\.type = '{kind.value}'.*embedded"):
        factory.make(BackendConfig(name="e", backend_type=kind))


@pytest.mark.parametrize(
    "config",
    [
        BackendConfig(name="e", backend_type=BackendType.COPILOT_CLI, enabled=False),
        BackendConfig(name="e", backend_type=BackendType.EMBEDDED, model="/nowhere.gguf", enabled=False),
    ],
)
def test_a_disabled_backend_needs_nothing(config: BackendConfig, factory: TransportFactory) -> None:
    """No download, no program, no model; and it answers nothing."""
    transport = factory.make(config)
    (end,) = attempt(transport)
    assert isinstance(end, Failed)
    assert "disabled" in end.error.message
    transport.close()


@pytest.mark.parametrize(
    ("config", "said"),
    [
        (
            BackendConfig(name="e", backend_type="embedded", options={"n_ctxx": 1}),
            r'backends\.e\.options\.n_ctxx.*did you mean "n_ctx"',
        ),
        (http("e", "http://127.0.0.1:9/v1", options={"n_ctx": 1}), "has none"),
    ],
)
def test_an_option_that_a_type_does_not_have_is_refused(
    config: BackendConfig, said: str, factory: TransportFactory
) -> None:
    """And not left unnoticed."""
    with pytest.raises(ConfigurationError, match=said):
        factory.make(config)


def test_a_model_that_is_not_there_is_refused_with_its_path(
    factory: TransportFactory, tmp_path: Path
) -> None:
    """Before anything is loaded."""
    with pytest.raises(ConfigurationError, match=r"nothing\.gguf"):
        factory.make(BackendConfig(name="e", backend_type="embedded", model=str(tmp_path / "nothing.gguf")))
