"""The caller's own functions run on callback threads: never on the shared thread, never on a seat's."""

from __future__ import annotations

import logging
import threading

import pytest

from showcaller.actors.errors import RuntimeStoppedError
from showcaller.actors.models import Outcome
from tests.runtime.live import PATIENCE, Gate, Outcomes, Peer, ready, running


def test_every_callback_runs_on_a_callback_thread() -> None:
    """Whether it is added before or after the outcome."""
    gate = Gate()
    names: list[str] = []
    ran = threading.Semaphore(0)

    def note(_pending: object) -> None:
        names.append(threading.current_thread().name)
        ran.release()

    outcomes = Outcomes()
    with running({"a": Peer(gate.waiting)}) as runtime:
        pending = runtime.submit("q", timeout=PATIENCE)
        pending.add_done_callback(note)
        runtime.tell("q", on_outcome=outcomes, timeout=PATIENCE)
        gate.open()
        outcomes.wait(1)
        assert ran.acquire(timeout=PATIENCE)
        pending.add_done_callback(note)
        assert ran.acquire(timeout=PATIENCE)
    assert all(name.startswith("showcaller-callbacks") for name in [*names, *outcomes.threads])
    assert len(names) == 2


def test_a_callback_that_blocks_delays_no_other_request() -> None:
    """Nor the other callbacks."""
    release = threading.Event()
    inside = threading.Event()

    def block(_outcome: Outcome) -> None:
        inside.set()
        assert release.wait(PATIENCE)

    outcomes = Outcomes()
    with running({"a": Peer(ready)}) as runtime:
        try:
            runtime.tell("q", on_outcome=block)
            assert inside.wait(PATIENCE)
            for _ in range(20):
                assert runtime.ask("q", timeout=PATIENCE).content == "hi"
            runtime.tell("q", on_outcome=outcomes)
            outcomes.wait(1)
            assert not release.is_set()
        finally:
            release.set()


def test_a_callback_may_wait_ask_stream_and_cancel() -> None:
    """A callback thread is the caller's own as far as waiting goes."""
    answers: list[str] = []
    finished = threading.Event()
    gate = Gate()
    with running({"a": Peer(ready), "held": Peer(gate.waiting)}) as runtime:

        def again(outcome: Outcome) -> None:
            try:
                answers.append(outcome.unwrap().content)
                answers.append(runtime.ask("q", timeout=PATIENCE).content)
                answers.append(runtime.submit("q", timeout=PATIENCE).result(PATIENCE).content)
                with runtime.stream("q", timeout=PATIENCE) as stream:
                    answers.extend(chunk.text for chunk in stream)
                held = runtime.submit("q", model="held")
                assert runtime.cancel(held.request_id)
                assert not runtime.cancel(held.request_id)
                runtime.status()
            finally:
                finished.set()

        runtime.tell("q", on_outcome=again)
        assert finished.wait(PATIENCE)
    assert answers == ["hi", "hi", "hi", "a", "b", "c"]


@pytest.mark.parametrize("error", [ValueError, SystemExit, KeyboardInterrupt])
def test_a_callback_that_raises_is_logged_and_hurts_nobody(
    error: type[BaseException], caplog: pytest.LogCaptureFixture
) -> None:
    """Even what would end a thread."""
    outcomes = Outcomes()

    def fail(_outcome: Outcome) -> None:
        raise error

    with caplog.at_level(logging.ERROR, "showcaller"), running({"a": Peer(ready)}) as runtime:
        for _ in range(10):
            runtime.tell("q", on_outcome=fail)
        runtime.tell("q", on_outcome=outcomes)
        outcomes.wait(1)
        assert runtime.ask("q", timeout=PATIENCE).content == "hi"
    assert len([record for record in caplog.records if record.levelno == logging.ERROR]) == 10


def test_a_stop_lets_the_callbacks_of_its_own_errors_run() -> None:
    """A request that the stop ended still reports it."""
    gate = Gate()
    outcomes = Outcomes()
    with running({"a": Peer(gate.waiting)}) as runtime:
        for _ in range(10):
            runtime.tell("q", on_outcome=outcomes)
        runtime.stop(0.0)
        seen = outcomes.wait(10)
    assert {type(outcome.error) for outcome in seen} == {RuntimeStoppedError}


def test_a_callback_added_after_the_stop_still_runs() -> None:
    """asyncio.wrap_future and others wait for nothing else."""
    ran = threading.Event()
    with running({"a": Peer(ready)}) as runtime:
        pending = runtime.submit("q")
        pending.result(PATIENCE)
    pending.add_done_callback(lambda _pending: ran.set())
    assert ran.wait(PATIENCE)
