"""The HTTP transport keeps the contract, against the real server that xllamacpp opens."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from showcaller.actors.errors import AuthenticationError
from tests.runtime.transports.contract import MakeAttempt, MakeTransport, TransportContract, error_of


class TestHttpTransport(TransportContract):
    """Every case of the contract, and what only a real server can tell."""

    @pytest.fixture
    def make_transport(self, real_server: Any, make_http: Callable[..., Any]) -> MakeTransport:
        """A transport with connections of its own."""
        return lambda: make_http(
            real_server.base_url, model=real_server.model, api_key=lambda: real_server.api_key
        )

    def test_a_wrong_key_is_named(
        self, real_server: Any, make_http: Callable[..., Any], make_attempt: MakeAttempt
    ) -> None:
        """By a real server's 401."""
        transport = make_http(real_server.base_url, model="smollm2", api_key=lambda: "another-key-entirely")
        error = error_of(list(transport.attempt(make_attempt())))
        assert isinstance(error, AuthenticationError)
        assert "another-key" not in str(error)
