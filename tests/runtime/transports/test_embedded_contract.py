"""The embedded transport passes the contract of all transports, on the real model."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from showcaller.runtime.transports.embedded import EmbeddedTransport
from tests.runtime.transports.contract import TransportContract

pytest.importorskip("xllamacpp")


class TestEmbeddedTransport(TransportContract):
    """Every case of the contract."""

    @pytest.fixture
    def make_transport(
        self, make_embedded: Callable[..., EmbeddedTransport]
    ) -> Callable[[], EmbeddedTransport]:
        """Transports that share one model of the contract's size."""
        return lambda: make_embedded(n_ctx=2048)
