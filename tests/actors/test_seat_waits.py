"""A seat that waits, for its transport or for a reader, and what becomes of one that waits too long."""

from __future__ import annotations

import threading

import pytest

from showcaller.actors.errors import BackendTimeoutError, RequestCancelledError, ServerError
from showcaller.actors.seat import STALL_POLL
from showcaller.actors.stream_buffer import ROOM
from showcaller.actors.transport import Chunk, Failed, Pause, Sent
from tests.actors.seats import BOUND, READER_TIMEOUT, House, Script, done


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
    """Although reader_timeout is longer: its seat is not given up as one that hangs, nor its backend blamed."""
    house = House(stream=True)
    house.clock.time = 149.0
    seat = fill_up(house, done("all"))
    house.clock.time = 149.999
    assert seat.step() == STALL_POLL
    house.clock.time = 150.0
    assert seat.step() is None
    assert isinstance(house.only.error, RequestCancelledError)
    assert "timeout.total" in house.only.error.message


@pytest.mark.parametrize(
    ("read_at", "ends_at", "error"),
    [
        (105.0, 150.0, RequestCancelledError),
        (100.0, 150.0, BackendTimeoutError),
        (105.0, 149.0, BackendTimeoutError),
    ],
)
def test_a_timeout_is_the_readers_when_the_reader_took_the_time(read_at, ends_at, error):
    """The backend is blamed only for what it took itself, as when it falls silent with time left."""
    house = House(stream=True)
    house.clock.time = 100.0
    late = Failed(BackendTimeoutError("total"))
    seat = fill_up(house, Pause(1.0), late)
    house.clock.time = read_at
    house.read()
    assert seat.step() == 1.0
    house.clock.time = ends_at
    assert seat.step() is None
    assert isinstance(house.only.error, error)


def test_all_the_time_that_a_reader_took_is_said():
    """Not only the last of it."""
    house = House(stream=True)
    late = Failed(BackendTimeoutError("total"))
    seat = fill_up(house, *[Chunk("x")] * ROOM, Pause(1.0), late)
    house.clock.time += 3.0
    house.read()
    assert seat.step() == STALL_POLL
    house.clock.time += 4.0
    house.read()
    assert seat.step() == 1.0
    house.clock.time = 150.0
    assert seat.step() is None
    assert "was not read for 7 s" in house.only.error.message


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
