"""A seat: whatever its transport does, the supervisor hears of the attempt exactly once."""

from __future__ import annotations

import contextlib
import logging
import threading

import pytest

from showcaller.actors.attempt import AttemptState
from showcaller.actors.backend_config import Timeouts
from showcaller.actors.cancel import CancelScope
from showcaller.actors.enums import RequestPriority, Source
from showcaller.actors.errors import (
    BackendCrashedError,
    BackendTimeoutError,
    MalformedResponseError,
    RequestCancelledError,
    ServerError,
)
from showcaller.actors.flight import Flight
from showcaller.actors.kernel.clock import TimerHeap
from showcaller.actors.models import ChatRequest, Usage
from showcaller.actors.seat import STALL_POLL, Seat
from showcaller.actors.stream_buffer import ROOM
from showcaller.actors.ticket import Ticket
from showcaller.actors.transport import Attempt, Chunk, Done, Failed, Pause, Sent

BOUND = 10.0
READER_TIMEOUT = 7.0


class HandClock:
    """Time that stands still until a test moves it."""

    def __init__(self):
        self.time = 100.0
        self.timers = TimerHeap()

    def now(self):
        return self.time

    def wall(self):
        return self.time

    def call_later(self, delay, recipient, message):
        return self.timers.push(self.time + delay, recipient, message)


class Script:
    """A transport that plays a list: events are yielded, errors raised, functions called."""

    def __init__(self, *steps, on_close=None):
        self.steps = steps
        self.on_close = on_close
        self.begun = self.closed = 0

    def attempt(self, attempt):
        self.begun += 1
        try:
            for step in self.steps:
                if isinstance(step, BaseException):
                    raise step
                if callable(step):
                    step()
                else:
                    yield step
        finally:
            self.closed += 1
            if self.on_close is not None:
                raise self.on_close

    def close(self):
        """Nothing is held."""


class Plain:
    """A transport whose iterator cannot be closed, or that raises before there is one."""

    def __init__(self, events=(), error=None):
        self.events, self.error = events, error

    def attempt(self, attempt):
        if self.error is not None:
            raise self.error
        return iter(self.events)

    def close(self):
        """Nothing is held."""


def done(content="Hi", **changed):
    fields = {
        "message": {"role": "assistant", "content": content},
        "finish_reason": "stop",
        "usage": Usage(input_tokens=3, output_tokens=4),
        "model": "m-1",
        "raw": {"id": "x"},
    } | changed
    return Done(**fields)


class House:
    """One flight with its client, and everything that a seat needs."""

    def __init__(self, *, stream=False, scope=None):
        self.clock = HandClock()
        self.told = []
        self.outcomes = []
        self.landed = []
        self.ticket = Ticket(
            "r-1",
            priority=RequestPriority.NORMAL,
            created=90.0,
            deadline=200.0,
            deliver=self.outcomes.append,
        )
        self.flight = Flight(
            self.ticket,
            ChatRequest("Hello"),
            order=1,
            lane="fast",
            key=b"key",
            stream=stream,
            on_done=self.landed.append,
        )
        self.scope = scope

    def tell(self, message):
        self.told.append(message)

    def seat(self, transport, *, dispatched=True, scope=None):
        record = self.flight.next_attempt("slot", generation=1, epoch=1, tokens=9, deadline=150.0)
        if scope is not None:
            record.scope = scope
        if dispatched:
            assert self.flight.dispatched(record, 150.0)
        attempt = Attempt(
            request_id=self.flight.id,
            number=record.number,
            backend="slot",
            payload=self.flight.request.payload,
            stream=self.flight.stream is not None,
            deadline=150.0,
            timeout=Timeouts(),
            cancel=record.scope,
        )
        return Seat(
            record,
            attempt,
            transport,
            clock=self.clock,
            supervisor=self,
            reader_timeout=READER_TIMEOUT,
        )

    def finish(self, transport, **options):
        """Step a seat to its end; what the supervisor was told."""
        seat = self.seat(transport, **options)
        while seat.step() is not None:
            pass
        return self.only

    @property
    def only(self):
        (finished,) = self.told
        return finished

    def read(self):
        texts = []
        while self.ticket.reader.ready:
            chunk = self.ticket.take_chunk(0.0)
            texts.append(None if chunk is None else chunk.text)
            if chunk is None:
                break
        return texts


# --- answers ---


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


# --- pauses and readers ---


def test_a_pause_is_passed_on_and_the_attempt_goes_on_after_it():
    """A script spends virtual time that way."""
    house = House()
    seat = house.seat(Script(Sent(), Pause(3.0), Pause(4.0), done()))
    assert [seat.step(), seat.step(), seat.step()] == [3.0, 4.0, None]
    assert house.outcomes[0].ok
    assert len(house.told) == 1


