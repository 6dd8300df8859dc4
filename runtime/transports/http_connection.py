"""Connections whose timeout is for all addresses of their host together; urllib3 gives it to each of them."""

from __future__ import annotations

import socket
import time
from typing import Any

from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import ConnectTimeoutError, NameResolutionError, NewConnectionError


class TimelyHTTPConnection(HTTPConnection):
    """Without TLS."""

    def _new_conn(self) -> socket.socket:
        assert self.timeout is not None
        until = time.monotonic() + self.timeout
        try:
            found = socket.getaddrinfo(self._dns_host, self.port, 0, socket.SOCK_STREAM)
        except UnicodeError as error:
            raise NewConnectionError(self, "its host is no name") from error
        except socket.gaierror as error:
            raise NameResolutionError(self.host, self, error) from error
        failure = OSError()
        for number, address in enumerate(found):
            # A share of what is left: one that does not answer must not take the time of one that would.
            share = (until - time.monotonic()) / (len(found) - number)
            if share <= 0:
                failure = TimeoutError()
                break
            try:
                return self._open(address, share)
            except OSError as error:
                failure = error
        if isinstance(failure, TimeoutError):
            raise ConnectTimeoutError(self, "no address has answered") from failure
        raise NewConnectionError(self, "no address has accepted") from failure

    def _open(self, found: tuple[Any, ...], timeout: float) -> socket.socket:
        family, kind, protocol, _, address = found
        sock = socket.socket(family, kind, protocol)
        try:
            for option in self.socket_options or ():
                sock.setsockopt(*option)
            sock.settimeout(timeout)
            sock.connect(address)
        except BaseException:
            sock.close()
            raise
        return sock


class TimelyHTTPSConnection(TimelyHTTPConnection, HTTPSConnection):
    """With TLS."""
