"""What the demo runs on: two backends of the embedded model, one that is down on purpose, and their route."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator, Mapping
from typing import Final

from attrs import frozen

from showcaller.actors.backend_config import BackendConfig
from showcaller.actors.configuration import RuntimeConfig
from showcaller.actors.enums import BackendType, LoadBalanceStrategy
from showcaller.actors.kernel.clock import SystemClock
from showcaller.actors.route_config import RouteConfig, TargetConfig
from showcaller.actors.settings import RuntimeSettings
from showcaller.runtime.cli.witness import Witness
from showcaller.runtime.runtime import Runtime
from showcaller.runtime.transports.factory import TransportFactory

ROUTE: Final = "demo"
FIRST: Final = "local-a"
SECOND: Final = "local-b"
DOWN: Final = "down"
WEIGHTS: Final[Mapping[str, int]] = {FIRST: 2, SECOND: 1, DOWN: 1}
MODEL: Final = "smollm2"

_SEATS = 16


@frozen
class Stage:
    """A runtime and the witnesses of its backends, by name."""

    runtime: Runtime
    witnesses: Mapping[str, Witness]


@contextlib.contextmanager
def staged() -> Iterator[Stage]:
    """A running stage; the model must have been fetched.

    Raises:
        ConfigurationError: a transport cannot be made.
    """
    with _refusing_port() as port:
        config = demo_config(port)
        factory = TransportFactory(SystemClock())
        witnesses: dict[str, Witness] = {}
        try:
            for backend in config.backends:
                witnesses[backend.name] = Witness(factory.make(backend))
            runtime = Runtime.start(config, transports=witnesses)
        except BaseException:
            for witness in witnesses.values():
                witness.close()
            raise
        with runtime:
            yield Stage(runtime, witnesses)


@contextlib.contextmanager
def _refusing_port() -> Iterator[int]:
    """A loopback port that is taken, and at which nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield int(taken.getsockname()[1])


def demo_config(port: int) -> RuntimeConfig:
    """The stage's configuration.

    Args:
        port: of the loopback interface, at which nobody listens.
    """
    return RuntimeConfig(
        runtime=RuntimeSettings(model=ROUTE),
        backends=(
            _embedded(FIRST),
            _embedded(SECOND),
            BackendConfig(
                name=DOWN,
                backend_type=BackendType.OPENAI_COMPATIBLE,
                base_url=f"http://127.0.0.1:{port}/v1",
                model="nobody-listens",
            ),
        ),
        routes=(
            RouteConfig(
                name=ROUTE,
                routing_strategy=LoadBalanceStrategy.WEIGHTED,
                targets=[TargetConfig(name, weight) for name, weight in WEIGHTS.items()],
                allowed_fails=3,
                cooldown_time=5.0,
            ),
        ),
    )


def _embedded(name: str) -> BackendConfig:
    # More seats than requests, so that the weights decide and not who has room.
    return BackendConfig(
        name=name, backend_type=BackendType.EMBEDDED, model=MODEL, max_parallel_requests=_SEATS
    )