def test_a_pause_on_a_thread_ends_with_a_cancel():
    """Long before its time."""
    house = House()
    seat = house.seat(Script(Pause(1.0)))
    assert seat.step() == 1.0
    house.flight.revoke(seat.record)
    thread = threading.Thread(target=seat.wait, args=(BOUND * 10,))
    thread.start()
    thread.join(BOUND)
    assert not thread.is_alive()


def fill_up(house, *after):
    """A seat whose stream is full and that holds one chunk more."""
    seat = house.seat(Script(Sent(), *[Chunk(f"{n};") for n in range(ROOM + 1)], *after))
    assert seat.step() == STALL_POLL
    return seat


def test_a_full_stream_stops_the_reading_and_loses_nothing():
    """The chunk that had no room comes first when there is some."""
    house = House(stream=True)
    seat = fill_up(house, done("all"))
    assert seat.step() == STALL_POLL
    assert house.told == []
    assert house.read() == [f"{n};" for n in range(ROOM)]
    assert seat.step() is None
    assert house.read() == [f"{ROOM};", None]
    assert house.only.error is None


def test_a_reader_that_stalls_too_long_is_cancelled():
    """After reader_timeout and not before; the attempt is charged, and its backend not blamed."""
    house = House(stream=True)
    seat = fill_up(house, done("all"))
    house.clock.time += READER_TIMEOUT - 0.001
    assert seat.step() == STALL_POLL
    house.clock.time += 0.001
    assert seat.step() is None
    error = house.only.error
    assert isinstance(error, RequestCancelledError)
    assert "reader_timeout" in error.message
    assert error.maybe_executed
    assert not error.blames_backend
    assert house.landed == [house.flight]
    assert [type(outcome.error) for outcome in house.outcomes] == [RequestCancelledError]


def test_a_reader_that_stalls_until_the_attempt_has_no_time_left_is_cancelled():
    """Its seat is not given up as one that hangs, nor its backend blamed."""
    house = House(stream=True)
    seat = fill_up(house, done("all"))
    house.clock.time = 150.0
    assert seat.step() is None
    assert isinstance(house.only.error, RequestCancelledError)
    assert "timeout.total" in house.only.error.message


@pytest.mark.parametrize("read_at", [105.0, 100.0])
def test_a_timeout_is_the_readers_when_the_reader_took_the_time(read_at):
    """The backend is blamed only for what it took itself."""
    house = House(stream=True)
    house.clock.time = 100.0
    late = Failed(BackendTimeoutError("total"))
    seat = fill_up(house, Pause(1.0), late)
    house.clock.time = read_at
    house.read()
    assert seat.step() == 1.0
    house.clock.time = 150.0
    assert seat.step() is None
    assert isinstance(house.only.error, RequestCancelledError if read_at > 100.0 else BackendTimeoutError)


def test_a_reader_that_reads_now_and_then_is_not_cancelled():
    """The time counts from the last chunk that found no room."""
    house = House(stream=True)
    seat = fill_up(house, *[Chunk("x")] * 2, done("all"))
    for _ in range(2):
        house.clock.time += READER_TIMEOUT - 1
        assert house.ticket.take_chunk(0.0) is not None
        assert seat.step() == STALL_POLL
    assert house.told == []


def test_a_seat_that_waits_for_a_reader_is_woken_by_room_and_by_the_end():
    """It does not sleep through either."""
    for event in ("read", "end"):
        house = House(stream=True)
        seat = fill_up(house, done("all"))
        thread = threading.Thread(target=seat.wait, args=(BOUND * 10,))
        thread.start()
        if event == "read":
            house.read()
        else:
            house.flight.fail(ServerError("no"))
        thread.join(BOUND)
        assert not thread.is_alive()
        assert seat.step() is None
        assert len(house.told) == 1


def test_a_cancelled_stream_lets_its_transport_come_to_its_end():
    """Chunks after the end go nowhere; the attempt is reported as its transport says."""
    house = House(stream=True)
    cancelled = RequestCancelledError("gone", maybe_executed=True)
    seat = fill_up(house, Chunk("late"), Failed(cancelled))
    house.flight.detach(house.ticket, RequestCancelledError("left"))
    assert seat.step() is None
    assert house.only.error is cancelled
    assert house.landed == [house.flight]


def test_a_transport_that_gives_up_on_its_own_ends_the_request():
    """Nobody cancelled it: the request would wait for ever otherwise."""
    house = House()
    house.finish(Script(Sent(), Failed(RequestCancelledError("transport gave up"))))
    assert [type(outcome.error) for outcome in house.outcomes] == [RequestCancelledError]
