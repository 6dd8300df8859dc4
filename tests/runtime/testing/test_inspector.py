"""The inspector: silent about what is right, exact about what is not, and without any influence on the run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from showcaller.actors.backend_config import BackendConfig
from showcaller.actors.configuration import RuntimeConfig
from showcaller.actors.enums import LoadBalanceStrategy
from showcaller.actors.flight import Flight
from showcaller.actors.policies.circuit_breaker import CircuitBreaker
from showcaller.actors.route_config import RouteConfig
from showcaller.actors.settings import RuntimeSettings
from showcaller.actors.slot import BackendSlot
from showcaller.actors.supervisor import Supervisor
from showcaller.runtime.runtime import Runtime
from showcaller.runtime.testing import faults
from showcaller.runtime.testing.assertions import assert_invariants
from showcaller.runtime.testing.backend import SimulatedBackend
from showcaller.runtime.testing.chaos import chaos
from showcaller.runtime.testing.client import Plan
from showcaller.runtime.testing.errors import SimulationError
from showcaller.runtime.testing.simulation import Simulation


def configuration(
    strategy: LoadBalanceStrategy = LoadBalanceStrategy.WEIGHTED, **options: Any
) -> RuntimeConfig:
    """Two backends on one route."""
    backends = [
        BackendConfig(
            name=name,
            backend_type="openai_compatible",
            base_url="http://127.0.0.1:9/v1",
            model="m",
            **options,
        )
        for name in ("a", "b")
    ]
    return RuntimeConfig(
        runtime=RuntimeSettings(model="fast", timeout=20.0),
        backends=backends,
        routes=[RouteConfig(name="fast", routing_strategy=strategy, targets=["a", "b"])],
    )


def run(*struck: tuple[float, Any], seed: int = 1, **options: Any) -> list[str]:
    """The violations of ten seconds of traffic, with faults at their times."""
    with Simulation(configuration(**options), seed=seed) as simulation:
        simulation.traffic(rate=8, duration=10, streams=0.3, cancels=0.2)
        for time, fault in struck:
            simulation.at(time, fault)
        simulation.run()
    return simulation.inspector.violations


@pytest.mark.parametrize("strategy", LoadBalanceStrategy)
def test_a_run_in_which_all_is_well_has_no_violation(strategy: LoadBalanceStrategy) -> None:
    """Whatever the strategy, up to the stop."""
    assert run(strategy=strategy, max_parallel_requests=2) == []


@pytest.mark.parametrize("seed", [3, 11])
def test_it_does_not_change_the_run(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """With and without it a scenario has the same digest."""
    watched = chaos(seed).run()
    with chaos(seed).simulation() as simulation:
        simulation.world.observers.remove(simulation.inspector)
        # What it has not seen to begin it does not see to end.
        monkeypatch.setattr(simulation.inspector, "at_stop", lambda: None)
        assert simulation.run().digest == watched.digest


def test_what_a_fault_kills_is_no_violation() -> None:
    """Crashes of all kinds, and transports that raise, when they were asked for."""
    crashes = [(2.0, faults.crash("supervisor", "on_granted")), (3.0, faults.crash("a", base=True))]
    assert run(*crashes, (4.0, faults.errors("b", "raises", duration=2.0))) == []


def test_a_crash_that_nobody_asked_for_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """With its actor, its handler and its exception."""
    real = Supervisor.on_granted

    def on_granted(self: Supervisor, message: Any) -> None:
        if message.attempt.key == (7, 1):
            raise KeyError(message)
        real(self, message)

    monkeypatch.setattr(Supervisor, "on_granted", on_granted)
    assert run()[0].startswith("supervisor in on_granted: unexpected crash: KeyError in on_granted at ")


def test_a_transport_that_raises_by_mistake_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """So is whatever else raises while an attempt is carried out."""
    real = SimulatedBackend.attempt

    def attempt(self: SimulatedBackend, wanted: Any) -> Any:
        if wanted.request_id.endswith("-9"):
            raise ZeroDivisionError
        return real(self, wanted)

    monkeypatch.setattr(SimulatedBackend, "attempt", attempt)
    found = run()
    assert "attempt 1 of request r-9 failed of a bug: " in found[0]
    assert "its transport raised ZeroDivisionError" in found[0]


def test_each_violation_is_said_once_with_its_time_and_the_same_in_each_run(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A backend that is always too full is one sentence."""
    monkeypatch.setattr(BackendSlot, "is_eligible", lambda self, now: self.child is not None)
    first = run(max_parallel_requests=1)
    assert first == run(max_parallel_requests=1)
    assert len(first) == len(set(first))
    full = [violation for violation in first if violation.startswith("a: was given attempt ")]
    assert len(full) == 1
    assert " as the 2th at once, at " in full[0]
    assert full[0].endswith(" s")


