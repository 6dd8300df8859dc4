"""One request and its answer on one pooled connection.

Every wait on the socket is bounded by the timeout that applies and by the attempt's deadline, and a cancel
ends it at once by shutting the socket down (closing it from another thread would not wake the reader).
"""

from __future__ import annotations

import socket
import ssl
import threading
import zlib
from collections.abc import Callable
from http.client import HTTPException, HTTPResponse
from typing import Final, cast

from urllib3.connection import HTTPConnection
from urllib3.exceptions import ConnectTimeoutError, HTTPError, NewConnectionError

from showcaller.actors.errors import (
    BackendError,
    BackendUnreachableError,
    MalformedResponseError,
    RequestCancelledError,
    ShowcallerError,
)
from showcaller.actors.transport import Attempt
from showcaller.runtime.transports.http_endpoint import HttpEndpoint
from showcaller.runtime.transports.http_source import ResponseSource
from showcaller.runtime.transports.http_waits import BEGIN, CONNECT, IDLE, Waits

MAX_ANSWER_BYTES: Final = 64 * 1024 * 1024
MAX_ERROR_BYTES: Final = 64 * 1024
# After `[DONE]` only the body's end is missing; without it the connection could not be used again.
DRAIN_SECONDS: Final = 0.1
_PIECE: Final = 64 * 1024
# Such as 103 Early Hints; 101 is an answer, to a question that was not asked.
_INTERIM: Final = range(102, 200)


