"""A loopback server that plays scripted faults on raw sockets, for what no real peer shows on demand.

Each request takes the next script; a script writes bytes, stalls, resets or hangs up. Bounded, and it closes
itself.
"""

from __future__ import annotations

import json
import socket
import ssl
import struct
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any, Self

PATIENCE = 20.0
"""Seconds after which a script that waits gives up."""


class Peer:
    """One accepted connection, as a script sees it."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.request = b""
        self.closed = False

    def send(self, data: bytes) -> None:
        """Write; a client that has gone away is no error."""
        try:
            self.sock.sendall(data)
        except OSError:
            self.closed = True

    def reset(self) -> None:
        """Close with a TCP reset."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close()

    def close(self) -> None:
        """Close in order."""
        self.closed = True
        self.sock.close()

    def half_close(self) -> None:
        """Say that nothing more comes, and keep reading."""
        self.sock.shutdown(socket.SHUT_WR)

    def stall(self) -> bool:
        """Stay silent until the client hangs up (True) or patience ends (False)."""
        try:
            return self.sock.recv(65536) == b""
        except TimeoutError:
            return False
        except OSError:
            return True
        finally:
            self.closed = True

    def read_request(self) -> bytes:
        """The next whole request, or nothing when the client hung up."""
        data = b""
        while b"\r\n\r\n" not in data:
            piece = self.sock.recv(65536)
            if not piece:
                return b""
            data += piece
        head, _, body = data.partition(b"\r\n\r\n")
        fields = (line.partition(b":") for line in head.split(b"\r\n")[1:])
        length = next((int(value) for name, _, value in fields if name.lower() == b"content-length"), 0)
        while len(body) < length:
            body += self.sock.recv(65536)
        return data.partition(b"\r\n\r\n")[0] + b"\r\n\r\n" + body


Script = Callable[[Peer], None]


