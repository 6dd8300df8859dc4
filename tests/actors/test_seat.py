"""A seat: whatever its transport does, the supervisor hears of the attempt exactly once."""

from __future__ import annotations

import contextlib
import logging

import pytest

from showcaller.actors.attempt import AttemptState
from showcaller.actors.cancel import CancelScope
from showcaller.actors.enums import Source
from showcaller.actors.errors import (
    BackendCrashedError,
    MalformedResponseError,
    RequestCancelledError,
    ServerError,
)
from showcaller.actors.transport import Chunk, Done, Failed, Pause, Sent
from tests.actors.seats import House, Plain, Script, done


def test_an_answer_reaches_the_client_and_then_the_supervisor():
    """With everything that the backend said, and the latencies of request and attempt."""
    house = House()
    tick = lambda: setattr(house.clock, "time", house.clock.time + 2.0)  # noqa: E731
    transport = Script(Sent(), tick, done())
    finished = house.finish(transport)
    (outcome,) = house.outcomes
    response = outcome.response
    assert (response.content, response.model, response.backend, response.route) == (
        "Hi",
        "m-1",
        "slot",
        "fast",
    )
    assert (response.source, response.attempts, response.request_id) == (Source.LIVE, 1, "r-1")
    assert (response.latency, response.finish_reason, response.raw) == (12.0, "stop", {"id": "x"})
    assert response.message == {"role": "assistant", "content": "Hi"}
    assert (finished.error, finished.begun, finished.usage.total_tokens) == (None, True, 7)
    assert (finished.content, finished.latency, finished.ended, finished.first_token) == (
        "Hi",
        2.0,
        102.0,
        None,
    )
    assert finished.record.state is AttemptState.ENDED
    assert transport.closed == 1


def test_an_answer_without_text_has_an_empty_one():
    """Tool calls alone are an answer too."""
    house = House()
    finished = house.finish(Script(Sent(), done(None)))
    assert house.outcomes[0].response.content == finished.content == ""


def test_an_answer_in_parts_has_their_text():
    """Whoever checks, records or prints an answer looks at its content; the message is as it was sent."""
    house = House()
    parts = ({"type": "thinking", "thinking": "hm"}, {"type": "text", "text": "Hi"})
    finished = house.finish(Script(Sent(), done([*parts])))
    response = house.outcomes[0].response
    assert response.content == finished.content == "Hi"
    assert response.message["content"] == parts


def test_a_stream_is_handed_over_as_it_comes_and_ends_with_its_answer():
    """The first chunk commits the attempt; its time is noted."""
    house = House(stream=True)
    seen = []
    transport = Script(
        Sent(),
        lambda: setattr(house.clock, "time", 101.5),
        Chunk("a", {"content": "a"}),
        lambda: seen.append((house.read(), house.flight.live[0].state)),
        Chunk("b"),
        done("ab"),
    )
    finished = house.finish(transport)
    assert seen == [(["a"], AttemptState.COMMITTED)]
    assert house.read() == ["b", None]
    assert house.outcomes[0].response.content == "ab"
    assert finished.first_token == 1.5


def test_a_stream_that_answers_without_a_chunk_is_an_answer_too():
    """It commits with its answer."""
    house = House(stream=True)
    house.finish(Script(Sent(), done("whole")))
    assert house.read() == [None]
    assert house.outcomes[0].response.content == "whole"


def test_only_the_first_outcome_of_a_transport_counts():
    """The iterator is closed before it can say more."""
    house = House()
    transport = Script(Sent(), done("one"), done("two"), Failed(ServerError("no")))
    finished = house.finish(transport)
    assert [outcome.response.content for outcome in house.outcomes] == ["one"]
    assert finished.error is None
    assert transport.closed == 1


def test_chunks_that_nobody_asked_for_are_no_harm():
    """A transport may stream for a plain answer."""
    house = House()
    assert house.finish(Script(Sent(), Chunk("a"), done("a"))).error is None
    assert house.outcomes[0].response.content == "a"


# --- failures ---


def test_a_failure_is_reported_and_the_flight_goes_on():
    """What follows is the supervisor's decision."""
    house = House()
    error = ServerError("no", backend="slot", maybe_executed=True)
    finished = house.finish(Script(Sent(), Failed(error)))
    assert finished.error is error
    assert (finished.begun, finished.usage, finished.content) == (True, None, "")
    assert not house.flight.done
    assert house.outcomes == []


@pytest.mark.parametrize("sent", [False, True])
@pytest.mark.parametrize("error", [ValueError("secret"), SystemExit(3), KeyboardInterrupt()])
def test_a_transport_that_raises_has_failed(error, sent, caplog):
    """Whatever it raises; the error names the kind and not the text, and knows whether anything was sent."""
    house = House()
    transport = Script(*([Sent()] if sent else []), error)
    with caplog.at_level(logging.ERROR, "showcaller.seat"):
        if isinstance(error, Exception):
            finished = house.finish(transport)
        else:
            # What ends programs goes on to whoever steps the seat, after the attempt has been told of.
            with pytest.raises(type(error)):
                house.finish(transport)
            finished = house.only
    assert isinstance(finished.error, BackendCrashedError)
    assert type(error).__name__ in finished.error.message
    assert "secret" not in finished.error.message
    assert finished.error.maybe_executed is sent
    assert len(caplog.records) == 1
    assert type(error).__name__ in caplog.text


