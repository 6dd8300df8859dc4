"""Stopping: with a deadline, twice, from anywhere, and whatever hangs or raises."""

from __future__ import annotations

import functools
import signal
import threading
from collections.abc import Iterator

import pytest

from showcaller.actors.errors import ConfigurationError, RuntimeStoppedError
from showcaller.actors.messages import Provoke
from showcaller.actors.models import Outcome
from showcaller.actors.transport import Attempt, TransportEvent
from showcaller.runtime.runtime import Runtime
from tests.runtime.live import (
    PATIENCE,
    Gate,
    Outcomes,
    Peer,
    answer,
    backend_of,
    config_of,
    our_threads,
    ready,
    running,
)


def in_thread(function: object) -> threading.Thread:
    """A thread of the test's own that has begun."""
    thread = threading.Thread(target=function, daemon=True)  # type: ignore[arg-type]
    thread.start()
    return thread


def joined(thread: threading.Thread) -> bool:
    """Has it ended, after a while?"""
    thread.join(PATIENCE)
    return not thread.is_alive()


def await_refusal(runtime: Runtime) -> None:
    """Ask until the door is closed; the test's own timeout bounds it."""
    while True:
        try:
            runtime.submit("q").cancel()
        except RuntimeStoppedError:
            return


def test_a_stop_gives_open_requests_their_time() -> None:
    """What is answered within it is answered; what is new is refused meanwhile."""
    gate = Gate()
    peer = Peer(gate.waiting)
    with running({"a": peer}) as runtime:
        pending = runtime.submit("q")
        assert peer.arrived.acquire(timeout=PATIENCE)
        stopping = in_thread(lambda: runtime.stop(PATIENCE))
        await_refusal(runtime)
        gate.open()
        assert pending.result(PATIENCE).content == "hi"
        assert joined(stopping)
        assert peer.closed.is_set()


def test_a_stop_whose_time_is_over_fails_what_is_open_and_cancels_it() -> None:
    """Queued requests too."""
    gate = Gate()
    peer = Peer(gate.waiting)
    with running({"a": peer}, max_parallel_requests=1) as runtime:
        pendings = [runtime.submit("q") for _ in range(5)]
        assert peer.arrived.acquire(timeout=PATIENCE)
        runtime.stop(0.01)
        for pending in pendings:
            with pytest.raises(RuntimeStoppedError):
                pending.result(0)
        assert gate.cancelled.is_set()
    assert len(peer.attempts) == 1


def test_a_stop_without_a_time_takes_the_configured_one() -> None:
    """`stop_timeout`."""
    gate = Gate()
    with running({"a": Peer(gate.waiting)}, settings={"stop_timeout": 0}) as runtime:
        pending = runtime.submit("q")
        runtime.stop()
        assert isinstance(pending.exception(0), RuntimeStoppedError)


def test_stops_from_many_threads_return_when_it_is_done() -> None:
    """Twice is once."""
    with running({"a": Peer(ready)}) as runtime:
        runtime.ask("q", timeout=PATIENCE)
        stoppers = [in_thread(runtime.stop) for _ in range(8)]
        assert all(joined(stopper) for stopper in stoppers)
        assert not our_threads()
        runtime.stop()


def test_the_stop_that_gives_the_least_time_decides() -> None:
    """An impatient one does not wait for a patient one."""
    gate = Gate()
    peer = Peer(gate.waiting)
    with running({"a": peer}) as runtime:
        pending = runtime.submit("q", timeout=1000)
        assert peer.arrived.acquire(timeout=PATIENCE)
        patient = in_thread(lambda: runtime.stop(float("inf")))
        await_refusal(runtime)
        assert not pending.done()
        runtime.stop(0.0)
        assert joined(patient)
        assert isinstance(pending.exception(0), RuntimeStoppedError)


def test_a_stop_from_a_callback_works() -> None:
    """Though it runs on a thread that the stop itself waits for."""
    stopped = threading.Event()
    with running({"a": Peer(ready)}) as runtime:

        def stop(_outcome: Outcome) -> None:
            runtime.stop()
            stopped.set()

        runtime.tell("q", on_outcome=stop)
        assert stopped.wait(PATIENCE)
        with pytest.raises(RuntimeStoppedError):
            runtime.ask("q")


def test_a_signal_handler_may_stop_what_its_own_thread_is_stopping() -> None:
    """SIGTERM comes while the main thread is already inside stop()."""
    gate = Gate()
    peer = Peer(gate.waiting)
    with running({"a": peer}) as runtime:
        before = signal.signal(signal.SIGALRM, lambda *_: runtime.stop(0.0))
        try:
            pending = runtime.submit("q", timeout=1000)
            assert peer.arrived.acquire(timeout=PATIENCE)
            signal.setitimer(signal.ITIMER_REAL, 0.05)
            runtime.stop(1000)
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)
        assert isinstance(pending.exception(0), RuntimeStoppedError)


def test_leaving_the_block_by_an_exception_stops_at_once() -> None:
    """Open requests get no time then, and the exception goes on."""
    gate = Gate()
    peer = Peer(gate.waiting)
    pendings = []

    def leave() -> None:
        with Runtime.start(config_of(["a"]), transports={"a": peer}) as runtime:
            pendings.append(runtime.submit("q", timeout=1000))
            assert peer.arrived.acquire(timeout=PATIENCE)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        leave()
    assert isinstance(pendings[0].exception(0), RuntimeStoppedError)
    assert peer.closed.is_set()