class Exchange:
    """Carries one attempt: connect, send, receive_head, read; then end, which is always safe to call.

    Attributes:
        response: the answer's status and headers, once `receive_head` has returned.
        sound: set by the owner when the answer was well-formed, so that the connection may be used again.
    """

    response: HTTPResponse
    _source: ResponseSource

    def __init__(self, endpoint: HttpEndpoint, attempt: Attempt, now: Callable[[], float]) -> None:
        self._endpoint = endpoint
        self._attempt = attempt
        self._waits = Waits(attempt, now)
        self._connection: HTTPConnection | None = None
        self._lock = threading.Lock()
        self._wakeable: socket.socket | None = None
        self._abandoned = False
        self._sent = False
        self._begun = False
        self._answering = False
        self._failed = False
        self._received = 0
        self._size = 0
        self._gunzip: zlib._Decompress | None = None
        self.sound = False

    # --- the way out ---------------------------------------------------------------------------------

    def connect(self) -> None:
        """Take a connection that stands, or open one.

        Raises:
            BackendUnreachableError: there is none to be had.
            BackendTimeoutError: it took too long.
            RequestCancelledError: the attempt was cancelled.
        """
        if not self._attempt.cancel.on_cancel(self.wake):
            raise self._why_given_up()
        try:
            connection = self._endpoint.checkout(self._waits.left(CONNECT))
        except ConnectionError:
            raise self._unreachable("it has been closed") from None
        if connection is None:
            raise self._waits.timed_out("had no free connection", sent=False)
        self._connection = connection
        if connection.sock is None:
            connection.timeout = self._waits.left(CONNECT)
            try:
                connection.connect()
            except (HTTPError, OSError) as error:
                raise self._not_connected(error) from None
        with self._lock:
            self._wakeable = connection.sock
        self.check()

    def send(self, request: bytes) -> None:
        """Send the whole request; from here on it may be executed.

        Raises:
            BackendError: it could not be sent in time, or at all.
            RequestCancelledError: the attempt was cancelled.
        """
        self._waits.first_token_from_now()
        sock = self._sock()
        sock.settimeout(self._waits.left(BEGIN))
        self._sent = True
        try:
            sock.sendall(request)
        except TimeoutError:
            raise self._judge(self._waits.timed_out(sent=True)) from None
        except (BrokenPipeError, ConnectionResetError):
            # It may have answered before it hung up, as with 413: the read will tell.
            return
        except OSError as error:
            raise self._judge(self._broken(_reason(error))) from None

    # --- the way back --------------------------------------------------------------------------------

    def receive_head(self) -> None:
        """Receive the status and the headers.

        Raises:
            BackendError: none came in time, or not HTTP.
            RequestCancelledError: the attempt was cancelled.
        """
        self._source = ResponseSource(self.receive_into)
        self.response = HTTPResponse(cast(socket.socket, self._source), method="POST")
        self._begun = True
        try:
            self.response.begin()
            while self.response.status in _INTERIM:
                # The answer is still to come; http.client itself waits for it only after a 100.
                self._received, self.response.headers = 0, None  # type: ignore[assignment]
                self.response.begin()
        except HTTPException as error:
            raise self._judge(self._broken(_reason(error))) from None
        if self.response.getheader("content-encoding", "").strip().lower() in ("gzip", "x-gzip"):
            self._gunzip = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)

    def end_within(self, seconds: float) -> None:
        """Bring the deadline forward: what is still to come may be missing."""
        self._waits.end_within(seconds)

    def answering(self) -> None:
        """The first token is there: from here on the idle timeout applies."""
        self._answering = True

    def read(self) -> bytes:
        """The next piece of the body, decompressed; empty at its end.

        Raises:
            BackendError: it broke off, stalled, grew too large or is not what its headers say.
            RequestCancelledError: the attempt was cancelled.
        """
        try:
            while raw := self._read_raw():
                piece = self._decompress(raw)
                self._size += len(piece)
                if self._size > MAX_ANSWER_BYTES:
                    raise self._malformed(f"sent an answer of more than {MAX_ANSWER_BYTES} bytes")
                if piece:
                    return piece
            if self._gunzip is not None and not self._gunzip.eof:
                raise self._broken("its gzip stream is cut off")
        except ShowcallerError:
            self._failed = True
            raise
        return b""

    def read_all(self) -> bytes:
        """The whole body; raises what `read` raises."""
        pieces = []
        while piece := self.read():
            pieces.append(piece)
        return b"".join(pieces)

    def read_error(self) -> bytes:
        """As much of an error's body as is of use; one that breaks off is still that error.

        Raises:
            RequestCancelledError: the attempt was cancelled.
        """
        pieces: list[bytes] = []
        size = 0
        try:
            while size < MAX_ERROR_BYTES and (piece := self.read()):
                pieces.append(piece)
                size += len(piece)
        except BackendError:
            self.check()
        return b"".join(pieces)

    def receive_into(self, buffer: memoryview) -> int:
        """One read of the socket, for the buffered reader behind the response."""
        answering = self._answering or (self._received > 0 and not self._attempt.stream)
        left = self._waits.left(IDLE if answering else BEGIN)
        sock = self._sock()
        try:
            sock.settimeout(left)
            size = sock.recv_into(buffer)
        except TimeoutError:
            raise self._judge(self._waits.timed_out(sent=True)) from None
        except OSError as error:
            raise self._judge(self._broken(_reason(error))) from None
        if size == 0:
            self.check()
        self._received += size
        return size

    # --- the end -------------------------------------------------------------------------------------

    @property
    def complete(self) -> bool:
        """Has the whole body been read?"""
        return self._begun and (self.response.isclosed() or self.response.length == 0)

    @property
    def given_up(self) -> bool:
        """Was the attempt cancelled, or its transport closed?"""
        return self._attempt.cancel.cancelled or self._abandoned

    def check(self) -> None:
        """Raise if somebody gave up; what is read from a shut-down socket looks like an end or a fault."""
        if self.given_up:
            raise self._why_given_up()

    def end(self) -> None:
        """Give the connection back when it may be used again, else close it. Safe to call twice."""
        if self._connection is not None and self.sound and not self.complete:
            self._drain()
        connection, self._connection = self._connection, None
        self._attempt.cancel.forget(self.wake)
        if connection is None:
            return
        clean = self._wakeable is not None and (self._is_clean() if self._sent else True)
        with self._lock:
            # From here on a late cancel must not touch the socket: it may carry another attempt.
            self._wakeable = None
            reuse = clean and not self.given_up
        self._endpoint.give_back(connection, reuse=reuse)

    def wake(self) -> None:
        """End a blocked read or write at once; called on any thread."""
        with self._lock:
            if self._wakeable is not None:
                try:
                    # Not SSLSocket.shutdown, which would take the TLS state from under the reader.
                    socket.socket.shutdown(self._wakeable, socket.SHUT_RDWR)
                except OSError:
                    # The other side was quicker.
                    return

    def abandon(self) -> None:
        """The transport is closed: fail what is under way; called on any thread."""
        self._abandoned = True
        self.wake()

    def _is_clean(self) -> bool:
        """Ends the response: was it read to its end, and was nothing sent beyond that?"""
        if not self._begun:
            return False
        clean = self.sound and self.complete and not self._failed and not self.response.will_close
        self.response.close()
        # What TLS has deciphered already, the socket does not show to who looks before the next use.
        deciphered = isinstance(self._wakeable, ssl.SSLSocket) and self._wakeable.pending() > 0
        return clean and not self._source.surplus and not deciphered

    def _drain(self) -> None:
        self._waits.end_within(DRAIN_SECONDS)
        try:
            while self.read():
                continue
        except ShowcallerError:
            # It is not used again, that is all.
            return

    # --- inside --------------------------------------------------------------------------------------

    def _sock(self) -> socket.socket:
        connection = self._connection
        if connection is None or connection.sock is None:
            raise self._judge(self._broken("the connection is closed"))
        return connection.sock

    def _read_raw(self) -> bytes:
        self.check()
        response = self.response
        if self.complete:
            return b""
        try:
            piece = response.read1(_PIECE)
        except HTTPException as error:
            raise self._judge(self._broken(_reason(error))) from None
        if not piece and response.length:
            raise self._broken(f"{response.length} bytes are missing")
        return piece

    def _decompress(self, piece: bytes) -> bytes:
        if self._gunzip is None:
            return piece
        try:
            return self._gunzip.decompress(piece, MAX_ANSWER_BYTES - self._size + 1)
        except zlib.error:
            raise self._malformed("sent a body that is not the gzip its headers announce") from None

    def _judge(self, error: BackendError) -> ShowcallerError:
        return self._why_given_up() if self.given_up else error

    def _why_given_up(self) -> ShowcallerError:
        if not self._attempt.cancel.cancelled:
            return self._unreachable("it has been closed")
        return RequestCancelledError(
            f"the attempt at backend {self._attempt.backend!r} was cancelled",
            backend=self._attempt.backend,
            maybe_executed=self._sent,
        )

    def _not_connected(self, error: Exception) -> ShowcallerError:
        timed_out = isinstance(error, (TimeoutError, ConnectTimeoutError))
        if timed_out and not isinstance(error, NewConnectionError):
            return self._judge(self._waits.timed_out(sent=False))
        return self._judge(self._unreachable(_reason(error.__cause__ or error)))

    def _unreachable(self, why: str) -> BackendUnreachableError:
        return BackendUnreachableError(
            f"backend {self._attempt.backend!r} cannot be reached at {self._endpoint.host}: {why}. "
            "Fix: check its base_url and that the server is up.",
            backend=self._attempt.backend,
            maybe_executed=self._sent,
        )

    def _broken(self, why: str) -> MalformedResponseError:
        if self._received:
            return self._malformed(f"broke off its answer after {self._received} bytes: {why}")
        return self._malformed(f"closed the connection without an answer: {why}")

    def _malformed(self, what: str) -> MalformedResponseError:
        return MalformedResponseError(
            f"backend {self._attempt.backend!r} {what}. Fix: try again; if it stays, check its base_url.",
            backend=self._attempt.backend,
            maybe_executed=self._sent,
        )


def _reason(error: BaseException) -> str:
    """The kind of a network error; never what the other side said, which may echo a secret."""
    if isinstance(error, ssl.SSLError):
        return f"TLS: {getattr(error, 'verify_message', '') or error.reason or type(error).__name__}"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return type(error).__name__
