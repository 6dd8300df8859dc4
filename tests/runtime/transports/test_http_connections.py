"""The connections of the HTTP transport: used again, never when stale or unclean, with TLS, and shared."""

from __future__ import annotations

import json
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme
import urllib3.connectionpool
from requests.adapters import HTTPAdapter

from showcaller.actors.backend_config import Timeouts
from showcaller.actors.cancel import CancelScope
from showcaller.actors.errors import (
    BackendTimeoutError,
    BackendUnreachableError,
    ConfigurationError,
    MalformedResponseError,
    RequestCancelledError,
)
from showcaller.actors.transport import Done
from showcaller.runtime.transports.http_endpoint import HttpEndpoint
from tests.runtime.transports.contract import done_of, error_of
from tests.runtime.transports.fault_server import (
    GOOD_EVENTS,
    SSE_HEAD,
    FaultServer,
    Peer,
    Script,
    chunked,
    completion,
    good,
    head,
    piece,
    reply,
    stall_after,
    then,
    write,
)


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
def test_a_connection_is_used_again(
    fault_server: FaultServer, make_http: Any, make_attempt: Any, stream: bool
) -> None:
    """After whole answers, and after whole errors."""
    fault_server.play(good, reply(429, b"slow down"), reply(500, {"error": "x"}), good)
    transport = make_http(fault_server.url)
    for _ in range(4):
        list(transport.attempt(make_attempt(stream=stream)))
    done_of(list(transport.attempt(make_attempt(stream=stream))))
    assert len(fault_server.requests) == 5
    assert fault_server.connections == 1


def test_the_end_of_a_stream_may_come_after_its_last_word(
    fault_server: FaultServer, make_http: Any, make_attempt: Any
) -> None:
    """The answer is handed out before the end of the chunked coding, and the connection is still kept."""
    handed_out = threading.Event()

    def script(peer: Peer) -> None:
        peer.send(SSE_HEAD + chunked(*GOOD_EVENTS, end=False))
        assert handed_out.wait(10)
        peer.send(b"0\r\n\r\n")

    fault_server.play(script, good)
    transport = make_http(fault_server.url)
    events = []
    for event in transport.attempt(make_attempt(stream=True)):
        events.append(event)
        if event is events[-1] and len(events) == 4:
            handed_out.set()
    done_of(events)
    done_of(list(transport.attempt(make_attempt())))
    assert fault_server.connections == 1


@pytest.mark.parametrize(
    "script",
    [
        reply(200, completion(), "Connection: close"),
        then(reply(200, completion()), Peer.close),
    ],
    ids=["announced", "closed while idle"],
)
def test_a_connection_that_is_not_clean_is_not_used_again(
    fault_server: FaultServer, make_http: Any, make_attempt: Any, script: Script
) -> None:
    """One that was dropped while it was idle is seen before it is used."""
    fault_server.play(script, good)
    transport = make_http(fault_server.url)
    first = list(transport.attempt(make_attempt()))
    done_of(first)
    fault_server.settle()
    done = done_of(list(transport.attempt(make_attempt())))
    assert done.message["content"] == "Hello"
    assert fault_server.connections == 2


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
def test_bytes_beyond_the_answer_are_never_the_next_answer(
    fault_server: FaultServer, make_http: Any, make_attempt: Any, stream: bool
) -> None:
    """Whoever put them there: the connection is not used again."""
    body = json.dumps(completion()).encode()
    whole = SSE_HEAD + chunked(*GOOD_EVENTS) if stream else head(200, f"Content-Length: {len(body)}") + body
    fault_server.play(write(whole + head(200, "Content-Length: 2") + b"{}"), good)
    transport = make_http(fault_server.url)
    for _ in range(2):
        done_of(list(transport.attempt(make_attempt(stream=stream))))
    assert fault_server.connections == 2


def test_a_stream_that_breaks_after_its_last_word_is_an_answer_on_a_lost_connection(
    fault_server: FaultServer, make_http: Any, make_attempt: Any
) -> None:
    """The answer is whole, the chunked coding is not."""
    fault_server.play(write(SSE_HEAD, chunked(*GOOD_EVENTS[:4], end=False), b"zz\r\n"), good)
    transport = make_http(fault_server.url)
    for _ in range(2):
        done_of(list(transport.attempt(make_attempt(stream=True))))
    assert fault_server.connections == 2


