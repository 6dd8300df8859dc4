"""A credential that is refused with 401 is renewed where it comes from, once, and the request repeated."""

from __future__ import annotations

import itertools
import logging
import sys
import threading
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve

from showcaller.actors.backend_config import Timeouts
from showcaller.actors.errors import AuthenticationError, RequestCancelledError
from showcaller.actors.secrets import CommandSecret, EnvSecret, FileSecret, Secret
from showcaller.actors.transport import Done, Failed, Sent
from showcaller.runtime.runtime import Runtime
from tests.runtime.live import PATIENCE, config_of
from tests.runtime.transports.contract import error_of
from tests.runtime.transports.fault_server import FaultServer, Peer, good, reply

OLD, NEW = "canary-of-the-old-key", "canary-of-the-new-key"


def guarded(*keys: str) -> Callable[[Peer], None]:
    """Takes these keys alone, and repeats every other one in its refusal."""

    def script(peer: Peer) -> None:
        key = peer.request.partition(b"Bearer ")[2].partition(b"\r\n")[0].decode()
        if key in keys:
            good(peer)
        else:
            reply(401, {"error": {"message": f"bad key {key}"}})(peer)

    return script


def keys_of(server: FaultServer) -> list[str]:
    """The keys it was sent, in order."""
    return [
        request.partition(b"Bearer ")[2].partition(b"\r\n")[0].decode().rpartition("-")[0].rpartition("-")[2]
        for request in server.requests
    ]


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    """A file that holds the old key."""
    path = tmp_path / "key"
    path.write_text(OLD)
    return path


@pytest.fixture
def rotated(key_file: Path) -> FileSecret:
    """A secret that holds the old key, and whose file holds the new one by now."""
    secret = FileSecret(key_file)
    secret.reveal()
    key_file.write_text(NEW)
    return secret


