"""The outcomes at the edge: one each and in time, whatever becomes of the actors behind it."""

from __future__ import annotations

import threading
from functools import partial

from showcaller.actors.enums import Source
from showcaller.actors.errors import (
    DeadlineExceededError,
    RuntimeStoppedError,
    ServerError,
)
from showcaller.actors.flight_table import FlightTable
from showcaller.actors.kernel.workers import ThreadWorkers
from showcaller.actors.messages import Coalesce, FlightDone, Route, Withdrawn
from tests.hand_clock import HandClock
from tests.runtime.house import BOUND, STOPPED, House, answer, kinds, named


def test_an_answer_completes_its_request_and_frees_everything():
    """The table, the bytes, the flight and the timer."""
    house = House()
    ticket, pending = house.accept(seed=1)
    assert answer(ticket.flight)
    assert pending.result(0).content == "Hi"
    account = house.edge.account
    assert (account.accepted, account.answered, account.failed, account.open) == (1, 1, 0, 0)
    assert len(house.flights) == 0
    assert house.clock.timers.next_at() is None
    assert kinds(house.deduplicator) == [Coalesce, FlightDone]
    assert house.deduplicator.told[1].flight is ticket.flight


def test_a_deadline_is_kept_by_the_clock_alone():
    """Every actor is stuck, and the request fails in time all the same."""
    house = House()
    ticket, pending = house.accept(timeout=5.0)
    house.clock.advance(4.999)
    assert not pending.done()
    house.clock.advance(0.001)
    error = pending.exception(0)
    assert isinstance(error, DeadlineExceededError)
    assert "test-1 had no outcome within 5 s" in error.message
    assert not error.maybe_executed
    assert house.edge.account.failed == 1
    assert kinds(house.supervisor) == [Route, Withdrawn]
    assert ticket.flight.done
    assert len(house.flights) == 0


def test_a_deadline_says_what_is_known():
    """Queued or not answered, what failed before, and whether it may have been executed."""
    house = House()
    queued, tried = (house.flight_of(timeout=5.0) for _ in range(2))
    queued.queued = True
    tried.errors.append(ServerError("a: HTTP 500"))
    attempt = tried.next_attempt("a", generation=1, epoch=1, tokens=1, deadline=1e9)
    tried.dispatched(attempt, 1e9)
    outcomes = [flight.tickets[0] for flight in (queued, tried)]
    pendings = [house.edge._open[ticket.request_id].pending for ticket in outcomes]
    house.clock.advance(5.0)
    waiting, running = (pending.exception(0) for pending in pendings)
    assert "it was still queued" in waiting.message
    assert (waiting.maybe_executed, running.maybe_executed) == (False, True)
    assert "its backend had not answered" in running.message
    assert running.message.endswith("before that: a: HTTP 500")
    assert attempt.scope.cancelled


def test_a_cancel_by_id_ends_the_request_and_its_attempts():
    """Once; an unknown id is none."""
    house = House()
    ticket, pending = house.accept()
    attempt = ticket.flight.next_attempt("a", generation=1, epoch=1, tokens=1, deadline=1e9)
    assert house.edge.cancel("unknown") is False
    assert house.edge.cancel("test-1") is True
    assert house.edge.cancel("test-1") is False
    assert pending.cancelled()
    assert attempt.scope.cancelled
    assert kinds(house.supervisor) == [Route, Withdrawn]


def test_one_of_several_that_share_a_call_may_go_alone():
    """The supervisor hears of it when the last has gone."""
    house = House()
    first, second = house.accept(seed=1), house.accept(seed=1)
    assert first[0].flight.take_in(second[0].flight)
    assert second[1].cancel()
    assert kinds(house.supervisor) == []
    assert answer(first[0].flight)
    assert first[1].result(0).source is Source.LIVE
    assert second[1].cancelled()


def test_an_old_request_s_end_does_not_touch_a_new_one_of_the_same_id():
    """Neither its Pending nor its deadline, though it fires late."""
    house = House()
    fired = []
    push = house.clock.timers.push

    def late(at, recipient, message):
        fired.append(partial(recipient.tell, message))
        return push(at, recipient, message)

    house.clock.timers.push = late
    ticket, old = house.accept(context=named("mine"), timeout=5.0)
    assert answer(ticket.flight)
    new = house.accept(context=named("mine"), timeout=50.0)[1]
    assert old.cancel() is False
    fired[0]()
    assert not new.done()
    assert house.edge.account.open == 1


