"""An HTTP exchange under every schedule: a cancel reaches its own socket, and never one that was given back."""

from __future__ import annotations

import socket

import pytest

from showcaller.actors import cancel
from showcaller.actors.backend_config import Timeouts
from showcaller.actors.errors import RequestCancelledError, ShowcallerError
from showcaller.actors.transport import Attempt
from showcaller.runtime.transports import http_exchange
from showcaller.runtime.transports.http_exchange import Exchange

MODULES = {"lines": [http_exchange], "locks": [cancel]}


class Connection:
    """A connection that stands."""

    def __init__(self, sock):
        self.sock = sock


class World:
    """An exchange over one end of a pair of sockets. It is the endpoint, too: it notes what it is given back."""

    host = "nowhere"

    def __init__(self, pair):
        self.given_back = []
        self.error = None
        self.pair = pair
        self.attempt = Attempt(
            request_id="id",
            number=1,
            backend="b",
            payload=b"{}",
            stream=False,
            deadline=9.0,
            timeout=Timeouts(),
        )
        self.exchange = Exchange(self, self.attempt, lambda: 0.0)

    def checkout(self, timeout):
        return Connection(self.pair[0])

    def give_back(self, connection, *, reuse):
        self.given_back.append(reuse)

    @property
    def is_shut_down(self):
        try:
            return self.pair[1].recv(1, socket.MSG_DONTWAIT) == b""
        except BlockingIOError:
            return False


@pytest.fixture
def setup():
    """Makes worlds; their sockets are closed one run later."""
    pairs = []

    def make():
        close()
        pairs[:] = socket.socketpair()
        return World(pairs)

    def close():
        for end in pairs:
            end.close()

    yield make
    close()


def carry_out(world):
    """Connects and ends: a connection over which nothing was sent may be used again."""
    try:
        world.exchange.connect()
    except ShowcallerError as error:
        world.error = error
    world.exchange.end()


def call_off(world):
    world.attempt.cancel.cancel()


def abandon(world):
    world.exchange.abandon()


def left_alone_or_not_used_again(world):
    # Who is refused before he had a connection has none to give back.
    assert len(world.given_back) == 1 or world.error is not None
    assert not (world.is_shut_down and True in world.given_back)


def test_a_socket_that_is_used_again_is_not_shut_down(explore, setup):
    """A late cancel must not end another attempt; nor a transport that is closed at that moment."""
    explore(setup, [carry_out, call_off], left_alone_or_not_used_again, **MODULES)
    explore(setup, [carry_out, abandon], left_alone_or_not_used_again, **MODULES)


def test_a_cancel_is_seen_before_or_wakes_after_the_connection_stands(explore, setup):
    """Between connecting and waiting for an answer no cancel falls through."""

    def connect(world):
        try:
            world.exchange.connect()
        except ShowcallerError as error:
            world.error = error

    def check(world):
        assert world.is_shut_down or isinstance(world.error, RequestCancelledError)

    explore(setup, [connect, call_off], check, **MODULES)


def test_a_planted_socket_that_is_not_let_go_is_found(find, plant, setup):
    """A transport that is closed late shuts a socket down that another attempt has taken from the pool."""
    plant(Exchange.end, {"self._wakeable = None\n": "pass\n"})
    find(setup, [carry_out, abandon], left_alone_or_not_used_again, **MODULES)