def test_a_transport_that_raises_one_of_our_errors_has_failed_of_it():
    """It need not be wrapped into an event."""
    house, error = House(), ServerError("no")
    transport = Script(Sent(), error)
    assert house.finish(transport).error is error
    assert transport.closed == 1


def test_a_transport_that_cannot_even_begin_has_failed():
    """Before there is an iterator."""
    house = House()
    assert isinstance(house.finish(Plain(error=OSError("no"))).error, BackendCrashedError)


@pytest.mark.parametrize("events", [[], [Sent()], [Sent(), Chunk("a")]])
def test_a_transport_without_an_outcome_has_failed(events):
    """It ends, and has said neither Done nor Failed."""
    house = House()
    finished = house.finish(Plain(events))
    assert isinstance(finished.error, MalformedResponseError)
    assert finished.error.maybe_executed is bool(events)


def test_an_answer_that_is_none_has_failed():
    """The flight stays open, so that another attempt may answer."""
    house = House()
    finished = house.finish(Script(Sent(), done(model=object(), message=7)))
    assert isinstance(finished.error, BackendCrashedError)
    assert not house.flight.done


@pytest.mark.parametrize("end", [done(), Failed(ServerError("no")), RuntimeError("bug")])
def test_a_transport_that_cannot_be_closed_changes_no_outcome(end, caplog):
    """The supervisor hears of the attempt all the same, once, and with its true end."""
    house = House()
    with caplog.at_level(logging.ERROR, "showcaller.seat"):
        finished = house.finish(Script(Sent(), Chunk("a"), end, on_close=OSError("close")))
    if isinstance(end, Done):
        assert finished.error is None
        assert house.outcomes[0].ok
    elif isinstance(end, Failed):
        assert finished.error is end.error
    else:
        assert isinstance(finished.error, BackendCrashedError)
    assert "OSError: close" in caplog.text


def test_a_log_handler_that_raises_hides_no_outcome():
    """The host's handlers run on this thread; the supervisor is told first."""
    house = House()

    class Broken(logging.Handler):
        def emit(self, record):
            raise ValueError("handler")

    logger, handler = logging.getLogger("showcaller.seat"), Broken()
    logger.addHandler(handler)
    try:
        with contextlib.suppress(ValueError):
            house.finish(Script(Sent(), ZeroDivisionError()))
    finally:
        logger.removeHandler(handler)
    assert isinstance(house.only.error, BackendCrashedError)


# --- what is not wanted ---


@pytest.mark.parametrize("how", ["revoked", "done", "reserving"])
def test_what_may_not_be_claimed_is_not_begun(how):
    """The transport is not touched, and nothing is to be paid."""
    house, transport = House(), Script(Sent(), done())
    seat = house.seat(transport, dispatched=how != "reserving")
    if how == "revoked":
        house.flight.revoke(seat.record)
    elif how == "done":
        house.flight.fail(ServerError("no"))
    assert seat.step() is None
    assert (house.only.begun, house.only.error, house.only.usage) == (False, None, None)
    assert transport.begun == 0


def test_a_late_answer_is_paid_for_and_changes_nothing():
    """The client has its outcome; the tokens are reported."""
    house = House()
    transport = Script(Sent(), lambda: house.flight.fail(ServerError("deadline")), done())
    finished = house.finish(transport)
    assert [outcome.ok for outcome in house.outcomes] == [False]
    assert (finished.error, finished.usage.total_tokens) == (None, 7)


@pytest.mark.parametrize("event", [Chunk("late"), done("late")])
def test_a_stream_that_was_taken_back_hands_nothing_over(event):
    """It was sent, and so it may have been executed: that is what it is charged for."""
    house = House(stream=True)
    seat = house.seat(Script(Sent(), lambda: house.flight.revoke(seat.record), event, done("later")))
    assert seat.step() is None
    assert isinstance(house.only.error, RequestCancelledError)
    assert house.only.error.maybe_executed
    assert not house.flight.done
    assert house.read() == []
    assert house.outcomes == []


def test_the_loser_of_two_attempts_does_not_end_the_flight():
    """Also in the moment when it has lost already and is not cancelled yet."""
    house = House(stream=True)

    class Late(CancelScope):
        """The loser goes on before its flag is set."""

        def cancel(self):
            loser.step()
            super().cancel()

    loser = house.seat(Script(Sent(), Pause(1.0), Chunk("lost"), done("lost")), scope=Late())
    winner = house.seat(Script(Sent(), Chunk("won"), done("won")))
    assert loser.step() == 1.0
    assert winner.step() is None
    assert [type(finished.error) for finished in house.told] == [RequestCancelledError, type(None)]
    assert house.read() == ["won", None]
    assert house.outcomes[0].response.content == "won"


def test_a_transport_that_gives_up_on_its_own_ends_the_request():
    """Nobody cancelled it: the request would wait for ever otherwise."""
    house = House()
    house.finish(Script(Sent(), Failed(RequestCancelledError("transport gave up"))))
    assert [type(outcome.error) for outcome in house.outcomes] == [RequestCancelledError]