def test_the_connection_is_free_when_the_answer_is_handed_out(
    fault_server: FaultServer, make_http: Any, make_attempt: Any
) -> None:
    """Whoever is told of the answer may send the next request at once."""
    fault_server.play(good)
    transport = make_http(fault_server.url, pool_size=1)
    first = transport.attempt(make_attempt())
    assert any(isinstance(event, Done) for event in first)
    done_of(list(transport.attempt(make_attempt(deadline=5.0))))
    assert fault_server.connections == 1


def test_a_kept_connection_that_breaks_when_it_is_used_is_a_failure_not_a_retry(
    fault_server: FaultServer, make_http: Any, make_attempt: Any
) -> None:
    """The server took the request and hung up: it may have been executed."""
    fault_server.play(good, Peer.reset, good)
    transport = make_http(fault_server.url)
    done_of(list(transport.attempt(make_attempt())))
    error = error_of(list(transport.attempt(make_attempt())))
    assert type(error) is MalformedResponseError
    assert error.maybe_executed
    assert len(fault_server.requests) == 2
    done_of(list(transport.attempt(make_attempt())))


def test_failures_do_not_use_up_the_pool(
    fault_server: FaultServer, make_http: Any, make_attempt: Any
) -> None:
    """A place in the pool comes back however the attempt ended."""
    transport = make_http(fault_server.url, pool_size=1)
    for script in (Peer.reset, reply(500), reply(200, b"{"), write(SSE_HEAD, piece("x")), Peer.close):
        fault_server.play(then(script, Peer.close))
        error_of(list(transport.attempt(make_attempt(stream=True))))
    fault_server.play(good)
    done_of(list(transport.attempt(make_attempt())))


def test_models_of_one_endpoint_share_its_connections(
    fault_server: FaultServer, make_http: Any, make_attempt: Any
) -> None:
    """Closing one leaves the other; the last one closes the connections."""
    fault_server.play(good)
    first = make_http(fault_server.url, model="one")
    second = first.for_model("two")
    done_of(list(first.attempt(make_attempt())))
    done_of(list(second.attempt(make_attempt())))
    first.close()
    first.close()
    assert (first.closed, second.closed) == (True, False)
    assert isinstance(error_of(list(first.attempt(make_attempt()))), BackendUnreachableError)
    done_of(list(second.attempt(make_attempt())))
    assert fault_server.connections == 1
    assert [b'"model":"one"' in request for request in fault_server.requests] == [True, False, False]
    second.close()
    fault_server.settle()
    assert fault_server.open_connections == 0


# --- TLS ---------------------------------------------------------------------------------------------


@pytest.fixture
def authority(tmp_path: Path) -> tuple[trustme.CA, str]:
    """A certificate authority, and the file that makes it trusted."""
    authority = trustme.CA()
    path = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(path))
    return authority, str(path)


