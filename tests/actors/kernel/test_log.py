"""Log handlers are the host's code: what one raises ends no actor, no thread and no deadline of ours."""

from __future__ import annotations

import logging
import threading

import pytest

from showcaller.actors.kernel.clock import SystemClock
from showcaller.actors.kernel.log import log
from showcaller.actors.kernel.workers import ThreadWorkers

BOUND = 10.0


@pytest.fixture
def bad_handler():
    """A handler of the host that raises for each record of ours, and keeps it."""
    records = []

    class Bad(logging.Handler):
        def emit(self, record):
            records.append(record)
            raise OSError("disk full")

    logger, handler = logging.getLogger("showcaller.kernel"), Bad()
    level = logger.level
    logger.setLevel(logging.DEBUG)
    logger.addHandler(handler)
    yield records
    logger.removeHandler(handler)
    logger.setLevel(level)


def test_a_record_names_the_place_that_logged_it(bad_handler):
    """And not the place that guards it."""
    log.warning("%s", "text")
    (record,) = bad_handler
    assert (record.getMessage(), record.filename) == ("text", "test_log.py")
    assert record.name == "showcaller.kernel"


def test_a_crash_is_still_a_down_and_the_thread_goes_on(host, bad_handler):
    """As is the refusal of an unknown message."""
    ref = host.spawn()
    ref.tell(host.Unheard())
    ref.tell(host.Boom(ValueError("x")))
    down = host.parent.wait()[0]
    assert down.crash.phase == "on_boom"
    assert host.spawn(slot="next").ask(host.Note("alive"), timeout=BOUND) == "alive"
    host.close()
    assert len(bad_handler) == 2


def test_the_clock_goes_on(keeper, bad_handler):
    """Its timers are everybody's deadlines."""
    clock = SystemClock()

    class Bad:
        def __init__(self, error):
            self.error = error

        def tell(self, message):
            raise self.error

    clock.call_later(0.0, Bad(ValueError()), "x")
    clock.call_later(0.0, Bad(SystemExit()), "x")
    clock.call_later(0.001, keeper, "next")
    assert keeper.wait() == ["next"]
    assert len(bad_handler) == 2
    assert clock.stop(BOUND)


def test_the_workers_go_on(bad_handler):
    """The thread of a raising job takes the next one."""
    workers, done = ThreadWorkers("pool", 1), threading.Event()

    class Job:
        def __init__(self, step):
            self.step = step

    def fail():
        raise ValueError

    workers.run(Job(fail))
    workers.run(Job(done.set))
    assert done.wait(BOUND)
    workers.close()
    assert workers.join(BOUND) == 0
    assert len(bad_handler) == 1
