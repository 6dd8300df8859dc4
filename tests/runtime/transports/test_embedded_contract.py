"""The embedded transport passes the contract of all transports, on the real model."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from showcaller.runtime.transports.embedded import EmbeddedTransport
from tests.runtime.transports.contract import TransportContract

pytest.importorskip("xllamacpp")


class TestEmbeddedTransport(TransportContract):
    """Every case of the contract."""

    @pytest.fixture
    def make_transport(self, model_path: Path) -> Iterator[Callable[[], EmbeddedTransport]]:
        """Transports that share one model of the contract's size."""
        made: list[EmbeddedTransport] = []

        def make() -> EmbeddedTransport:
            made.append(EmbeddedTransport(model_path=model_path, n_ctx=2048))
            return made[-1]

        yield make
        for transport in made:
            transport.close()