def test_a_flight_of_an_old_id_ends_alone():
    """The table of flights keeps the new one, which a crash of the supervisor must not lose."""
    house = House()
    leader = house.accept(context=named("mine"), seed=1)
    follower = house.accept(context=named("other"), seed=1)
    assert leader[0].flight.take_in(follower[0].flight)
    leader[1].cancel()
    again = house.accept(context=named("mine"))
    assert house.flights.in_order() == [leader[0].flight, again[0].flight]
    assert answer(leader[0].flight)
    assert follower[1].result(0).content == "Hi"
    assert house.flights.in_order() == [again[0].flight]


def test_a_deadline_that_comes_while_the_request_enters_is_kept():
    """The clock's thread is quicker than the caller's."""

    class Hasty(HandClock):
        def __init__(self):
            super().__init__()
            self.thread = None

        def call_later(self, delay, recipient, message):
            finished = threading.Event()

            def fire():
                recipient.tell(message)
                finished.set()

            self.thread = threading.Thread(target=fire)
            self.thread.start()
            finished.wait(0.1)
            return super().call_later(delay, recipient, message)

    house = House(clock=Hasty())
    pending = house.accept(timeout=1e-6)[1]
    house.clock.thread.join(BOUND)
    assert isinstance(pending.exception(BOUND), DeadlineExceededError)
    assert house.edge.account.open == 0


def test_a_request_that_ends_while_it_enters_leaves_no_flight_behind():
    """Its flight was done before it was on the table."""

    class Slow(FlightTable):
        def add(self, flight):
            assert house.edge.cancel(flight.id)
            super().add(flight)

    house = House(flights=Slow())
    assert house.accept()[1].cancelled()
    assert len(house.flights) == 0


# --- the caller's functions ---


def test_an_outcome_is_told_on_a_callback_thread():
    """Each one once, answers and errors."""
    pool = ThreadWorkers("callbacks", 1)
    house, seen, told = House(callbacks=pool), [], threading.Semaphore(0)

    def on_outcome(outcome):
        seen.append((outcome.request_id, outcome.ok, threading.current_thread().name))
        told.release()

    answered, failed = (house.accept(on_outcome=on_outcome) for _ in range(2))
    answer(answered[0].flight)
    failed[1].cancel()
    assert all(told.acquire(timeout=BOUND) for _ in range(2))
    assert [entry[:2] for entry in seen] == [("test-1", True), ("test-2", False)]
    assert all(entry[2].startswith("showcaller-callbacks-") for entry in seen)
    pool.close()
    assert pool.join(BOUND) == 0


def test_a_callback_that_finds_no_thread_costs_nobody_an_outcome(monkeypatch):
    """The others that wait for the same call come after it."""

    def refuse(thread):
        raise RuntimeError("can't start new thread")

    house, seen = House(), []
    first = house.accept(seed=1, on_outcome=seen.append)
    second = house.accept(seed=1, on_outcome=seen.append)
    assert first[0].flight.take_in(second[0].flight)
    monkeypatch.setattr(threading.Thread, "start", refuse)
    assert answer(first[0].flight)
    assert [pending.result(0).request_id for _, pending in (first, second)] == ["test-1", "test-2"]
    assert [outcome.request_id for outcome in seen] == ["test-1", "test-2"]


# --- the end ---


def test_failing_all_ends_everything_with_copies():
    """Also what shares a call, and twice is no error."""
    house = House()
    pendings = [house.accept(seed=1)[1] for _ in range(3)]
    house.edge.fail_all(STOPPED)
    house.edge.fail_all(STOPPED)
    errors = [pending.exception(0) for pending in pendings]
    assert {type(error) for error in errors} == {RuntimeStoppedError}
    assert len({id(error) for error in [*errors, STOPPED]}) == 4
    assert (house.edge.account.open, house.edge.account.failed, len(house.flights)) == (0, 3, 0)


def test_waiting_until_nothing_is_open():
    """At once when nothing is; in vain when something is; and woken by the last that ends."""
    house = House()
    assert house.edge.wait_until_empty(0.0) is True
    pendings = [house.accept()[1] for _ in range(2)]
    assert house.edge.wait_until_empty(0.01) is False
    said = []
    thread = threading.Thread(target=lambda: said.append(house.edge.wait_until_empty(BOUND * 10)))
    thread.start()
    for pending in pendings:
        pending.cancel()
    thread.join(BOUND)
    assert said == [True]