class FaultServer:
    """Plays the scripts, one a request; the last one again and again.

    Attributes:
        requests: what was received, in order.
        connections: how many were accepted.
        stalled: set once a stalling script has sent what it sends.
        stopping: set when the server closes; a script may wait for it without reading.
        hung_up: set once a stalling script saw its client hang up.
        heard: set by the test once the client has what a script has sent; a script may wait for it.
        arrivals: when each request had been read, in seconds of the monotonic clock.
    """

    def __init__(self, context: ssl.SSLContext | None = None) -> None:
        self.requests: list[bytes] = []
        self.connections = 0
        self.stalled = threading.Event()
        self.hung_up = threading.Event()
        self.heard = threading.Event()
        self.arrivals: list[float] = []
        self._context = context
        self._reads = True
        self._scripts: deque[Script] = deque()
        self.stopping = threading.Event()
        self._lock = threading.Lock()
        self._socks: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.url = f"{'https' if context else 'http'}://127.0.0.1:{self.port}/v1"

    def play(self, *scripts: Script) -> None:
        """What to do at the next requests."""
        with self._lock:
            self._scripts = deque(scripts)

    @property
    def open_connections(self) -> int:
        """How many connections are served now."""
        with self._lock:
            return len(self._socks)

    def settle(self) -> None:
        """Wait until every connection that either side has closed is closed."""
        for thread in self._threads[1:]:
            thread.join(PATIENCE)

    def refuse_before_reading(self, script: Script) -> None:
        """Play at each connection without reading a request, and hang up."""
        self.play(script)
        self._reads = False

    def __enter__(self) -> Self:
        self._spawn(self._accept)
        return self

    def __exit__(self, *_: object) -> None:
        self.stopping.set()
        # A listener that a thread waits on is woken by a connection, not by a close.
        socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE).close()
        with self._lock:
            for sock in self._socks:
                try:
                    sock.shutdown(socket.SHUT_RDWR)
                except OSError:
                    continue
        for thread in list(self._threads):
            thread.join(PATIENCE)
        assert not any(thread.is_alive() for thread in self._threads)
        self._listener.close()

    def _spawn(self, target: Callable[..., None], *args: Any) -> None:
        thread = threading.Thread(target=target, args=args, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            sock, _ = self._listener.accept()
            if self.stopping.is_set():
                sock.close()
                return
            sock.settimeout(PATIENCE)
            self.connections += 1
            self._spawn(self._serve, sock)

    def _serve(self, sock: socket.socket) -> None:
        try:
            if self._context is not None:
                sock = self._context.wrap_socket(sock, server_side=True)
        except OSError:
            sock.close()
            return
        with self._lock:
            self._socks.add(sock)
        with sock:
            peer = Peer(sock)
            if not self._reads:
                self._scripts[0](peer)
                return
            while not peer.closed and not self.stopping.is_set():
                try:
                    peer.request = peer.read_request()
                except OSError:
                    break
                if not peer.request:
                    break
                self.arrivals.append(time.monotonic())
                self.requests.append(peer.request)
                with self._lock:
                    script = self._scripts.popleft() if len(self._scripts) > 1 else self._scripts[0]
                script(peer)
        with self._lock:
            self._socks.discard(sock)


# --- scripts -----------------------------------------------------------------------------------------


def head(status: int = 200, *headers: str) -> bytes:
    """A status line and headers."""
    lines = [f"HTTP/1.1 {status} X", *headers, "", ""]
    return "\r\n".join(lines).encode("latin-1")


JSON_KIND = "Content-Type: application/json"
SSE_KIND = "Content-Type: text/event-stream"


def reply(status: int = 200, body: bytes | dict[str, Any] = b"", *headers: str) -> Script:
    """A whole answer of known length."""
    if isinstance(body, dict):
        body = json.dumps(body).encode()
        headers = (JSON_KIND, *headers)
    return write(head(status, *headers, f"Content-Length: {len(body)}") + body)


def write(*pieces: bytes) -> Script:
    """Bytes as they are, and keep the connection."""

    def script(peer: Peer) -> None:
        for piece in pieces:
            peer.send(piece)

    return script


def then(first: Script, *more: Callable[[Peer], Any]) -> Script:
    """One after the other, such as `then(write(...), Peer.reset)`."""

    def script(peer: Peer) -> None:
        for step in (first, *more):
            step(peer)

    return script


def stall_after(first: Script, server: FaultServer) -> Script:
    """Play, then stay silent; the server's `hung_up` is set when the client has hung up."""

    def script(peer: Peer) -> None:
        first(peer)
        server.stalled.set()
        if peer.stall():
            server.hung_up.set()

    return script


def chunked(*pieces: bytes, end: bool = True) -> bytes:
    """A body in chunked coding, with or without its end."""
    coded = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces)
    return coded + (b"0\r\n\r\n" if end else b"")


SSE_HEAD = head(200, SSE_KIND, "Transfer-Encoding: chunked")


def sse(*events: bytes, end: bool = True) -> Script:
    """A stream, one chunk an event."""
    return write(SSE_HEAD, chunked(*events, end=end))


def event(document: Any) -> bytes:
    """One event; a str is sent as it is."""
    return b"data: %b\n\n" % (document if isinstance(document, str) else json.dumps(document)).encode()


def piece(content: str | None = None, finish_reason: str | None = None) -> bytes:
    """The event of one completion chunk."""
    delta = {} if content is None else {"content": content}
    return event({"model": "m", "choices": [{"index": 0, "delta": delta, "finish_reason": finish_reason}]})


GOOD_EVENTS = (piece(""), piece("Hel"), piece("lo"), piece(None, "stop"), event("[DONE]"))


def completion(content: str | None = "Hello", **message: Any) -> dict[str, Any]:
    """The body of a completion."""
    return {
        "model": "m",
        "choices": [{"index": 0, "message": {"content": content, **message}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 3, "completion_tokens": 2},
    }


ANSWER = json.dumps(completion()).encode()


def good(peer: Peer) -> None:
    """The right answer to a plain request as to a streamed one."""
    (sse(*GOOD_EVENTS) if b'"stream":true' in peer.request else reply(200, completion()))(peer)