@pytest.fixture
def mixed_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """The fifth answer is that to the first request."""
    texts: list[Any] = []
    real = Flight.answer

    def answer(self: Flight, attempt: Any, make: Any) -> bool:
        texts.append(make)
        return real(self, attempt, texts[0] if len(texts) == 5 else make)

    monkeypatch.setattr(Flight, "answer", answer)


@pytest.mark.usefixtures("mixed_up")
def test_a_request_that_gets_another_ones_answer_is_named() -> None:
    """An answer has to be of an attempt of the request's own call."""
    assert any("its answer begins with " in violation for violation in run())


# --- requests that a program sends by itself ---


def batch(runtime: Runtime) -> None:
    """Six requests in batches of three."""
    with runtime.batcher(max_size=3) as batcher:
        for number in range(6):
            batcher.add(f"item {number}")


def read(runtime: Runtime) -> None:
    """Six streams; the first is left after a chunk."""
    for number in range(6):
        with runtime.stream(f"story {number}") as stream:
            for _ in stream:
                if number == 0:
                    break


WAYS: dict[str, Callable[[Runtime], object]] = {
    "ask": lambda runtime: [runtime.ask(f"question {number}") for number in range(6)],
    "ask_many": lambda runtime: runtime.ask_many([f"question {number}" for number in range(6)]),
    "tell": lambda runtime: [runtime.tell(f"question {number}") for number in range(6)],
    "submit": lambda runtime: [runtime.submit(f"question {number}") for number in range(6)],
    "stream": read,
    "batcher": batch,
}


def sent_by_itself(way: str) -> list[str]:
    """The violations when a program sends six requests through the runtime."""
    with Simulation(configuration(), seed=1) as simulation:
        WAYS[way](simulation.runtime)
        assert len(simulation.run().requests) == 6
    return simulation.inspector.violations


@pytest.mark.parametrize("way", WAYS)
def test_what_a_program_sends_is_no_violation(way: str) -> None:
    """Whichever way it goes, and whatever the program reads of it."""
    assert sent_by_itself(way) == []


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.usefixtures("mixed_up")
def test_what_a_program_sends_is_watched_like_traffic(way: str) -> None:
    """A wrong answer to it is found although no simulated caller has asked for it."""
    assert any("its answer begins with " in violation for violation in sent_by_itself(way))


# --- liveness ---


def recovered(seed: int = 1) -> list[str]:
    """The violations after an outage of both backends that has ended."""
    with Simulation(configuration(), seed=seed) as simulation:
        simulation.traffic(rate=8, duration=10)
        simulation.at(2, faults.outage("a", 5))
        simulation.at(2, faults.outage("b", 5))
        simulation.run()
        before = len(simulation.clients)
        simulation.inspector.check_recovery()
        assert len(simulation.clients) == before + 2
        return simulation.inspector.violations


def test_backends_that_work_again_get_requests_again() -> None:
    """Each of them answers one that is sent to it."""
    assert recovered() == []


def test_a_backend_that_stays_shut_out_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """A breaker that never half-opens is a violation when everything is over."""
    monkeypatch.setattr(
        CircuitBreaker, "is_open", lambda self, now: self._open_until > 0 or self.open_until is not None
    )
    found = recovered()
    assert any("a: gets no request although nothing is wrong any more: " in violation for violation in found)


def test_what_is_not_stopped_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """A supervisor that forgets its backends when it is stopped leaves their actors."""
    monkeypatch.setattr("showcaller.actors.fleet.Fleet.stop", lambda self: None)
    monkeypatch.setattr("showcaller.actors.fleet.Fleet.stopped", property(lambda self: True))
    monkeypatch.setattr("showcaller.runtime.engine.Engine._stop_what_is_left", lambda self: None)
    with pytest.raises(SimulationError, match="after the stop, with seed 1") as caught:
        run()
    for name in ("a@1", "b@2"):
        assert f"backend:{name}: was not stopped in order" in str(caught.value)


# --- assert_invariants ---


def test_assert_invariants_says_everything_that_helps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every violation, the seed, the digest, and the last things that happened."""
    monkeypatch.setattr(Supervisor, "_wake_in", lambda self, delay: None)
    with Simulation(configuration(rate_limit_rpm=6), seed=5) as simulation:
        for _ in range(13):
            simulation.send(Plan(prompt="hello"))
        report = simulation.run()
    with pytest.raises(AssertionError) as caught:
        assert_invariants(report)
    text = str(caught.value)
    for part in (*report.violations, "seed 5", report.digest, report.trace[-1]):
        assert part in text


def test_assert_invariants_is_silent_when_all_is_well() -> None:
    """Then there is nothing to say."""
    with Simulation(configuration(), seed=5) as simulation:
        simulation.traffic(rate=5, duration=5)
        assert_invariants(simulation.run())
