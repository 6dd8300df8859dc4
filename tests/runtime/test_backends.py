"""`runtime.backends`: add, drain, remove and crash while requests are under way."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from showcaller.actors.errors import (
    AllBackendsFailedError,
    BackendDrainedError,
    ConfigurationError,
    RuntimeStoppedError,
    ShowcallerError,
    UnknownModelError,
)
from showcaller.actors.transport import Attempt, TransportEvent
from showcaller.runtime.runtime import Runtime
from tests.runtime.live import PATIENCE, Gate, Peer, backend_of, config_of, ready, running


class Draining:
    """A drain or a removal on a thread of the test's own, so that waiting for it is bounded."""

    def __init__(self, runtime: Runtime, name: str, seconds: float, *, remove: bool = False) -> None:
        self.cancelled: int | None = None
        call = runtime.backends.remove if remove else runtime.backends.drain

        def run() -> None:
            self.cancelled = call(name, seconds)

        self._thread = threading.Thread(target=run, daemon=True)
        self._thread.start()

    def result(self) -> int | None:
        """How many attempts had to be cancelled."""
        self._thread.join(PATIENCE)
        assert not self._thread.is_alive(), "the drain does not end"
        return self.cancelled


def test_backends_are_known_by_name() -> None:
    """As a collection, in order."""
    with running({"a": Peer(ready), "b": Peer(ready)}) as runtime:
        assert list(runtime.backends) == ["a", "b"]
        assert len(runtime.backends) == 2
        assert "a" in runtime.backends
        assert "q" not in runtime.backends


def test_an_added_backend_takes_requests_by_its_name_and_its_model() -> None:
    """At once, and it is closed with the runtime."""
    added = Peer(ready)
    with running({"a": Peer(ready)}) as runtime:
        runtime.backends.add(backend_of("b", model="shared"), added)
        assert runtime.ask("q", model="b", timeout=PATIENCE).backend == "b"
        assert runtime.ask("q", model="shared", timeout=PATIENCE).backend == "b"
        assert runtime.status().backends[1].name == "b"
    assert added.closed.is_set()


@pytest.mark.parametrize("taken", ["a", "fast", "model-of-a"])
def test_a_name_that_is_taken_is_refused_and_changes_nothing(taken: str) -> None:
    """What the other has spent of its limits stays spent, and the new transport is closed."""
    refused = Peer(ready)
    with running({"a": Peer(ready)}, rate_limit_rpm=3) as runtime:
        runtime.ask("q", timeout=PATIENCE)
        before = runtime.status().quotas["a"]["rpm"]
        with pytest.raises(ConfigurationError, match=taken):
            runtime.backends.add(backend_of(taken, model="other", rate_limit_rpm=3), refused)
        assert runtime.status().quotas["a"]["rpm"] == before == 2
        assert list(runtime.backends) == ["a"]
    assert refused.closed.is_set()
    assert not refused.attempts


def test_one_of_many_that_add_the_same_name_succeeds() -> None:
    """The others are refused, and their transports closed."""
    peers = [Peer(ready) for _ in range(8)]
    refused: list[Peer] = []
    with running({"a": Peer(ready)}) as runtime:

        def add(peer: Peer) -> None:
            try:
                runtime.backends.add(backend_of("b"), peer)
            except ConfigurationError:
                refused.append(peer)

        adders = [threading.Thread(target=add, args=(peer,), daemon=True) for peer in peers]
        for adder in adders:
            adder.start()
        for adder in adders:
            adder.join(PATIENCE)
        assert len(refused) == 7
        assert runtime.ask("q", model="b", timeout=PATIENCE).backend == "b"
        assert all(peer.closed.is_set() for peer in refused)
        assert sum(len(peer.attempts) for peer in peers) == 1
        assert not any(peer.attempts for peer in refused)


def test_a_draining_backend_finishes_what_it_has_and_takes_nothing_new() -> None:
    """It stays, and new requests go elsewhere."""
    gate = Gate()
    a = Peer(gate.waiting)
    with running({"a": a, "b": Peer(ready)}) as runtime:
        pending = runtime.submit("q")
        assert a.arrived.acquire(timeout=PATIENCE)
        drain = Draining(runtime, "a", 1000)
        # Told before this request, so handled before it.
        assert runtime.backends.drain("b", 0) == 0
        with pytest.raises(AllBackendsFailedError, match="draining"):
            runtime.ask("q", timeout=PATIENCE)
        assert drain.cancelled is None
        gate.open()
        assert drain.result() == 0
        assert pending.result(PATIENCE).backend == "a"
        assert "a" in runtime.backends
        assert not a.closed.is_set()


def test_a_drain_whose_time_is_over_cancels_and_counts() -> None:
    """Its requests go elsewhere, where there is an elsewhere."""
    gate = Gate()
    a = Peer(gate.waiting)
    with running({"a": a, "b": Peer(ready)}) as runtime:
        pendings = [runtime.submit("q", model=model) for model in ("fast", "a")]
        for _ in pendings:
            assert a.arrived.acquire(timeout=PATIENCE)
        assert runtime.backends.drain("a", 0.01) == 2
        assert pendings[0].result(PATIENCE).backend == "b"
        assert isinstance(pendings[1].exception(PATIENCE), BackendDrainedError)
        assert gate.cancelled.wait(PATIENCE)


def test_a_removed_backend_is_gone_and_its_name_is_free() -> None:
    """A name added again is a new backend."""
    first, second = Peer(ready), Peer(ready)
    with running({"a": Peer(ready), "b": first}) as runtime:
        assert runtime.ask("q", model="b", timeout=PATIENCE).backend == "b"
        assert runtime.backends.remove("b", PATIENCE) == 0
        assert first.closed.is_set()
        with pytest.raises(UnknownModelError):
            runtime.ask("q", model="b")
        with pytest.raises(ConfigurationError, match="known are: a"):
            runtime.backends.remove("b")
        runtime.backends.add(backend_of("b"), second)
        assert runtime.ask("q", model="b", timeout=PATIENCE).backend == "b"
    assert (len(first.attempts), len(second.attempts)) == (1, 1)