@pytest.fixture
def tls_server(authority: tuple[trustme.CA, str]) -> Iterator[FaultServer]:
    """The fault server behind TLS."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority[0].issue_cert("127.0.0.1").configure_cert(context)
    with FaultServer(context) as server:
        yield server


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
def test_tls_answers_and_is_used_again(
    tls_server: FaultServer,
    authority: tuple[trustme.CA, str],
    make_http: Any,
    make_attempt: Any,
    stream: bool,
) -> None:
    """With the certificates of a bundle."""
    tls_server.play(good)
    transport = make_http(tls_server.url, ca_bundle=authority[1])
    for _ in range(3):
        done_of(list(transport.attempt(make_attempt(stream=stream))))
    assert tls_server.connections == 1


def test_a_certificate_that_is_not_trusted_ends_before_anything_is_sent(
    tls_server: FaultServer, make_http: Any, make_attempt: Any
) -> None:
    """And says why."""
    error = error_of(list(make_http(tls_server.url).attempt(make_attempt())))
    assert type(error) is BackendUnreachableError
    assert "TLS" in str(error)
    assert "certificate" in str(error)
    assert not error.maybe_executed
    assert tls_server.requests == []


def test_a_handshake_that_stalls_leaves_no_plain_connection_behind(
    fault_server: FaultServer, make_http: Any, make_attempt: Any
) -> None:
    """The socket below an unfinished handshake must never carry a request."""
    url = fault_server.url.replace("http://", "https://")
    transport = make_http(url, api_key=lambda: "the-key", pool_size=1)
    for _ in range(3):
        timeout = Timeouts(connect=0.1)
        error = error_of(list(transport.attempt(make_attempt(timeout=timeout))))
        assert isinstance(error, BackendTimeoutError)
        assert not error.maybe_executed
    assert fault_server.connections == 3
    assert fault_server.requests == []


def test_bytes_beyond_the_answer_are_never_the_next_answer_under_tls(
    tls_server: FaultServer, authority: tuple[trustme.CA, str], make_http: Any, make_attempt: Any
) -> None:
    """They may be in the TLS layer already, where the socket does not show them."""
    body = json.dumps(completion("x" * 9000)).encode()
    forged = json.dumps(completion("forged")).encode()
    # The answer's second record, of which only the answer's own bytes are asked for, has the other one in it.
    tls_server.play(
        write(
            head(200, f"Content-Length: {len(body)}") + body[:500],
            body[500:] + head(200, f"Content-Length: {len(forged)}") + forged,
        ),
        good,
    )
    transport = make_http(tls_server.url, ca_bundle=authority[1])
    done_of(list(transport.attempt(make_attempt())))
    assert done_of(list(transport.attempt(make_attempt()))).message["content"] == "Hello"
    assert tls_server.connections == 2


@pytest.mark.parametrize("script", [write(), write(SSE_HEAD, chunked(piece("x"), end=False))])
def test_a_cancel_wakes_a_read_under_tls(
    tls_server: FaultServer,
    authority: tuple[trustme.CA, str],
    make_http: Any,
    make_attempt: Any,
    script: Script,
) -> None:
    """The socket below the TLS layer is what is shut down."""
    tls_server.play(stall_after(script, tls_server))
    cancel = CancelScope()
    canceller = threading.Thread(target=lambda: (tls_server.stalled.wait(10), cancel.cancel()))
    canceller.start()
    transport = make_http(tls_server.url, ca_bundle=authority[1])
    error = error_of(list(transport.attempt(make_attempt(stream=True, cancel=cancel))))
    canceller.join(10)
    assert isinstance(error, RequestCancelledError)
    assert tls_server.hung_up.wait(10)


# --- what is refused, and what is stood on -----------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "names"),
    [
        ({"base_url": "ftp://host/v1"}, "base_url"),
        ({"base_url": "http:///v1"}, "base_url"),
        ({"base_url": "http://host/v1#x"}, "base_url"),
        ({"base_url": "http://ho st/v1"}, "base_url"),
        ({"base_url": "http://host:99999/v1"}, "base_url"),
        ({"base_url": "http://host\r\nX: y/v1"}, "base_url"),
        ({"auth_header": "X: y"}, "auth_header"),
        ({"headers": {"X\r\nY": "z"}}, "headers"),
        ({"headers": {"X": "y\r\nZ: z"}}, "headers"),
        ({"headers": {"X": "日本"}}, "headers"),
        ({"headers": {"Content-Length": "1"}}, "headers"),
        ({"headers": {"authorization": "Bearer x"}}, "headers"),
        ({"base_url": "https://host/v1", "ca_bundle": "/nowhere/at/all.pem"}, "ca_bundle"),
    ],
)
def test_what_cannot_work_is_refused_when_it_is_built(options: dict[str, Any], names: str) -> None:
    """With the name of the field."""
    with pytest.raises(ConfigurationError, match=names):
        HttpEndpoint(**{"base_url": "http://host/v1", "api_key": lambda: None, **options})


def test_an_endpoint_that_all_have_left_gives_no_connection() -> None:
    """An attempt that was waiting for one is told so."""
    endpoint = HttpEndpoint(base_url="http://127.0.0.1:1/v1", api_key=lambda: None)
    endpoint.leave()
    with pytest.raises(ConnectionError):
        endpoint.checkout(0.1)


def test_the_private_hooks_of_urllib3_are_there() -> None:
    """The transport takes connections from the adapter's pool by these two; a new urllib3 may rename them."""
    pool = urllib3.connectionpool.HTTPConnectionPool("127.0.0.1", block=True, maxsize=1)
    connection = pool._get_conn(timeout=1)
    assert connection.sock is None
    pool._put_conn(connection)
    assert pool._get_conn(timeout=1) is connection
    pool.close()
    assert callable(HTTPAdapter.get_connection_with_tls_context)
    assert callable(pool.ConnectionCls._new_conn)
    assert pool.ConnectionCls("127.0.0.1")._dns_host == "127.0.0.1"


def test_nothing_is_looked_up_in_the_environment(
    fault_server: FaultServer,
    make_http: Any,
    make_attempt: Any,
    monkeypatch: pytest.MonkeyPatch,
    closed_port: int,
) -> None:
    """Neither proxies nor certificates nor .netrc."""
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{closed_port}")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/nowhere")
    fault_server.play(good)
    done_of(list(make_http(fault_server.url).attempt(make_attempt())))
    assert b"Authorization" not in fault_server.requests[0]
