"""The requests of a flight: they come, share its answer or error, and go; and two flights become one."""

from __future__ import annotations

import threading

from showcaller.actors.enums import RequestPriority, Source
from showcaller.actors.errors import ServerError
from showcaller.actors.models import Answered, StreamChunk
from showcaller.actors.stream_buffer import REPLAY
from tests.actors.flights import BOUND, GONE, Client, Landings, act, begin, flight_of, respond


def test_the_answer_reaches_every_request_under_its_own_name():
    """The first paid for the call, the others share it."""
    clients = [Client(name) for name in "abc"]
    flight = flight_of(clients[0])
    assert all(flight.attach(client.ticket) for client in clients[1:])
    assert act(flight, begin(flight, "dispatched", "claim"), "answer")
    assert [client.outcome.response.request_id for client in clients] == ["a", "b", "c"]
    sources = [client.outcome.response.source for client in clients]
    assert sources == [Source.LIVE, Source.COALESCED, Source.COALESCED]


def test_every_request_gets_its_own_copy_of_the_error():
    """Raised by several waiters, one exception would gather all their tracebacks."""
    clients = [Client(name) for name in "ab"]
    flight, error = flight_of(clients[0]), ServerError("no", backend="slot", status=500)
    flight.attach(clients[1].ticket)
    assert flight.fail(error)
    errors = [client.outcome.error for client in clients]
    assert len({id(one) for one in [*errors, error]}) == 3
    assert {(type(one), one.message, one.backend, one.status) for one in errors} == {
        (ServerError, "no", "slot", 500)
    }
    assert [client.outcome.request_id for client in clients] == ["a", "b"]


def test_one_request_may_go_alone():
    """The others keep waiting; with the last one every attempt is cancelled."""
    first, second = Client("1"), Client("2")
    landings = Landings()
    flight = flight_of(first, on_done=landings)
    flight.attach(second.ticket)
    attempts = [begin(flight), begin(flight, "dispatched"), begin(flight, "dispatched", "claim")]
    assert flight.detach(first.ticket, GONE) is False
    assert flight.detach(first.ticket, GONE) is False
    assert not any(attempt.scope.cancelled for attempt in attempts)
    assert flight.detach(second.ticket, GONE) is True
    assert flight.detach(second.ticket, GONE) is False
    assert all(attempt.scope.cancelled for attempt in attempts)
    assert flight.live == []
    assert landings.landed == [flight]
    assert first.outcomes == second.outcomes == []


def test_priority_and_deadline_are_the_greatest_of_those_who_wait():
    """They rise with who comes and sink with who goes."""
    patient = Client("1", RequestPriority.LOW, deadline=300.0)
    urgent = Client("2", RequestPriority.CRITICAL, deadline=20.0)
    flight = flight_of(patient)
    assert (flight.priority, flight.deadline) == (RequestPriority.LOW, 300.0)
    flight.attach(urgent.ticket)
    assert (flight.priority, flight.deadline) == (RequestPriority.CRITICAL, 300.0)
    flight.detach(patient.ticket, GONE)
    assert (flight.priority, flight.deadline) == (RequestPriority.CRITICAL, 20.0)


def test_nobody_joins_a_flight_that_is_done():
    """The next identical request flies itself."""
    flight, late = flight_of(Client("1")), Client("2")
    flight.fail(ServerError("no"))
    assert flight.attach(late.ticket) is False
    assert late.ticket.flight is None
    assert late.outcomes == []


# --- two flights become one ---


def test_a_flight_takes_in_the_requests_of_another():
    """The other one ends without an outcome of its own; its requests get the first one's."""
    leader, follower, third = Client("1"), Client("2"), Client("3")
    landings = Landings()
    flight, other = flight_of(leader, on_done=landings), flight_of(follower, order=2, on_done=landings)
    other.attach(third.ticket)
    assert flight.take_in(other)
    assert (other.done, other.tickets) == (True, ())
    assert landings.landed == [other]
    assert flight.tickets == (leader.ticket, follower.ticket, third.ticket)
    assert follower.ticket.flight is third.ticket.flight is flight
    assert act(flight, begin(flight, "dispatched", "claim"), "answer")
    assert leader.outcome.ok
    assert follower.outcome.ok
    assert third.outcome.ok


def test_a_flight_that_is_done_takes_nobody_in():
    """The requests stay where they were."""
    flight, follower = flight_of(Client("1")), Client("2")
    other = flight_of(follower, order=2)
    flight.fail(ServerError("no"))
    assert flight.take_in(other) is False
    assert (other.done, other.tickets) == (False, (follower.ticket,))
    assert follower.ticket.flight is other


def test_a_request_that_has_its_outcome_already_is_not_waited_for():
    """It ended while it was moved: no flight keeps it."""
    flight, follower = flight_of(Client("1")), Client("2", RequestPriority.CRITICAL)
    other = flight_of(follower, order=2)
    follower.ticket.complete(Answered("2", respond(follower.ticket, Source.LIVE)))
    assert flight.take_in(other)
    assert flight.tickets == (flight.tickets[0],)
    assert flight.priority is RequestPriority.NORMAL


def test_a_reader_that_waits_goes_over_to_the_other_flight_s_stream():
    """It is blocked in the old stream when the flights become one, and reads the new one from its start."""
    leader, follower = Client("1"), Client("2")
    flight, other = flight_of(leader, stream=True), flight_of(follower, stream=True, order=2)
    flight.stream.offer(StreamChunk("a"))
    read, waiting = [], threading.Event()
    old_take = follower.ticket.reader.take

    def take(timeout):
        waiting.set()
        return old_take(timeout)

    follower.ticket.reader.take = take

    def reading():
        while (chunk := follower.ticket.take_chunk(BOUND)) is not None:
            read.append(chunk.text)

    thread = threading.Thread(target=reading)
    thread.start()
    assert waiting.wait(BOUND)
    assert flight.take_in(other)
    flight.stream.offer(StreamChunk("b"))
    flight.stream.finish(None)
    thread.join(BOUND)
    assert not thread.is_alive()
    assert read == ["a", "b"]


def test_the_waker_goes_over_with_the_reader():
    """A coroutine that waits for the old stream is woken by it, and by the new one."""
    leader, follower = Client("1"), Client("2")
    flight, other = flight_of(leader, stream=True), flight_of(follower, stream=True, order=2)
    woken = []
    follower.ticket.reader.waker = lambda: woken.append(follower.ticket.reader)
    assert flight.take_in(other)
    assert woken == [follower.ticket.reader]
    flight.stream.offer(StreamChunk("a"))
    assert woken == [follower.ticket.reader] * 2


def test_a_stream_whose_beginning_is_gone_takes_nobody_in():
    """Who cannot see it from the start needs a stream of its own."""
    leader, follower = Client("1"), Client("2")
    flight, other = flight_of(leader, stream=True), flight_of(follower, stream=True, order=2)
    for _ in range(REPLAY + 1):
        flight.stream.offer(StreamChunk("x"))
        leader.ticket.take_chunk(0.0)
    reader = follower.ticket.reader
    assert flight.take_in(other) is False
    assert follower.ticket.reader is reader
    assert other.tickets == (follower.ticket,)
