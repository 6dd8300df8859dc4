"""What follows when an actor crashes too often: its owner is told, it is tried again, and somebody may reset it."""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable, Iterator

import pytest

from showcaller.actors.errors import ConfigurationError, ShowcallerError
from showcaller.actors.escalation import Escalation
from showcaller.actors.kernel.restart import RestartIntensity
from showcaller.actors.messages import Provoke
from showcaller.runtime import tree
from showcaller.runtime.runtime import Runtime
from tests.runtime.live import PATIENCE, Peer, config_of, our_threads, ready

Start = Callable[..., Runtime]


@pytest.fixture
def told() -> queue.Queue[tuple[str, Escalation]]:
    """What on_failed was called with, and on which thread."""
    return queue.Queue()


@pytest.fixture
def start(monkeypatch: pytest.MonkeyPatch, told: queue.Queue[tuple[str, Escalation]]) -> Iterator[Start]:
    """A runtime with two backends, in which one crash is one too many."""
    monkeypatch.setattr(tree, "RestartIntensity", lambda: RestartIntensity(max_restarts=0))
    started: list[Runtime] = []

    def on_failed(escalation: Escalation) -> None:
        told.put((threading.current_thread().name, escalation))

    def begin(on_failed: Callable[[Escalation], object] | None = on_failed) -> Runtime:
        started.append(
            Runtime.start(
                config_of(["a", "b"], settings={"control": False}),
                transports={"a": Peer(ready), "b": Peer(ready)},
                on_failed=on_failed,
            )
        )
        return started[0]

    before = our_threads()
    yield begin
    for runtime in started:
        runtime.stop(0.0)
    assert our_threads() <= before


def test_the_owner_is_told_once_on_a_thread_of_its_own(
    start: Start, told: queue.Queue[tuple[str, Escalation]]
) -> None:
    """With what was given up, why, and when it is tried again."""
    runtime = start()
    runtime.backends.crash("a")
    thread, escalation = told.get(timeout=PATIENCE)
    assert thread.startswith("showcaller-callbacks")
    assert (escalation.actor, escalation.is_backend, escalation.restarts) == ("a", True, 0)
    assert escalation.cause.startswith("DrillError in on_provoke")
    assert escalation.retry_after == 300.0
    assert escalation.at > 1.6e9
    assert runtime.ask("q", timeout=PATIENCE).backend == "b"
    assert told.empty()


def test_a_reset_puts_it_back_to_work_at_once(
    start: Start, told: queue.Queue[tuple[str, Escalation]]
) -> None:
    """The status says until when it would have waited, and after it that it works."""
    runtime = start()
    runtime.backends.crash("a")
    told.get(timeout=PATIENCE)
    failed = runtime.status().backends[0]
    assert failed.actor.state == "failed"
    assert failed.actor.next_start_in is not None
    assert 0 < failed.actor.next_start_in <= 300.0
    with pytest.raises(ShowcallerError, match="crashed too often"):
        runtime.ask("q", model="a", timeout=PATIENCE)
    runtime.backends.reset("a")
    well = runtime.status().backends[0]
    assert (well.actor.state, well.actor.restarts, well.actor.next_start_in) == ("running", 1, None)
    assert runtime.ask("q", model="a", timeout=PATIENCE).backend == "a"


def test_a_reset_of_what_is_well_changes_nothing(start: Start) -> None:
    """And of what is not there is refused by name."""
    runtime = start()
    runtime.backends.reset("a")
    assert runtime.status().backends[0].actor.restarts == 0
    with pytest.raises(ConfigurationError, match="no backend 'q'; known are: a, b"):
        runtime.backends.reset("q")


def test_an_observer_is_reported_too(start: Start, told: queue.Queue[tuple[str, Escalation]]) -> None:
    """It is none of the backends, and requests go on."""
    runtime = start()
    runtime._tree.address("recorder").tell(Provoke("x"))
    _, escalation = told.get(timeout=PATIENCE)
    assert (escalation.actor, escalation.is_backend, escalation.retry_after) == ("recorder", False, 300.0)
    assert runtime.ask("q", timeout=PATIENCE).content == "hi"


def test_what_the_runtime_cannot_go_on_without_is_not_tried_again(
    start: Start, told: queue.Queue[tuple[str, Escalation]]
) -> None:
    """The owner is told, although the runtime accepts nothing more."""
    runtime = start()
    runtime._tree.address("quota_manager").tell(Provoke("x"))
    _, escalation = told.get(timeout=PATIENCE)
    assert (escalation.actor, escalation.retry_after) == ("quota_manager", None)


def test_a_callback_that_raises_is_logged_and_harms_nobody(
    start: Start, caplog: pytest.LogCaptureFixture
) -> None:
    """It runs on a thread of its own."""
    called = threading.Event()

    def on_failed(escalation: Escalation) -> None:
        called.set()
        raise ValueError("CANARY")

    with caplog.at_level(logging.ERROR):
        runtime = start(on_failed)
        runtime.backends.crash("a")
        assert called.wait(PATIENCE)
        assert runtime.ask("q", timeout=PATIENCE).backend == "b"
        runtime.stop()
    assert "a callback raised" in caplog.text


def test_without_a_thread_it_is_not_called_and_the_log_says_so(
    start: Start,
    told: queue.Queue[tuple[str, Escalation]],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The shared thread calls nothing of the user's."""

    def run(job: object) -> None:
        raise RuntimeError("can't start new thread")

    runtime = start()
    monkeypatch.setattr(runtime._engine.machine.callbacks, "run", run)
    runtime.backends.crash("a")
    while runtime.status().backends[0].actor.state == "running":
        assert runtime.ask("q", model="b", timeout=PATIENCE).backend == "b"
    assert runtime.ask("q", timeout=PATIENCE).backend == "b"
    assert "no thread for on_failed" in caplog.text
    assert told.empty()


def test_without_a_callback_it_is_only_logged(start: Start, caplog: pytest.LogCaptureFixture) -> None:
    """As ever."""
    runtime = start(None)
    runtime.backends.crash("a")
    assert runtime.ask("q", timeout=PATIENCE).backend in "ab"
    runtime.backends.reset("a")
    assert "a died too often, is FAILED for 300 s" in caplog.text
