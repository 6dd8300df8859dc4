"""Lanes for tests of fallbacks, and a run of requests through them in virtual time."""

from __future__ import annotations

from typing import Any

from showcaller.actors.backend_config import BackendConfig
from showcaller.actors.configuration import RuntimeConfig
from showcaller.actors.models import BackendResponse
from showcaller.actors.route_config import RouteConfig
from showcaller.actors.settings import RuntimeSettings
from showcaller.runtime.testing import faults
from showcaller.runtime.testing.behaviour import Behaviour
from showcaller.runtime.testing.distributions import Constant
from showcaller.runtime.testing.simulation import Simulation

FOR_EVER = 1e6


def configuration(
    lanes: dict[str, list[str]],
    *,
    backends: dict[str, dict[str, Any]] | None = None,
    routes: dict[str, dict[str, Any]] | None = None,
    **settings: Any,
) -> RuntimeConfig:
    """Failover routes; each may have more said of it, and so may each backend."""
    names = dict.fromkeys(name for targets in lanes.values() for name in targets)
    return RuntimeConfig(
        runtime=RuntimeSettings(model="fast", **settings),
        backends=[
            BackendConfig(
                name=name,
                backend_type="openai_compatible",
                base_url="http://127.0.0.1:9/v1",
                model=f"m-{name}",
                **(backends or {}).get(name, {}),
            )
            for name in names
        ],
        routes=[
            RouteConfig(
                **{
                    "name": name,
                    "routing_strategy": "failover",
                    "targets": targets,
                    "allowed_fails": 1_000,
                    "slow_start": 0.0,
                    **(routes or {}).get(name, {}),
                }
            )
            for name, targets in lanes.items()
        ],
    )


class Run:
    """One request, or several, in a simulation; times are virtual."""

    def __init__(self, config: RuntimeConfig, *struck: Any, seed: int = 1, **behaviours: Behaviour) -> None:
        quick = Behaviour(connect=Constant(0.0), first_token=Constant(0.1), token_interval=Constant(0.0))
        usual = {backend.name: quick for backend in config.backends}
        self.simulation = Simulation(config, seed=seed, behaviours=usual | behaviours)
        for fault in struck:
            self.simulation.at(0.0, fault)

    def ask(self, prompt: str = "hello", **options: Any) -> BackendResponse | Exception:
        """What one request gets, and with it all calls that were made."""
        with self.simulation as simulation:
            simulation.advance(0.001)
            self.began = simulation.now
            try:
                return simulation.runtime.ask(prompt, **options)
            except Exception as error:  # noqa: BLE001  it is what the test looks at
                return error
            finally:
                self.took = simulation.now - self.began
                served = [call for backend in simulation.made for call in backend.served]
                self.calls = [
                    call.backend for call in sorted(served, key=lambda call: (call.started, call.number))
                ]
                self.starts = sorted(call.started - 1000.0 - self.began for call in served)
                assert simulation.inspector.violations == []


def unavailable(*names: str) -> list[Any]:
    """HTTP 503 at each, for good."""
    return [faults.errors(name, "unavailable", duration=FOR_EVER) for name in names]
