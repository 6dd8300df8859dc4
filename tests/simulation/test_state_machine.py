"""Hypothesis drives the public API of a runtime in virtual time; every invariant holds after each step."""

from __future__ import annotations

from collections import Counter

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from showcaller.actors.backend_config import BackendConfig
from showcaller.actors.configuration import RuntimeConfig
from showcaller.actors.enums import LoadBalanceStrategy
from showcaller.actors.errors import ShowcallerError
from showcaller.actors.route_config import RouteConfig
from showcaller.actors.settings import QuotaConfig, RuntimeSettings
from showcaller.runtime.testing.client import Plan
from showcaller.runtime.testing.saboteur import Crash
from showcaller.runtime.testing.schedule import DrawnSchedule
from showcaller.runtime.testing.simulation import Simulation

NAMES = ("a", "b", "c")
ACTORS = ("supervisor", "quota_manager", "deduplicator", "health_monitor", "recorder", "analytics")
MOST_CRASHES = 3
"""Of one actor: more would be too many for its supervisor, and end the runtime rightly."""
CHOICES = 12
"""So many steps of each rule does Hypothesis choose itself."""


def backend(name: str, **options) -> BackendConfig:
    """An endpoint that is never called."""
    return BackendConfig(
        name=name,
        backend_type="openai_compatible",
        base_url="http://127.0.0.1:9/v1",
        model="shared",
        **options,
    )


class Steps:
    """A schedule that is drawn anew in each rule."""

    def __init__(self):
        self.drawn = None

    def choose(self, candidates):
        return 0 if self.drawn is None else self.drawn.choose(candidates)


class RuntimeMachine(RuleBasedStateMachine):
    """What a user can do to a runtime."""

    def __init__(self):
        super().__init__()
        self.steps = Steps()
        self.crashes = Counter()
        self.added = 0
        self.simulation = None

    @initialize(
        strategy=st.sampled_from(list(LoadBalanceStrategy)),
        seats=st.integers(1, 3),
        rpm=st.sampled_from([None, 5]),
        seed=st.integers(0, 2**16),
    )
    def start(self, strategy, seats, rpm, seed):
        config = RuntimeConfig(
            runtime=RuntimeSettings(model="fast", timeout=20.0),
            backends=[backend(name, max_parallel_requests=seats, rate_limit_rpm=rpm) for name in NAMES],
            routes=[RouteConfig(name="fast", routing_strategy=strategy, targets=list(NAMES))],
            quota=QuotaConfig(requests_per_hour=200),
        )
        self.simulation = Simulation(config, seed=seed, schedule=self.steps).__enter__()

    @property
    def names(self):
        return list(self.simulation.runtime.backends)

    @rule(
        prompt=st.sampled_from(["one", "two"]),
        temperature=st.sampled_from([1.0, 0.0]),
        priority=st.sampled_from(["normal", "critical", "low"]),
        stream=st.booleans(),
        timeout=st.sampled_from([None, 0.5, 5.0]),
        idempotent=st.sampled_from([None, False]),
    )
    def submit(self, prompt, stream, **options):
        self.simulation.send(Plan(prompt=prompt, stream=stream, options=options))

    @precondition(lambda self: self.simulation.clients)
    @rule(data=st.data())
    def cancel(self, data):
        clients = self.simulation.clients
        clients[data.draw(st.integers(0, len(clients) - 1), label="client")].cancel()

    @rule(seconds=st.sampled_from([0.0, 0.05, 0.5, 3.0, 30.0]), data=st.data())
    def advance(self, seconds, data):
        self.steps.drawn = DrawnSchedule(data, CHOICES)
        self.simulation.advance(seconds)
        self.steps.drawn = None

    @rule(actor=st.sampled_from(ACTORS), after=st.booleans())
    def crash_an_actor(self, actor, after):
        if self.crashes[actor] < MOST_CRASHES:
            self.crashes[actor] += 1
            self.simulation.saboteur.crashes[actor].append(Crash(after=after))

    @precondition(lambda self: self.names)
    @rule(data=st.data())
    def crash_a_backend(self, data):
        self.simulation.runtime.backends.crash(data.draw(st.sampled_from(self.names), label="backend"))

    @rule(seats=st.integers(1, 2))
    def add(self, seats):
        missing = [name for name in NAMES if name not in self.names]
        if missing:
            self.simulation.runtime.backends.add(backend(missing[0], max_parallel_requests=seats))

    @precondition(lambda self: self.names)
    @rule(data=st.data(), timeout=st.sampled_from([0.0, 1.0, 10.0]))
    def drain(self, data, timeout):
        self.simulation.runtime.backends.drain(
            data.draw(st.sampled_from(self.names), label="backend"), timeout
        )

    @precondition(lambda self: self.names)
    @rule(data=st.data(), timeout=st.sampled_from([0.0, 1.0]))
    def remove(self, data, timeout):
        self.simulation.runtime.backends.remove(
            data.draw(st.sampled_from(self.names), label="backend"), timeout
        )

    @precondition(lambda self: self.names)
    @rule(data=st.data(), rpm=st.sampled_from([None, 2, 60]))
    def reload(self, data, rpm):
        """A backend's configuration changes: it goes, and comes back under the same name."""
        name = data.draw(st.sampled_from(self.names), label="backend")
        self.simulation.runtime.backends.remove(name, 0.5)
        self.simulation.runtime.backends.add(backend(name, rate_limit_rpm=rpm))

    @invariant()
    def nothing_is_violated(self):
        if self.simulation is not None:
            assert self.simulation.inspector.violations == []
            account = self.simulation.runtime.status().account
            assert account.accepted == account.answered + account.failed + account.open

    def teardown(self):
        if self.simulation is None:
            return
        try:
            report = self.simulation.run()
            assert report.violations == ()
            for client in self.simulation.clients:
                refused = isinstance(client.sent.refused, ShowcallerError)
                assert len(client.sent.outcomes) == (0 if refused else 1)
        finally:
            self.simulation.__exit__(None, None, None)


TestRuntime = RuntimeMachine.TestCase
TestRuntime.settings = settings(
    max_examples=200, stateful_step_count=30, suppress_health_check=[HealthCheck.too_slow]
)