def secret_of(kind: str, path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A source of each kind that gives what the file holds, or for env what is in the environment."""
    if kind == "file":
        return FileSecret(path)
    if kind == "command":
        return CommandSecret([sys.executable, "-c", f"print(open({str(path)!r}).read())"])
    if kind == "callable":
        return path.read_text
    monkeypatch.setenv("A_KEY_OF_THE_TESTS", path.read_text())
    return EnvSecret("A_KEY_OF_THE_TESTS")


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
@pytest.mark.parametrize("kind", ["file", "command", "env"])
def test_a_rotated_key_is_read_again_and_the_request_repeated(
    fault_server: FaultServer,
    make_http: Any,
    make_attempt: Any,
    key_file: Path,
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
    stream: bool,
) -> None:
    """In the same attempt: it begins once, and the caller sees an answer. The next one has the new key at once."""
    secret = secret_of(kind, key_file, monkeypatch)
    transport = make_http(fault_server.url, api_key=secret)
    fault_server.play(guarded(OLD))
    assert isinstance(list(transport.attempt(make_attempt()))[-1], Done)
    fault_server.play(guarded(NEW))
    key_file.write_text(NEW)
    monkeypatch.setenv("A_KEY_OF_THE_TESTS", NEW)
    events = list(transport.attempt(make_attempt(stream=stream)))
    assert isinstance(events[-1], Done)
    assert [isinstance(one, Sent) for one in events].count(True) == 1
    assert isinstance(list(transport.attempt(make_attempt()))[-1], Done)
    assert keys_of(fault_server) == ["old", "old", "new", "new"]


def test_the_connection_is_used_again(
    fault_server: FaultServer, make_http: Any, make_attempt: Any, rotated: FileSecret
) -> None:
    """The refusal was read to its end: nothing has to be opened anew."""
    fault_server.play(guarded(NEW))
    assert isinstance(list(make_http(fault_server.url, api_key=rotated).attempt(make_attempt()))[-1], Done)
    assert fault_server.connections == 1


def test_the_connection_is_free_while_another_key_is_looked_for(
    fault_server: FaultServer, make_http: Any, make_attempt: Any
) -> None:
    """Where there is only one, who asks for the key may send a request of its own."""
    keys = iter([OLD, NEW, NEW])
    meanwhile: list[Any] = []

    def look() -> str:
        key = next(keys, NEW)
        if key == NEW and not meanwhile:
            meanwhile.append(None)
            meanwhile[:] = transport.attempt(make_attempt(timeout=Timeouts(connect=1.0)))
        return key

    transport = make_http(fault_server.url, api_key=look, pool_size=1)
    fault_server.play(guarded(NEW))
    assert isinstance(list(transport.attempt(make_attempt()))[-1], Done)
    assert isinstance(meanwhile[-1], Done)
    assert keys_of(fault_server) == ["old", "new", "new"]


@pytest.mark.parametrize("kind", ["file", "command", "env", "callable", "literal", "gone", "raising"])
def test_without_another_key_the_refusal_stands(
    fault_server: FaultServer,
    make_http: Any,
    make_attempt: Any,
    key_file: Path,
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
) -> None:
    """One call is made, and the error is the backend's own."""
    fault_server.play(guarded(NEW))
    given = itertools.chain([lambda: OLD], itertools.repeat(lambda: 1 / 0))
    secret: Any = {
        "literal": lambda: Secret(OLD),
        "gone": lambda: FileSecret(key_file),
        "raising": lambda: lambda: next(given)(),
    }.get(kind, lambda: secret_of(kind, key_file, monkeypatch))()
    if kind == "gone":
        secret.reveal()
        key_file.unlink()
    error = error_of(list(make_http(fault_server.url, api_key=secret).attempt(make_attempt())))
    assert isinstance(error, AuthenticationError)
    assert len(fault_server.requests) == 1


def test_a_second_refusal_is_final(
    fault_server: FaultServer, make_http: Any, make_attempt: Any, key_file: Path
) -> None:
    """Two calls at the most, although the file is another one each time."""
    keys = itertools.count()
    fault_server.play(reply(401, b"no"))
    transport = make_http(fault_server.url, api_key=lambda: f"key-{next(keys)}")
    assert isinstance(error_of(list(transport.attempt(make_attempt()))), AuthenticationError)
    assert len(fault_server.requests) == 2


def test_a_header_s_secret_is_renewed_too(
    fault_server: FaultServer, make_http: Any, make_attempt: Any, rotated: FileSecret
) -> None:
    """Whichever of them it was that was refused."""

    def script(peer: Peer) -> None:
        (good if NEW.encode() in peer.request else reply(401, b"no"))(peer)

    fault_server.play(script)
    transport = make_http(fault_server.url, api_key=Secret(OLD), headers={"X-Token": rotated})
    assert isinstance(list(transport.attempt(make_attempt()))[-1], Done)


def test_another_status_renews_nothing(
    fault_server: FaultServer, make_http: Any, make_attempt: Any, rotated: FileSecret
) -> None:
    """A 403 says what the key may do, and not that it is none."""
    fault_server.play(reply(403, b"no"))
    error_of(list(make_http(fault_server.url, api_key=rotated).attempt(make_attempt())))
    assert len(fault_server.requests) == 1
    assert rotated.reveal() == OLD


def test_all_who_are_refused_at_once_share_one_reading(
    fault_server: FaultServer, make_http: Any, make_attempt: Any, tmp_path: Path, key_file: Path
) -> None:
    """A password manager is asked once, and each of them is answered."""
    log = tmp_path / "runs"
    code = f"open({str(log)!r}, 'a').write('x'); print(open({str(key_file)!r}).read())"
    secret = CommandSecret([sys.executable, "-c", code])
    secret.reveal()
    key_file.write_text(NEW)
    together = threading.Barrier(6)

    def script(peer: Peer) -> None:
        if OLD.encode() in peer.request:
            together.wait(PATIENCE)
        guarded(NEW)(peer)

    fault_server.play(script)
    transport = make_http(fault_server.url, api_key=secret)
    ends: list[Any] = []
    threads = [
        threading.Thread(target=lambda: ends.append(list(transport.attempt(make_attempt()))[-1]))
        for _ in range(6)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert [type(end) for end in ends] == [Done] * 6
    assert log.read_text() == "xx"
    assert len(fault_server.requests) == 12


def test_a_cancel_while_the_key_is_read_ends_the_attempt(
    fault_server: FaultServer, make_http: Any, make_attempt: Any
) -> None:
    """Nothing more is sent."""
    attempt = make_attempt()
    keys = iter([OLD])

    def key() -> str:
        first = next(keys, None)
        if first is None:
            attempt.cancel.cancel()
        return first or NEW

    fault_server.play(guarded(NEW))
    error = error_of(list(make_http(fault_server.url, api_key=key).attempt(attempt)))
    assert isinstance(error, RequestCancelledError)
    assert len(fault_server.requests) == 1


def test_neither_key_is_said(
    fault_server: FaultServer,
    make_http: Any,
    make_attempt: Any,
    key_file: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The server repeats both, and every logger is at DEBUG."""
    caplog.set_level(logging.DEBUG)
    secret = FileSecret(key_file)
    secret.reveal()
    key_file.write_text(NEW)
    fault_server.play(guarded())
    transport = make_http(fault_server.url, api_key=secret)
    last = list(transport.attempt(make_attempt()))[-1]
    assert isinstance(last, Failed)
    assert len(fault_server.requests) == 2
    assert NEW.encode() in fault_server.requests[1]
    error = last.error
    assert error.__traceback__ is error.__cause__ is error.__context__ is None
    texts = [
        repr(transport),
        repr(error),
        repr(error.__dict__),
        caplog.text,
        *traceback.format_exception(error),
    ]
    assert not any("canary" in text for text in texts)


def test_the_runtime_counts_it_as_one_attempt(fault_server: FaultServer, key_file: Path) -> None:
    """With no retry to spend the request is answered, and two calls were made."""
    fault_server.play(guarded(OLD))
    config = config_of(["a"], settings={"num_retries": 0, "control": False})
    backend = evolve(config.backends[0], base_url=fault_server.url, api_key=FileSecret(key_file))
    with Runtime.start(evolve(config, backends=[backend])) as runtime:
        assert runtime.ask("x").attempts == 1
        key_file.write_text(NEW)
        fault_server.play(guarded(NEW))
        response = runtime.ask("x")
        assert (response.content, response.attempts) == ("Hello", 1)
    assert keys_of(fault_server) == ["old", "old", "new"]
