"""The way of a request through the whole tree, in hand-driven time: to an answer, to an error, or to its cancel."""

from __future__ import annotations

import concurrent.futures

import pytest

from showcaller.actors.enums import Source
from showcaller.actors.errors import BackendCrashedError, DeadlineExceededError
from showcaller.actors.transport import Sent
from tests.tree.stage import HANG, OK, Script, down, failing, stage


def test_an_answer_reaches_its_caller_and_nothing_is_left() -> None:
    """The happy way, with everything given back at the end."""
    s = stage({"a": Script(OK)})
    pending = s.submit()
    s.advance(0.2)
    response = pending.result(0)
    assert (response.content, response.backend, response.attempts) == ("hi", "a", 1)
    assert response.latency == pytest.approx(0.1)
    assert response.source is Source.LIVE
    s.at_rest()


def test_a_failed_attempt_fails_over_to_another_backend_at_once() -> None:
    """No delay is spent when another backend can be tried."""
    s = stage({"a": failing(down()), "b": Script(OK)})
    pending = s.submit()
    s.advance(0.2)
    assert (pending.result(0).backend, pending.result(0).attempts) == ("b", 2)
    s.at_rest()


def test_a_transport_that_raises_is_a_failed_attempt_and_not_the_end_of_its_seat() -> None:
    """A bug in a transport fails over like any other failure."""
    s = stage({"a": Script([Sent(), ValueError("bug")]), "b": Script(OK)})
    pending = s.submit()
    s.advance(1)
    assert pending.result(0).backend == "b"
    s.at_rest()


def test_a_crashed_seat_is_an_error_that_names_the_bug() -> None:
    """A transport that raises leaves a BackendCrashedError."""
    s = stage({"a": Script([Sent(), ValueError("sk-secret-of-nobody")])}, settings={"num_retries": 0})
    pending = s.submit()
    s.advance(1)
    error = pending.exception(0)
    assert isinstance(error, BackendCrashedError)
    assert "ValueError" in str(error)
    assert "sk-secret" not in str(error)


def test_the_deadline_ends_a_request_whose_backend_hangs_and_cancels_the_attempt() -> None:
    """The edge keeps the deadline; the attempt is cancelled with the last who waits."""
    script = Script(HANG)
    s = stage({"a": script})
    pending = s.submit(timeout=3.0)
    s.advance(2.9)
    assert not pending.done()
    s.advance(0.2)
    assert isinstance(pending.exception(0), DeadlineExceededError)
    assert script.attempts[0].cancel.cancelled
    s.wake_cancelled()
    s.at_rest()


def test_a_cancelled_request_is_withdrawn_and_its_attempt_cancelled() -> None:
    """Pending.cancel reaches upstream."""
    script = Script(HANG)
    s = stage({"a": script})
    pending = s.submit()
    s.advance(0.5)
    assert pending.cancel()
    assert pending.cancelled()
    with pytest.raises(concurrent.futures.CancelledError):
        pending.result(0)
    assert script.attempts[0].cancel.cancelled
    s.wake_cancelled()
    s.at_rest()