def test_removing_a_backend_that_hangs_takes_no_longer_than_asked_and_a_little() -> None:
    """Its request is answered elsewhere, and its thread left behind."""
    gate = Gate()
    a = Peer(gate.stubborn)
    with running({"a": a, "b": Peer(ready)}) as runtime:
        pending = runtime.submit("q")
        assert a.arrived.acquire(timeout=PATIENCE)
        drain = Draining(runtime, "a", 0.01, remove=True)
        assert pending.result(PATIENCE).backend == "b"
        assert drain.result() == 1
        assert a.closed.is_set()
        gate.open()


def test_two_who_remove_the_same_backend_are_both_answered() -> None:
    """Or the second is told that it is gone."""
    with running({"a": Peer(ready), "b": Peer(ready)}) as runtime:
        answers: list[object] = []

        def remove() -> None:
            try:
                answers.append(runtime.backends.remove("b", PATIENCE))
            except ConfigurationError:
                answers.append("gone")

        removers = [threading.Thread(target=remove, daemon=True) for _ in range(2)]
        for remover in removers:
            remover.start()
        for remover in removers:
            remover.join(PATIENCE)
        assert answers in ([0, 0], [0, "gone"], ["gone", 0])
        assert "b" not in runtime.backends


def test_crashes_lose_no_request() -> None:
    """Whether it was at the seat or on its way."""
    gate = Gate()
    a = Peer(gate.waiting)
    with running({"a": a}) as runtime:
        pendings = [runtime.submit("q", timeout=PATIENCE) for _ in range(10)]
        assert a.arrived.acquire(timeout=PATIENCE)
        runtime.backends.crash("a")
        gate.open()
        assert {pending.result(PATIENCE).content for pending in pendings} == {"hi"}


@pytest.mark.parametrize("timeout", [-1, float("nan"), float("inf"), "1", None, True])
def test_a_wrong_timeout_is_refused(timeout: float) -> None:
    """Before anything is drained."""
    with running({"a": Peer(ready)}) as runtime:
        for call in (runtime.backends.drain, runtime.backends.remove):
            with pytest.raises(ConfigurationError, match="timeout"):
                call("a", timeout)
        assert runtime.ask("q", timeout=PATIENCE).content == "hi"


def test_an_unknown_name_is_refused_with_the_known_ones() -> None:
    """By each of the calls."""
    with running({"a": Peer(ready)}) as runtime:
        for call in (runtime.backends.drain, runtime.backends.remove, runtime.backends.crash):
            with pytest.raises(ConfigurationError, match="known are: a"):
                call("q")


def test_a_drain_that_a_stop_overtakes_is_answered() -> None:
    """Whoever waits for it does not wait for a supervisor that is gone."""
    gate = Gate()
    a = Peer(gate.waiting)
    answers: list[object] = []
    with running({"a": a}) as runtime:
        runtime.submit("q")
        assert a.arrived.acquire(timeout=PATIENCE)

        def drain() -> None:
            try:
                answers.append(runtime.backends.drain("a", 1000))
            except RuntimeStoppedError as error:
                answers.append(error)

        thread = threading.Thread(target=drain, daemon=True)
        thread.start()
        while not runtime.status().backends[0].out_of_service:
            assert thread.is_alive()
        runtime.stop(0.0)
        thread.join(PATIENCE)
        assert not thread.is_alive()
    assert len(answers) == 1


def test_adding_and_removing_under_load_loses_no_request() -> None:
    """Every request is answered or told what it failed of, whatever goes on around it."""
    outcomes: list[str] = []

    def play(attempt: Attempt) -> Iterator[TransportEvent]:
        yield from ready(attempt)

    with running({"a": Peer(play), "b": Peer(play)}, strategy="round_robin") as runtime:

        def ask() -> None:
            for number in range(150):
                try:
                    runtime.ask("q", model=("fast", "extra")[number % 2], timeout=PATIENCE)
                    outcomes.append("answered")
                except ShowcallerError as error:
                    outcomes.append(type(error).__name__)

        callers = [threading.Thread(target=ask, daemon=True) for _ in range(6)]
        for caller in callers:
            caller.start()
        while any(caller.is_alive() for caller in callers):
            peer = Peer(play)
            runtime.backends.add(backend_of("extra"), peer)
            runtime.backends.crash("b")
            assert Draining(runtime, "extra", 1000, remove=True).result() == 0
            assert peer.closed.is_set()
        for caller in callers:
            caller.join(PATIENCE)
    assert len(outcomes) == 900
    assert set(outcomes) <= {"answered", "UnknownModelError", "AllBackendsFailedError"}
    assert outcomes.count("answered") >= 450


def test_a_backend_that_is_added_while_the_runtime_stops_is_closed() -> None:
    """Added or refused, its transport does not stay open."""
    for _ in range(20):
        peer = Peer(ready)
        runtime = Runtime.start(config_of(["a"]), transports={"a": Peer(ready)})

        def add(runtime: Runtime = runtime, peer: Peer = peer) -> None:
            try:
                runtime.backends.add(backend_of("b"), peer)
            except RuntimeStoppedError:
                return

        thread = threading.Thread(target=add, daemon=True)
        thread.start()
        runtime.stop(0.0)
        thread.join(PATIENCE)
        assert not thread.is_alive()
        assert peer.closed.is_set() or "b" not in runtime.backends
        assert peer.closed.wait(PATIENCE) or not peer.attempts
