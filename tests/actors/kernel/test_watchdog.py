"""The watchdog: a step that lasts too long is logged once, with its place and without its content."""

from __future__ import annotations

import logging
import threading

import pytest

from showcaller.actors.kernel.dispatcher import SharedDispatcher
from showcaller.actors.kernel.watchdog import Watchdog

BOUND = 10.0


@pytest.fixture
def watched(shared_host, caplog):
    """A host whose dispatcher is watched by the same clock that it counts by."""
    caplog.set_level(logging.DEBUG)
    shared_host.dispatcher._now = shared_host.clock.now
    watchdog = Watchdog(shared_host.dispatcher, shared_host.clock)
    watchdog.start()
    yield shared_host, watchdog
    watchdog.stop()


def test_a_stuck_step_is_reported_once(watched, caplog):
    """With the actor, the phase, how long, and where; its secrets are not shown."""
    host, watchdog = watched
    entered, release = threading.Event(), threading.Event()

    class Sluggard(host.Player):
        def on_note(self, message):
            secret = message.text
            entered.set()
            assert release.wait(BOUND), secret

    ref = host.spawn(Sluggard)
    host.clock.advance(0.5)
    done = ref.ask(host.Note("CANARY"), block=False)
    assert entered.wait(BOUND)
    host.clock.advance(0.5)
    assert watchdog.stuck is None
    host.clock.advance(1.0)
    assert watchdog.stuck == "showcaller:slot#1 in on_note for 1.5 s"
    host.clock.advance(2.0)
    assert watchdog.stuck == "showcaller:slot#1 in on_note for 3.5 s"
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    text = record.getMessage()
    assert text.startswith("test: stuck: showcaller:slot#1 in on_note for 1.5 s: threading.py:")
    assert "Sluggard.on_note < " in text
    assert " < dispatcher.py:" in text
    assert "CANARY" not in text
    release.set()
    done.get(timeout=BOUND)
    _wait_until_idle(host.dispatcher)
    host.clock.advance(1.0)
    assert watchdog.stuck is None
    assert len(caplog.records) == 1


def _wait_until_idle(dispatcher):
    pause = threading.Event()
    for _ in range(1000):
        if dispatcher.busy_since is None:
            return
        pause.wait(0.01)
    pytest.fail("the dispatcher is still busy")


def test_an_actor_that_does_not_get_through_its_own_death_is_reported(watched):
    """on_failure is a phase of its own."""
    host, watchdog = watched
    entered, release = threading.Event(), threading.Event()

    class Undying(host.Player):
        def on_failure(self, *exc_info):
            entered.set()
            assert release.wait(BOUND)

    host.spawn(Undying).tell(host.Boom(ValueError("x")))
    assert entered.wait(BOUND)
    host.clock.advance(2.0)
    assert watchdog.stuck == "showcaller:slot#1 in on_failure for 2.0 s"
    release.set()


def test_the_next_stuck_step_is_reported_again(watched, caplog):
    """One warning for each step, not one for each actor."""
    host, _ = watched
    ref = host.spawn()
    for count in (1, 2):
        gate = host.Gate(ref)
        host.clock.advance(5.0)
        assert len(caplog.records) == count
        gate.open()
        ref.ask(host.Note(), timeout=BOUND)
        _wait_until_idle(host.dispatcher)


def test_it_can_be_stopped_and_started_again(watched):
    """Twice is once; a tick that was under way does nothing."""
    host, watchdog = watched
    watchdog.start()
    assert len(host.clock.timers) == 1
    tick = watchdog._next
    gate = host.Gate(host.spawn())
    host.clock.advance(5.0)
    assert watchdog.stuck is not None
    watchdog.stop()
    watchdog.stop()
    assert watchdog.stuck is None
    assert host.clock.timers.next_at() is None
    watchdog.tell(tick)
    host.clock.advance(5.0)
    assert watchdog.stuck is None
    watchdog.start()
    host.clock.advance(1.0)
    assert watchdog.stuck is not None
    gate.open()


def test_it_looks_at_a_dispatcher_that_never_ran(clock, caplog):
    """Nothing is stuck where nothing is done."""
    watchdog = Watchdog(SharedDispatcher("unused", clock.now), clock)
    watchdog.start()
    clock.advance(10.0)
    assert watchdog.stuck is None
    assert caplog.records == []
