"""Probes on real threads: a runtime that is asked nothing finds out what its backends are up to."""

from __future__ import annotations

import threading

from showcaller.actors.backend_config import BackendConfig
from showcaller.actors.configuration import RuntimeConfig
from showcaller.actors.enums import BackendState
from showcaller.actors.settings import HealthConfig
from showcaller.runtime.runtime import Runtime
from tests.runtime.transports.fault_server import FaultServer, Peer, reply


def test_a_runtime_that_is_asked_nothing_knows_who_is_there() -> None:
    """By the lists of models that it asks for; one that is away is unhealthy before a request has to find out."""
    asked = threading.Semaphore(0)

    def lists(peer: Peer) -> None:
        asked.release()
        reply(200, {"data": []})(peer)

    def fails(peer: Peer) -> None:
        asked.release()
        reply(503, {"error": {"message": "away"}})(peer)

    with FaultServer() as there, FaultServer() as away:
        there.play(*[lists] * 1000)
        away.play(*[fails] * 1000)
        config = RuntimeConfig(
            backends=[
                BackendConfig(name=name, backend_type="openai", base_url=server.url, model=f"m-{name}")
                for name, server in (("there", there), ("away", away))
            ],
            health=HealthConfig(probe_interval=0.02),
        )
        with Runtime.start(config) as runtime:
            for _ in range(1000):
                assert asked.acquire(timeout=10.0)
                if (
                    runtime.health.get_status("there").state is BackendState.HEALTHY
                    and runtime.health.get_status("away").state is BackendState.UNHEALTHY
                ):
                    break
            assert runtime.health.get_healthiest() == "there"
            assert runtime.health.get_status("away").state is BackendState.UNHEALTHY
        assert all(request.startswith(b"GET /v1/models ") for request in there.requests + away.requests)
