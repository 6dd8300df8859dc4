"""The HTTP transport's probe: a GET of the list of models, bounded and cancelled as every attempt is."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from showcaller.actors.backend_config import Timeouts
from showcaller.actors.cancel import CancelScope
from showcaller.actors.errors import (
    AuthenticationError,
    BackendTimeoutError,
    BackendUnreachableError,
    ModelNotFoundError,
    RequestCancelledError,
    ServerError,
)
from showcaller.actors.probe import Probing
from showcaller.actors.secrets import Secret
from showcaller.actors.transport import Failed, Sent
from tests.runtime.transports.contract import done_of
from tests.runtime.transports.fault_server import FaultServer, Peer, good, reply


def error_of(events: list[Any]) -> Any:
    """What a probe failed of."""
    last = events[-1]
    assert isinstance(last, Failed)
    return last.error


def test_a_probe_asks_for_the_list_of_models(
    fault_server: FaultServer, make_http: Any, make_attempt: Any
) -> None:
    """With the credential, without a body, on a connection that an attempt can use afterwards."""
    fault_server.play(reply(200, {"data": [{"id": "m"}]}), good)
    transport = make_http(fault_server.url, api_key=Secret("k-1"))
    assert isinstance(transport, Probing)
    assert list(transport.probe(make_attempt())) == [Sent()]
    done_of(list(transport.attempt(make_attempt())))
    probe = fault_server.requests[0]
    assert probe.startswith(b"GET /v1/models HTTP/1.1\r\n")
    assert b"\r\nAuthorization: Bearer k-1\r\n" in probe
    assert probe.endswith(b"\r\n\r\n")
    assert fault_server.connections == 1


def test_a_query_of_the_base_url_is_kept(
    fault_server: FaultServer, make_http: Any, make_attempt: Any
) -> None:
    """As for a completion."""
    fault_server.play(reply(200, {"data": []}))
    list(make_http(f"{fault_server.url}?api-version=1").probe(make_attempt()))
    assert fault_server.requests[0].startswith(b"GET /v1/models?api-version=1 HTTP/1.1\r\n")


@pytest.mark.parametrize(
    ("status", "kind"), [(401, AuthenticationError), (404, ModelNotFoundError), (503, ServerError)]
)
def test_a_refused_probe_fails_of_what_an_attempt_would(
    fault_server: FaultServer, make_http: Any, make_attempt: Any, status: int, kind: type[Exception]
) -> None:
    """And is not repeated."""
    fault_server.play(reply(status, {"error": {"message": "no", "code": "model_not_found"}}))
    assert isinstance(error_of(list(make_http(fault_server.url).probe(make_attempt()))), kind)
    assert len(fault_server.requests) == 1


def test_a_probe_of_nobody_says_so(closed_port: int, make_http: Any, make_attempt: Any) -> None:
    """The connection is refused."""
    transport = make_http(f"http://127.0.0.1:{closed_port}/v1")
    assert isinstance(error_of(list(transport.probe(make_attempt()))), BackendUnreachableError)


def test_a_probe_keeps_its_timeout(fault_server: FaultServer, make_http: Any, make_attempt: Any) -> None:
    """A server that says nothing holds the seat no longer than that."""
    fault_server.play(lambda peer: peer.stall())
    events = list(
        make_http(fault_server.url).probe(make_attempt(timeout=Timeouts.of_total(0.2), deadline=0.2))
    )
    assert isinstance(error_of(events), BackendTimeoutError)


def test_a_cancelled_probe_ends_at_once(fault_server: FaultServer, make_http: Any, make_attempt: Any) -> None:
    """Although the server says nothing."""
    scope, asked = CancelScope(), threading.Event()

    def silent(peer: Peer) -> None:
        asked.set()
        peer.stall()

    fault_server.play(silent)
    canceller = threading.Thread(target=lambda: asked.wait(10.0) and scope.cancel())
    canceller.start()
    events = list(make_http(fault_server.url).probe(make_attempt(cancel=scope)))
    canceller.join(10.0)
    assert isinstance(error_of(events), RequestCancelledError)


def test_a_closed_transport_is_not_probed(
    fault_server: FaultServer, make_http: Any, make_attempt: Any
) -> None:
    """Nothing is sent."""
    transport = make_http(fault_server.url)
    transport.close()
    assert isinstance(error_of(list(transport.probe(make_attempt()))), BackendUnreachableError)
    assert fault_server.requests == []
