"""One HTTP endpoint: its address, its credential, and the pooled connections to it.

What does not change between requests is computed once; the credential is asked for at each request, on the
thread that sends it, and is nowhere but in that request's bytes.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Mapping
from typing import cast
from urllib.parse import urlsplit, urlunsplit

from attrs import field, frozen
from requests import PreparedRequest, Request
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection
from urllib3.exceptions import ClosedPoolError, EmptyPoolError

from showcaller.actors.endpoints import as_headers, check_base_url, is_header_name
from showcaller.actors.errors import AuthenticationError, ShowcallerError
from showcaller.actors.redaction import remember_secret
from showcaller.actors.secrets import Secret
from showcaller.actors.validators import refuse
from showcaller.runtime.transports.http_connection import TimelyHTTPConnection, TimelyHTTPSConnection

# Headers that frame the request; whoever sets them twice breaks it.
_OURS = frozenset(
    {"host", "connection", "content-length", "content-type", "transfer-encoding", "accept-encoding", "expect"}
)


ApiKey = Secret | Callable[[], str | None]
"""A secret, or a function that gives the credential of this moment."""


@frozen(kw_only=True)
class HttpAddress:
    """A base URL that was checked."""

    base_url: str = field(validator=check_base_url)

    def prepare(self, method: str = "POST", resource: str = "chat/completions") -> PreparedRequest:
        """A request to one of its resources, with host and path encoded as they travel."""
        parts = urlsplit(self.base_url)
        return Request(
            method, urlunsplit(parts._replace(path=f"{parts.path.rstrip('/')}/{resource}"))
        ).prepare()


class HttpEndpoint:
    """The address, the credential and the connections that the transports of one entry share.

    Args:
        base_url: up to and without /chat/completions; a query is kept.
        api_key: the credential, or what gives it (None for none); called at each request on the seat's thread.
        auth_header: the header that carries the credential.
        auth_scheme: the word before it; empty for none.
        headers: further headers.
        pool_size: connections at most; an attempt beyond them waits as long as it may take to connect.
        ca_bundle: a file or folder of certificates to trust in place of the usual ones.

    Raises:
        ConfigurationError: the URL, a header or the bundle cannot be used.
    """

    def __init__(
        self,
        *,
        base_url: str,
        api_key: ApiKey,
        auth_header: str = "Authorization",
        auth_scheme: str = "Bearer",
        headers: Mapping[str, str | Secret] | None = None,
        pool_size: int = 64,
        ca_bundle: str | None = None,
    ) -> None:
        address = HttpAddress(base_url=base_url)
        prepared = address.prepare()
        url = prepared.url or ""
        if not is_header_name(auth_header):
            raise refuse("HttpEndpoint", "auth_header", auth_header, "use a valid HTTP header name")
        prefix = f"{auth_header}: {auth_scheme} " if auth_scheme else f"{auth_header}: "
        self._credentials: list[tuple[str, ApiKey]] = [(prefix, api_key)]
        self.host = urlsplit(url).netloc
        lines = {
            "host": f"Host: {self.host}",
            "accept": "Accept: application/json, text/event-stream",
            # Nothing is gained by compressing what comes in small pieces.
            "accept-encoding": "Accept-Encoding: identity",
            "user-agent": "User-Agent: showcaller",
            "content-type": "Content-Type: application/json",
        }
        for name, value in as_headers(headers or {}).items():
            if name.lower() in (*_OURS, auth_header.lower()):
                raise refuse("HttpEndpoint", "headers", name, "leave it out: it is set from the request")
            if isinstance(value, Secret):
                self._credentials.append((f"{name}: ", value))
            elif not _is_latin1(value):
                raise refuse("HttpEndpoint", f"headers.{name}", value, "use Latin-1 characters only")
            else:
                lines[name.lower()] = f"{name}: {value}"
        self._head, self._probe_head = (
            "".join(
                f"{line}\r\n" for line in (f"{request.method} {request.path_url} HTTP/1.1", *lines.values())
            ).encode("latin-1")
            for request in (prepared, address.prepare("GET", "models"))
        )
        self._lock = threading.Lock()
        self._users = 1
        try:
            self._connections = _Connections(prepared, pool_size, ca_bundle)
        except OSError:
            fix = "give a readable file or folder of PEM certificates"
            raise refuse("HttpEndpoint", "ca_bundle", ca_bundle, fix) from None

    def head(self, backend: str, *, probe: bool = False) -> tuple[bytes, tuple[str, ...]]:
        """The request's head up to its last two lines, and the secrets in it.

        Args:
            backend: the name for what is raised.
            probe: for the list of models, and not for a completion.

        Raises:
            AuthenticationError: there is no usable credential; nothing was sent.
        """
        secrets: list[str] = []
        lines = []
        for prefix, source in self._credentials:
            try:
                value = _value_of(source)
            except ShowcallerError as error:
                raise _no_credential(backend, error.message) from None
            except Exception as error:  # noqa: BLE001 - it is the user's own code, and its text may hold the secret
                raise _no_credential(backend, f"asking for it raised {type(error).__name__}") from None
            if value is None:
                continue
            remember_secret(value)
            if not value or not value.isprintable() or not _is_latin1(value):
                raise _no_credential(backend, "it is empty or has characters that no header may have")
            secrets.append(value)
            lines.append(f"{prefix}{value}\r\n")
        head = self._probe_head if probe else self._head
        return head + "".join(lines).encode("latin-1"), tuple(secrets)

    def renew(self, refused: Collection[str], now: float) -> bool:
        """Look for another credential, because these were refused; True when there is one to try."""
        # All of them, whichever it was that was refused.
        renewed = [_renew(source, refused, now) for _, source in self._credentials]
        return any(renewed)

    def checkout(self, timeout: float) -> HTTPConnection | None:
        """A connection, standing or to be opened; None when none came free in `timeout` seconds.

        Raises:
            ConnectionError: the endpoint has been closed.
        """
        return self._connections.checkout(timeout)

    def give_back(self, connection: HTTPConnection, *, reuse: bool) -> None:
        """Return what `checkout` gave: to be used again, or closed."""
        self._connections.give_back(connection, reuse=reuse)

    def share(self, more: int) -> None:
        """Another transport uses this endpoint, with so many connections more.

        Raises:
            ConnectionError: the endpoint has been closed.
        """
        with self._lock:
            if self._users == 0:
                raise ConnectionError("closed")
            self._users += 1
            self._connections.grow(more)

    def leave(self) -> None:
        """A transport is done with this endpoint; the last one closes the connections."""
        with self._lock:
            self._users -= 1
            last = self._users == 0
        if last:
            self._connections.shut()


class _Connections(HTTPAdapter):
    """The one adapter of an endpoint, asked for connections instead of for answers.

    `HTTPAdapter.send` takes longer to wrap a call than the call takes, and it hides the moment between
    connecting and sending, and the socket that a cancel must reach.
    """

    def __init__(self, request: PreparedRequest, size: int, ca_bundle: str | None) -> None:
        super().__init__(pool_connections=1, pool_maxsize=size, max_retries=0, pool_block=True)
        verify = ca_bundle or True
        self._pool = self.get_connection_with_tls_context(request, verify)
        tls = self._pool.scheme == "https"
        self._pool.ConnectionCls = TimelyHTTPSConnection if tls else TimelyHTTPConnection
        self.cert_verify(self._pool, request.url or "", verify, None)

    def checkout(self, timeout: float) -> HTTPConnection | None:
        try:
            # urllib3 closes here what the other side dropped while it was idle.
            return cast(HTTPConnection, self._pool._get_conn(timeout=timeout))
        except EmptyPoolError:
            return None
        except ClosedPoolError:
            raise ConnectionError("closed") from None

    def give_back(self, connection: HTTPConnection, *, reuse: bool) -> None:
        if not reuse:
            connection.close()
        self._pool._put_conn(connection)

    def grow(self, more: int) -> None:
        places = self._pool.pool
        assert places is not None
        with places.mutex:
            places.maxsize += more
            # At the bottom of the stack: a standing connection is still taken before a place for a new one.
            places.queue[:0] = [None] * more
            places.not_empty.notify(more)

    def shut(self) -> None:
        self._pool.close()
        self.close()


def _is_latin1(text: str) -> bool:
    return text.isascii() or all(ord(character) < 256 for character in text)


def _value_of(source: ApiKey) -> str | None:
    return source.reveal() if isinstance(source, Secret) else source()


def _renew(source: ApiKey, refused: Collection[str], now: float) -> bool:
    if isinstance(source, Secret):
        return source.renew(refused, now)
    try:
        value = source()
    except Exception:  # noqa: BLE001 - it is the user's own code; without another credential the refusal stands
        return False
    return value is not None and value not in refused


def _no_credential(backend: str, reason: str) -> AuthenticationError:
    return AuthenticationError(
        f"backend {backend!r} has no usable credential: {reason}. Fix: check its api_key and headers.",
        backend=backend,
    )