def test_a_transport_that_hangs_does_not_hold_up_the_stop() -> None:
    """It ignores its cancel; its thread is left behind, and named in the log."""
    gate = Gate()
    peer = Peer(gate.stubborn)
    runtime = Runtime.start(config_of(["a"]), transports={"a": peer})
    pending = runtime.submit("q", timeout=1000)
    assert peer.arrived.acquire(timeout=PATIENCE)
    stopping = in_thread(lambda: runtime.stop(0.0))
    assert joined(stopping)
    assert isinstance(pending.exception(0), RuntimeStoppedError)
    (left,) = our_threads()
    gate.open()
    assert joined(left)
    assert runtime.status().account.failed == 1


class Awkward(Peer):
    """A transport whose close misbehaves."""

    def __init__(self, gate: threading.Event | None) -> None:
        super().__init__(ready)
        self.gate = gate

    def close(self) -> None:
        super().close()
        if self.gate is None:
            raise OSError("cannot close")
        assert self.gate.wait(PATIENCE)


@pytest.mark.parametrize("hangs", [False, True])
def test_a_transport_whose_close_misbehaves_spoils_nothing_else(hangs: bool) -> None:
    """The others are closed and every other thread ends."""
    gate = threading.Event() if hangs else None
    awkward = [Awkward(gate) for _ in range(3)]
    last = Peer(ready)
    peers = {"a": awkward[0], "b": awkward[1], "c": awkward[2], "d": last}
    runtime = Runtime.start(config_of(list(peers)), transports=peers)
    assert runtime.ask("q", timeout=PATIENCE).content == "hi"
    stopping = in_thread(lambda: runtime.stop(0.0))
    assert joined(stopping)
    assert all(peer.closed.is_set() for peer in peers.values())
    left = our_threads()
    assert all("closing" in thread.name for thread in left)
    assert len(left) == (3 if hangs else 0)
    if gate is not None:
        gate.set()
    assert all(joined(thread) for thread in left)


def test_two_runtimes_of_one_process_are_independent() -> None:
    """The stop of one changes nothing for the other."""
    with running({"a": Peer(ready)}) as one:
        assert one.ask("q", timeout=PATIENCE).content == "hi"
        with running({"a": Peer(ready)}) as other:
            assert other.ask("q", timeout=PATIENCE).content == "hi"
            assert one.ask("q", timeout=PATIENCE).content == "hi"
        assert one.ask("q", timeout=PATIENCE).content == "hi"
        assert one.status().account.accepted == 3


def test_a_start_that_fails_leaves_nothing_behind() -> None:
    """What was made for it is closed."""
    given, before = Peer(ready), our_threads()
    config = config_of(["a", "b"])
    broken = [backend_of("a"), backend_of("b", headers={"X-A": "\u20ac"})]
    with pytest.raises(ConfigurationError):
        Runtime.start(type(config)(backends=broken), transports={"a": given})
    assert given.closed.is_set()
    assert our_threads() <= before


def test_a_stop_right_after_the_start_is_orderly() -> None:
    """Before the tree stands, with requests already on their way."""
    for _ in range(20):
        outcomes = Outcomes()
        with running({"a": Peer(ready)}) as runtime:
            runtime.tell("q", on_outcome=outcomes)
            runtime.stop(0.0)
            outcomes.wait(1)


def test_a_guardian_that_dies_stops_the_runtime_with_a_reason() -> None:
    """Open requests are told, new ones are refused, and the stop still frees everything."""
    gate = Gate()
    peer = Peer(gate.waiting)
    with running({"a": peer}) as runtime:
        pending = runtime.submit("q", timeout=1000)
        assert peer.arrived.acquire(timeout=PATIENCE)
        assert runtime._tree.guardian is not None
        runtime._tree.guardian.tell(Provoke("a drill"))
        error = pending.exception(PATIENCE)
        assert isinstance(error, RuntimeStoppedError)
        assert "guardian" in str(error)
        with pytest.raises(RuntimeStoppedError, match="guardian"):
            runtime.ask("q")
        with pytest.raises(RuntimeStoppedError, match="guardian"):
            runtime.backends.drain("a")
    assert peer.closed.is_set()


def ask_often(runtime: Runtime, outcomes: list[str]) -> None:
    """A hundred asks, and what came of each."""
    for _ in range(100):
        try:
            runtime.ask("q", timeout=PATIENCE)
            outcomes.append("answered")
        except RuntimeStoppedError:
            outcomes.append("stopped")


@pytest.mark.parametrize("answered", [1, 50, 500])
def test_a_stop_in_the_middle_of_a_thousand_requests_gives_each_one_outcome(answered: int) -> None:
    """Whoever asks while it stops is answered or refused, and never left waiting."""
    outcomes: list[str] = []
    with running({"a": Peer(ready), "b": Peer(ready)}) as runtime:
        callers = [in_thread(functools.partial(ask_often, runtime, outcomes)) for _ in range(10)]
        while len(outcomes) < answered:
            assert any(caller.is_alive() for caller in callers)
        runtime.stop(0.0)
        assert all(joined(caller) for caller in callers)
    assert len(outcomes) == 1000
    assert outcomes.count("answered") >= answered


def test_a_stop_waits_for_the_report_of_an_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """The caller has it before its seat is free; what it has cost and said is not lost by a stop in between."""
    stopping = threading.Event()

    def slow_to_close(_attempt: Attempt) -> Iterator[TransportEvent]:
        try:
            yield answer()
        finally:
            stopping.wait(PATIENCE)

    with running({"a": Peer(slow_to_close)}) as runtime:
        workers = runtime._tree.roster.slots["a"].workers
        close = workers.close
        monkeypatch.setattr(workers, "close", lambda: (stopping.set(), close()))
        runtime.ask("q", timeout=PATIENCE)
        assert runtime.recorder.get_recordings() == []
    assert [recording.response for recording in runtime.recorder.get_recordings()] == ["hi"]
