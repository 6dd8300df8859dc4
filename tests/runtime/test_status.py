"""`runtime.status()`: true, and there even when the tree is not."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from showcaller.actors.enums import BackendState, CircuitState
from showcaller.actors.errors import DeadlineExceededError, RuntimeStoppedError
from showcaller.actors.messages import Promoted, Provoke
from showcaller.actors.supervisor import Supervisor
from showcaller.runtime.runtime import Runtime
from showcaller.runtime.status import RetryBudgetStatus
from showcaller.runtime.testing.simulation import Simulation
from tests.runtime.live import PATIENCE, Gate, Peer, backend_of, config_of, ready, running


def on_core(runtime: Runtime, do: Callable[[], None]) -> None:
    """Run something on the shared thread, inside the supervisor."""
    runtime.ask("q", timeout=PATIENCE)
    ref = runtime._tree.address("supervisor").ref
    assert ref is not None
    actor = ref._actor_weakref()
    assert actor is not None
    actor.on_promoted = lambda _message: do()  # type: ignore[attr-defined]
    ref.tell(Promoted())


def test_the_status_says_what_is_there() -> None:
    """Backends, actors, quotas and the account."""
    gate = Gate()
    peer = Peer(gate.waiting)
    with running({"a": peer, "b": Peer(ready)}, rate_limit_rpm=10, max_parallel_requests=7) as runtime:
        runtime.ask("q", model="b", timeout=PATIENCE)
        pending = runtime.submit("q", model="a")
        assert peer.arrived.acquire(timeout=PATIENCE)
        status = runtime.status()
        assert (status.account.accepted, status.account.answered, status.account.open) == (2, 1, 1)
        a, b = status.backends
        assert (a.name, a.in_flight, a.limit, a.hanging) == ("a", 1, 7, 0)
        assert (b.name, b.actor.name, b.actor.state, b.actor.generation) == ("b", "b", "running", 1)
        assert a.circuit is CircuitState.CLOSED
        assert isinstance(a.health, BackendState)
        assert a.out_of_service is None
        assert {actor.name for actor in status.actors} == {
            "recorder",
            "analytics",
            "health_monitor",
            "quota_manager",
            "supervisor",
            "deduplicator",
        }
        assert {actor.state for actor in status.actors} == {"running"}
        assert status.quotas["a"]["rpm"] == 9
        assert status.stuck is None
        assert status.waiting == {"low": 0, "normal": 0, "high": 0, "critical": 0}
        pending.cancel()


def test_the_status_says_how_many_wait_by_class() -> None:
    """Of those that are queued, not of those that are at a backend."""
    gate = Gate()
    peer = Peer(gate.waiting)
    with running({"a": peer}, max_parallel_requests=1) as runtime:
        pendings = [runtime.submit("q", priority="low")]
        assert peer.arrived.acquire(timeout=PATIENCE)
        pendings += [runtime.submit("q", priority=priority) for priority in ("low", "high", "high")]
        heard = threading.Event()
        ref = runtime._tree.address("supervisor").ref
        assert ref is not None
        ref._actor_weakref().on_promoted = lambda _message: heard.set()  # type: ignore[union-attr]
        ref.tell(Promoted())
        assert heard.wait(PATIENCE)
        assert runtime.status().waiting == {"low": 1, "normal": 0, "high": 2, "critical": 0}
        for pending in pendings:
            pending.cancel()


def test_the_retry_budget_is_what_it_is_now() -> None:
    """Of its own bound, and with what has come back with time."""
    settings = {"retry_budget": 0.0, "retry_burst": 7}
    with Simulation(config_of(["a"], settings=settings)) as simulation:
        budget = simulation.runtime._tree.roster.retry_budget
        for _ in range(5):
            budget.withdraw(simulation.world.clock.now())
        seen = []
        for seconds in (0.0, 3.0, 10.0):
            simulation.advance(seconds)
            seen.append(simulation.runtime.status().retry_budget)
        assert seen == [RetryBudgetStatus(left=left, burst=7.0) for left in (2.0, 5.0, 7.0)]


def test_what_an_observer_could_not_be_told_is_counted() -> None:
    """Two of them are away, and the health monitor hears of it."""
    with Simulation(config_of(["a"])) as simulation:
        for _ in range(6):
            for name in ("recorder", "analytics"):
                simulation.runtime._tree.address(name).tell(Provoke("a drill"))
            simulation.advance(5.0)
        assert simulation.runtime.status().observations_dropped == 0
        simulation.runtime.ask("q")
        simulation.advance(1.0)
        assert simulation.runtime.status().observations_dropped == 2
        assert simulation.runtime.health.get_status("a").attempts == 1


def test_a_disabled_a_drained_and_a_removed_backend_say_so() -> None:
    """With the reason, and without a trace."""
    with running({"a": Peer(ready), "b": Peer(ready)}, rate_limit_rpm=10) as runtime:
        runtime.backends.add(backend_of("off", enabled=False), Peer(ready))
        runtime.backends.drain("a", PATIENCE)
        runtime.backends.remove("b", PATIENCE)
        status = runtime.status()
    assert {one.name: one.out_of_service for one in status.backends} == {"a": "draining", "off": "disabled"}
    assert set(status.quotas) <= {"runtime", "a", "off"}


def test_status_and_deadlines_are_kept_while_the_core_is_stuck() -> None:
    """The clock has a thread of its own, and the status asks no actor."""
    release, inside = threading.Event(), threading.Event()

    def block() -> None:
        inside.set()
        assert release.wait(PATIENCE)

    with running({"a": Peer(ready)}) as runtime:
        runtime._engine.machine._watchdog.limit = 0.0
        on_core(runtime, block)
        try:
            assert inside.wait(PATIENCE)
            with pytest.raises(DeadlineExceededError, match=r"queued|not answered"):
                runtime.ask("q", timeout=0.05)
            # The watchdog looks once a second; each deadline here is one tick of the same clock.
            for _ in range(60):
                status = runtime.status()
                if status.stuck is not None:
                    break
                with pytest.raises(DeadlineExceededError):
                    runtime.ask("q", timeout=0.1)
            assert status.stuck is not None
            assert "supervisor" in status.stuck
            assert status.account.open == 0
            pending = runtime.submit("q")
            assert runtime.cancel(pending.request_id)
        finally:
            release.set()
        assert runtime.ask("q", timeout=PATIENCE).content == "hi"


def test_a_stop_ends_open_requests_even_when_the_core_is_stuck() -> None:
    """What it cannot end is left behind, within its deadline."""
    release, inside = threading.Event(), threading.Event()

    def block() -> None:
        inside.set()
        assert release.wait(PATIENCE)

    with running({"a": Peer(ready)}) as runtime:
        on_core(runtime, block)
        assert inside.wait(PATIENCE)
        pending = runtime.submit("q", timeout=1000)
        drains: list[BaseException] = []

        def drain() -> None:
            with pytest.raises(RuntimeStoppedError) as caught:
                runtime.backends.drain("a", 1000)
            drains.append(caught.value)

        draining = threading.Thread(target=drain, daemon=True)
        draining.start()
        stopping = threading.Thread(target=runtime.stop, args=(0.0,), daemon=True)
        stopping.start()
        stopping.join(PATIENCE)
        assert not stopping.is_alive()
        assert pending.done()
        draining.join(PATIENCE)
        assert drains
        core = runtime._engine.machine._shared.thread
        assert core is not None
        assert core.is_alive()
        release.set()
        core.join(PATIENCE)
        assert not core.is_alive()


def test_a_crash_shows_with_its_reason_and_its_restart() -> None:
    """The reason names the error and the place, not its text."""
    with running({"a": Peer(ready)}) as runtime:
        runtime.ask("q", timeout=PATIENCE)
        runtime.backends.crash("a", "the text of the drill")
        # Answered only when the backend runs again.
        assert runtime.ask("q", timeout=PATIENCE).content == "hi"
        (a,) = runtime.status().backends
    assert a.actor.restarts <= 1
    if a.actor.restarts:
        assert a.actor.generation == 2
        assert a.actor.last_crash is not None
        assert "DrillError" in a.actor.last_crash
        assert "the text" not in a.actor.last_crash


def test_a_runtime_that_has_started_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    """`start` returns when the backends run, however long the supervisor takes for that."""
    begin = Supervisor.on_start

    def slowly(self: Supervisor) -> None:
        threading.Event().wait(0.2)
        begin(self)

    monkeypatch.setattr(Supervisor, "on_start", slowly)
    with running({"a": Peer(ready)}) as runtime:
        assert [backend.actor.state for backend in runtime.status().backends] == ["running"]


def test_the_health_is_read_from_any_thread_while_it_is_written() -> None:
    """Each status is whole: of one moment, and of no other."""
    with running({"a": Peer(ready), "b": Peer(ready)}) as runtime:
        done, wrong = threading.Event(), []

        def read() -> None:
            while not done.is_set():
                for status in runtime.health.get_all_status().values():
                    known = status.attempts >= 3
                    if known != (status.state is BackendState.HEALTHY) or status.error_count:
                        wrong.append(status)
                assert runtime.health.get_healthiest() in ("a", "b")

        readers = [threading.Thread(target=read) for _ in range(2)]
        for reader in readers:
            reader.start()
        try:
            runtime.ask_many(["q"] * 50, model="a", timeout=PATIENCE)
        finally:
            done.set()
            for reader in readers:
                reader.join(PATIENCE)
        assert wrong == []
        assert not any(reader.is_alive() for reader in readers)


def test_the_health_is_that_of_the_board_and_not_what_the_supervisor_heard() -> None:
    """So it holds while the core is stuck."""
    with running({"a": Peer(ready)}) as runtime:
        slot = runtime._tree.roster.slots["a"]
        slot.health = BackendState.UNHEALTHY
        assert runtime.status().backends[0].health is BackendState.UNKNOWN
        slot.retired = True
        assert runtime.status().backends[0].health is BackendState.RETIRED
