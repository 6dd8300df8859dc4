"""No secret that the HTTP transport is given reaches an event, an error, a repr or a log."""

from __future__ import annotations

import logging
import pickle
import traceback
from typing import Any

import pytest

from showcaller.actors.errors import AuthenticationError, ConfigurationError
from showcaller.actors.secrets import Secret
from showcaller.actors.transport import Failed
from tests.runtime.transports.contract import error_of
from tests.runtime.transports.fault_server import (
    JSON_KIND,
    FaultServer,
    Peer,
    Script,
    event,
    good,
    piece,
    reply,
    sse,
    then,
    write,
)

KEY = "canary-of-the-key"
TOKEN = "canary-of-the-header"
ECHO = f"you sent {KEY} and {TOKEN}"


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
@pytest.mark.parametrize(
    "script",
    [
        good,
        reply(401, {"error": {"message": ECHO}}),
        reply(401, ECHO.encode()),
        reply(500, f"<html>{ECHO}</html>".encode()),
        reply(429, {"error": ECHO}, f"Retry-After: {KEY}", f"X-Echo: {TOKEN}"),
        reply(307, b"", f"Location: http://x/?key={KEY}"),
        reply(200, ECHO.encode(), JSON_KIND),
        reply(200, {"error": {"message": ECHO}}),
        sse(event({"error": {"message": ECHO}})),
        reply(200, {"choices": [{"message": {"content": ""}, "finish_reason": ECHO}]}),
        sse(piece(None, ECHO)),
        sse(piece("x"), event(ECHO)),
        sse(f"error: {ECHO}\n\n".encode()),
        then(write(f"HTTP/1.1 {ECHO}\r\n\r\n".encode()), Peer.close),
        then(write(f"{ECHO}\r\n\r\n".encode()), Peer.close),
        Peer.reset,
    ],
)
def test_no_canary_comes_back(
    fault_server: FaultServer,
    make_http: Any,
    make_attempt: Any,
    caplog: pytest.LogCaptureFixture,
    script: Script,
    stream: bool,
) -> None:
    """Although the server echoes what it was sent; with every logger at DEBUG."""
    caplog.set_level(logging.DEBUG)
    fault_server.play(script)
    transport = make_http(
        fault_server.url, api_key=lambda: KEY, headers={"X-Api-Token": TOKEN, "X-Other": Secret(TOKEN)}
    )
    attempt = make_attempt(stream=stream)
    running = transport.attempt(attempt)
    events = list(running)
    assert KEY.encode() in fault_server.requests[0]
    assert TOKEN.encode() in fault_server.requests[0]
    texts = [repr(events), repr(transport), repr(attempt), repr(running), caplog.text]
    texts += [repr(record.__dict__) for record in caplog.records]
    last = events[-1]
    if isinstance(last, Failed):
        error = last.error
        texts += [str(error), repr(error), repr(error.__dict__), repr(error.args)]
        texts += traceback.format_exception(error)
        texts.append(repr(pickle.dumps(error)))
        assert error.__traceback__ is error.__cause__ is error.__context__ is None
    for text in texts:
        assert "canary" not in text


def test_a_short_key_is_masked_too(fault_server: FaultServer, make_http: Any, make_attempt: Any) -> None:
    """Too short for the process-wide register, which masks it nowhere else."""
    fault_server.play(reply(401, b"bad key: q7!x"))
    error = error_of(list(make_http(fault_server.url, api_key=lambda: "q7!x").attempt(make_attempt())))
    assert "q7!x" not in str(error)


def test_a_credential_in_the_url_is_refused(make_http: Any) -> None:
    """It would be in every text that names the endpoint."""
    with pytest.raises(ConfigurationError, match="api_key") as caught:
        make_http(f"http://user:{KEY}@127.0.0.1/v1")
    assert "canary" not in str(caught.value)


def _raise() -> str:
    raise RuntimeError(f"could not decode {KEY}")


def _missing() -> str:
    raise ConfigurationError("environment variable X: it is not set; export it")


@pytest.mark.parametrize(
    ("api_key", "says"),
    [
        (_raise, "RuntimeError"),
        (_missing, "environment variable X"),
        (lambda: "", "empty"),
        (lambda: f"{KEY}\r\nX-Evil: 1", "characters"),
        (lambda: f"{KEY}日", "characters"),
    ],
)
def test_a_credential_that_cannot_be_had_sends_nothing(
    fault_server: FaultServer, make_http: Any, make_attempt: Any, api_key: Any, says: str
) -> None:
    """Another backend may do; the text says why, and never the value."""
    fault_server.play(good)
    events = list(make_http(fault_server.url, api_key=api_key).attempt(make_attempt()))
    assert len(events) == 1
    error = error_of(events)
    assert type(error) is AuthenticationError
    assert says in str(error)
    assert "canary" not in str(error)
    assert "canary" not in "".join(traceback.format_exception(error))
    assert fault_server.requests == []


def test_the_key_is_asked_for_at_each_attempt(
    fault_server: FaultServer, make_http: Any, make_attempt: Any
) -> None:
    """A token that was renewed is used at once."""
    fault_server.play(good)
    keys = iter(["first-token-value", "second-token-value"])
    transport = make_http(fault_server.url, api_key=lambda: next(keys))
    for _ in range(2):
        list(transport.attempt(make_attempt()))
    found = [
        b"Authorization: Bearer " + key in request
        for key, request in zip((b"first", b"second"), fault_server.requests, strict=True)
    ]
    assert found == [True, True]
