"""A flight: whatever actors, seats and callers do to it at once, each of its requests gets one outcome."""

from __future__ import annotations

import itertools
import sys
import threading
from functools import partial

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from showcaller.actors.attempt import LIVE, AttemptState
from showcaller.actors.enums import RequestPriority, Source
from showcaller.actors.errors import RequestCancelledError, ServerError, StreamInterruptedError
from showcaller.actors.flight import Flight
from showcaller.actors.models import Answered, BackendResponse, ChatRequest, StreamChunk
from showcaller.actors.stream_buffer import REPLAY
from showcaller.actors.ticket import Ticket

BOUND = 10.0
RESERVING, DISPATCHED, CLAIMED, COMMITTED, REVOKED, ENDED = AttemptState
REQUEST = ChatRequest("Hello")
GONE = RequestCancelledError("gone")


class Client:
    """Who waits for a ticket's outcome; keeps every one that is delivered."""

    def __init__(self, request_id, priority=RequestPriority.NORMAL, deadline=100.0):
        self.outcomes = []
        self.done = threading.Event()
        self.ticket = Ticket(
            request_id, priority=priority, created=0.0, deadline=deadline, deliver=self._deliver
        )

    def _deliver(self, outcome):
        self.outcomes.append(outcome)
        self.done.set()

    @property
    def outcome(self):
        (outcome,) = self.outcomes
        return outcome


class Landings:
    """Counts the ends of flights."""

    def __init__(self):
        self.landed = []

    def __call__(self, flight):
        self.landed.append(flight)


def flight_of(client, *, stream=False, key=b"key", order=1, on_done=None):
    return Flight(
        client.ticket,
        REQUEST,
        order=order,
        lane="lane",
        key=key,
        stream=stream,
        on_done=on_done or Landings(),
    )


def begin(flight, *steps, slot="slot"):
    attempt = flight.next_attempt(slot, generation=1, epoch=2, tokens=3, deadline=4.0)
    for step in steps:
        assert act(flight, attempt, step) is True
    return attempt


def act(flight, attempt, step):
    """Do one thing to an attempt; what it said."""
    if step == "dispatched":
        return flight.dispatched(attempt, 50.0)
    if step == "answer":
        return flight.answer(attempt, respond)
    if step == "fail":
        return flight.fail(ServerError("no"))
    return getattr(flight, step)(attempt)


def respond(ticket, source):
    return BackendResponse(
        content="Hi",
        message={"role": "assistant", "content": "Hi"},
        backend="slot",
        model="m",
        source=source,
        request_id=ticket.request_id,
    )


# --- one attempt ---

STEPS = ("dispatched", "claim", "commit", "revoke", "revoke_unclaimed", "ended", "answer", "fail")
TABLE = {
    RESERVING: {"dispatched": DISPATCHED, "revoke": REVOKED, "revoke_unclaimed": REVOKED},
    DISPATCHED: {"claim": CLAIMED, "revoke": REVOKED, "revoke_unclaimed": REVOKED},
    CLAIMED: {"commit": COMMITTED, "revoke": REVOKED, "answer": ENDED},
    COMMITTED: {"answer": ENDED},
    REVOKED: {},
    ENDED: {},
}
"""What is allowed, and where it leads; everything else is refused and changes nothing."""
FORWARD = {RESERVING: "dispatched", DISPATCHED: "claim", CLAIMED: "commit"}


def test_every_sequence_of_steps_follows_the_table():
    """All sequences of five: what is not in the table is refused and changes nothing."""
    for steps in itertools.product(STEPS, repeat=5):
        client, landings = Client("1"), Landings()
        flight = flight_of(client, on_done=landings)
        attempt = begin(flight)
        state, done, cancelled = RESERVING, False, False
        for step in steps:
            said = act(flight, attempt, step)
            if step == "fail":
                assert said is not done
                done = True
                state, cancelled = (REVOKED, True) if state in LIVE else (state, cancelled)
            elif step == "ended":
                state = ENDED if state in LIVE else state
            else:
                allowed = TABLE[state].get(step)
                assert said is (allowed is not None), (steps, step)
                cancelled = cancelled or (step == "revoke" and said)
                done = done or (step == "answer" and said)
                state = allowed or state
            assert attempt.state is state, steps
            assert flight.done is done, steps
            assert flight.live == ([attempt] if state in LIVE else []), steps
            assert attempt.scope.cancelled is cancelled, steps
            assert len(client.outcomes) == len(landings.landed) == int(done), steps


@pytest.mark.parametrize("step", ["dispatched", "claim", "commit", "revoke", "answer", "fail"])
def test_nothing_happens_to_a_flight_that_is_done(step):
    """No new attempt, no late answer, no second error."""
    client, landings = Client("1"), Landings()
    flight = flight_of(client, on_done=landings)
    attempt, other = begin(flight, "dispatched", "claim"), begin(flight, "dispatched")
    assert flight.fail(ServerError("first"))
    before = client.outcome
    assert act(flight, attempt, step) is False
    assert act(flight, other, step) is False
    assert flight.next_attempt("slot", generation=1, epoch=1, tokens=1, deadline=1.0) is None
    assert client.outcomes == [before]
    assert landings.landed == [flight]


def test_an_attempt_carries_what_it_was_begun_with():
    """Its key is unique: the flight's order, which is never used again, and its number."""
    flight = flight_of(Client("1"), order=7)
    first, second = begin(flight), begin(flight, "dispatched")
    assert (first.key, second.key) == ((7, 1), (7, 2))
    assert (first.slot, first.generation, first.epoch, first.tokens, first.deadline) == ("slot", 1, 2, 3, 4.0)
    assert second.deadline == 50.0
    assert flight.dispatches == 1
    assert flight.live == [first, second]


def test_the_first_commit_takes_back_all_other_attempts():
    """One attempt alone reaches the reader; the others are cancelled at once and cannot answer."""
    client = Client("1")
    flight = flight_of(client, stream=True)
    late, winner = begin(flight, "dispatched", "claim"), begin(flight, "dispatched", "claim")
    queued = begin(flight)
    assert flight.commit(winner)
    assert [attempt.state for attempt in (late, winner, queued)] == [REVOKED, COMMITTED, REVOKED]
    assert [attempt.scope.cancelled for attempt in (late, winner, queued)] == [True, False, True]
    assert flight.commit(late) is False
    assert act(flight, late, "answer") is False
    assert client.outcomes == []
    assert flight.live == [winner]


def test_a_stream_that_has_begun_is_begun_by_no_other_attempt():
    """Until the one that began it has ended."""
    flight = flight_of(Client("1"), stream=True)
    attempt = begin(flight, "dispatched", "claim", "commit")
    again = {"generation": 1, "epoch": 1, "tokens": 1, "deadline": 1.0}
    assert flight.next_attempt("slot", **again) is None
    flight.ended(attempt)
    assert flight.next_attempt("slot", **again) is not None


def test_the_first_answer_cancels_the_other_attempts_and_not_its_own():
    """The winner's connection is given back, not shut."""
    client = Client("1")
    flight = flight_of(client)
    slow, winner = begin(flight, "dispatched", "claim"), begin(flight, "dispatched", "claim")
    assert act(flight, winner, "answer")
    assert (slow.scope.cancelled, winner.scope.cancelled) == (True, False)
    assert act(flight, slow, "answer") is False
    assert client.outcome.response.content == "Hi"


def test_an_attempt_that_was_never_claimed_is_taken_back_quietly():
    """Nothing was sent, so nothing is cancelled; a claim afterwards is refused."""
    flight = flight_of(Client("1"))
    attempt = begin(flight, "dispatched")
    assert flight.revoke_unclaimed(attempt)
    assert not attempt.scope.cancelled
    assert flight.claim(attempt) is False


def test_what_cannot_be_made_into_a_response_leaves_the_flight_as_it_was():
    """The attempt failed, and another may still answer everyone."""
    first, second = Client("1"), Client("2")
    landings = Landings()
    flight = flight_of(first, on_done=landings)
    flight.attach(second.ticket)
    bad, good = begin(flight, "dispatched", "claim"), begin(flight, "dispatched", "claim")

    def stumble(ticket, source):
        if ticket is second.ticket:
            raise ValueError("not a response")
        return respond(ticket, source)

    with pytest.raises(ValueError, match="not a response"):
        flight.answer(bad, stumble)
    assert (flight.done, bad.state, good.state) == (False, CLAIMED, CLAIMED)
    assert flight.tickets == (first.ticket, second.ticket)
    assert first.outcomes == second.outcomes == landings.landed == []
    assert act(flight, good, "answer")
    assert first.outcome.ok
    assert second.outcome.ok


# --- its requests ---


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


# --- its stream ---


def test_an_answer_ends_the_stream_and_a_failure_ends_it_with_its_error():
    """After all chunks."""
    for step, end in (("answer", None), ("fail", ServerError)):
        client = Client("1")
        flight = flight_of(client, stream=True)
        attempt = begin(flight, "dispatched", "claim", "commit")
        flight.stream.offer(StreamChunk("a"))
        assert act(flight, attempt, step)
        assert client.ticket.take_chunk(0.0) == StreamChunk("a")
        if end is None:
            assert client.ticket.take_chunk(0.0) is None
        else:
            with pytest.raises(end):
                client.ticket.take_chunk(0.0)


@pytest.mark.parametrize("step", ["answer", "fail"])
def test_the_outcome_is_there_before_the_stream_ends(step):
    """Who has read to the end leaves, which cancels: that must come too late."""
    client, cancelled = Client("1"), []
    flight = flight_of(client, stream=True)

    def leave():
        cancelled.append(client.ticket.complete(Answered("1", respond(client.ticket, Source.CACHE))))

    client.ticket.reader.waker = leave
    assert act(flight, begin(flight, "dispatched", "claim", "commit"), step)
    assert cancelled == [False]


def test_who_goes_hears_why_when_it_reads_on():
    """And the stream of the others goes on."""
    first, second = Client("1"), Client("2")
    flight = flight_of(first, stream=True)
    flight.attach(second.ticket)
    flight.detach(first.ticket, GONE)
    flight.stream.offer(StreamChunk("a"))
    with pytest.raises(RequestCancelledError, match="gone"):
        first.ticket.take_chunk(0.0)
    assert second.ticket.take_chunk(0.0) == StreamChunk("a")


def test_a_timeout_of_a_read_is_the_reader_s_own_matter():
    """Nothing is cancelled, and the next read goes on."""
    client = Client("1")
    flight = flight_of(client, stream=True)
    with pytest.raises(TimeoutError):
        client.ticket.take_chunk(0.0)
    flight.stream.offer(StreamChunk("a"))
    assert client.ticket.take_chunk(0.0) == StreamChunk("a")


# --- everything in any order ---


class FlightMachine(RuleBasedStateMachine):
    """Tickets and attempts of one flight; the model knows who waits and what each attempt may do."""

    @initialize(stream=st.booleans())
    def begin(self, stream):
        self.landings = Landings()
        self.clients = [Client("0")]
        self.flight = flight_of(self.clients[0], stream=stream, on_done=self.landings)
        self.waiting = [self.clients[0]]
        self.states = {}
        self.done = False
        self.answered_by = None
        self.expected = {}

    def land(self):
        self.done = True
        self.waiting = []
        for attempt, state in self.states.items():
            if state in LIVE:
                self.states[attempt] = REVOKED
                assert attempt.scope.cancelled

    def others_lose(self, winner):
        for attempt, state in self.states.items():
            if attempt is not winner and state in LIVE:
                self.states[attempt] = REVOKED
                assert attempt.scope.cancelled

    @rule(priority=st.sampled_from(RequestPriority), deadline=st.floats(1.0, 500.0))
    def attach(self, priority, deadline):
        client = Client(str(len(self.clients)), priority, deadline)
        self.clients.append(client)
        assert self.flight.attach(client.ticket) is not self.done
        if not self.done:
            self.waiting.append(client)

    @rule(data=st.data())
    def detach(self, data):
        client = data.draw(st.sampled_from(self.clients))
        last = self.waiting == [client]
        assert self.flight.detach(client.ticket, GONE) is last
        if client in self.waiting:
            self.waiting.remove(client)
        if last:
            self.land()

    @rule()
    def next_attempt(self):
        attempt = self.flight.next_attempt("slot", generation=1, epoch=1, tokens=1, deadline=1.0)
        assert (attempt is None) is (self.done or COMMITTED in self.states.values())
        if attempt is not None:
            self.states[attempt] = RESERVING

    @precondition(lambda self: not self.done and set(self.states.values()) & set(FORWARD))
    @rule(data=st.data())
    def go_on(self, data):
        ready = [attempt for attempt, state in self.states.items() if state in FORWARD]
        attempt = data.draw(st.sampled_from(ready))
        self.step(attempt, FORWARD[self.states[attempt]])

    @precondition(lambda self: self.states)
    @rule(data=st.data(), step=st.sampled_from(STEPS[:-1]))
    def do_anything(self, data, step):
        self.step(data.draw(st.sampled_from(list(self.states))), step)

    def step(self, attempt, step):
        state = self.states[attempt]
        allowed = None if self.done else TABLE[state].get(step)
        waiting = list(self.waiting)
        said = act(self.flight, attempt, step)
        if step == "ended":
            self.states[attempt] = ENDED if state in LIVE else state
            return
        assert said is (allowed is not None)
        if not said:
            return
        self.states[attempt] = allowed
        if step == "commit":
            self.others_lose(attempt)
        elif step == "answer":
            self.land()
            self.expected |= dict.fromkeys(waiting, True)

    @precondition(lambda self: self.states)
    @rule()
    def fail(self):
        waiting = list(self.waiting)
        assert self.flight.fail(ServerError("no")) is not self.done
        if not self.done:
            self.land()
            self.expected |= dict.fromkeys(waiting, False)

    @rule()
    def stumble(self):
        def raise_it(ticket, source):
            raise ZeroDivisionError

        for attempt, state in self.states.items():
            if state in (CLAIMED, COMMITTED):
                with pytest.raises(ZeroDivisionError):
                    self.flight.answer(attempt, raise_it)

    @invariant()
    def it_is_what_the_model_says(self):
        assert self.flight.done is self.done
        assert self.flight.tickets == tuple(client.ticket for client in self.waiting)
        assert {attempt: attempt.state for attempt in self.states} == self.states
        assert set(self.flight.live) == {attempt for attempt, state in self.states.items() if state in LIVE}
        assert len(self.landings.landed) == int(self.done)
        if self.waiting:
            assert self.flight.priority == max(client.ticket.priority for client in self.waiting)
            assert self.flight.deadline == max(client.ticket.deadline for client in self.waiting)

    @invariant()
    def who_waited_got_one_outcome_and_nobody_else_any(self):
        for client in self.clients:
            ok = [outcome.ok for outcome in client.outcomes]
            assert ok == ([self.expected[client]] if client in self.expected else [])


TestFlight = FlightMachine.TestCase
TestFlight.settings = settings(TestFlight.settings, max_examples=150, stateful_step_count=30)


# --- threads ---


@pytest.fixture
def often():
    """Lets the interpreter switch threads as often as it can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def race(*steps):
    """Do all steps at once, each on a thread; what they said."""
    said = [None] * len(steps)
    start = threading.Barrier(len(steps))

    def run(place, step):
        start.wait(BOUND)
        said[place] = step()

    threads = [threading.Thread(target=run, args=numbered) for numbered in enumerate(steps)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(BOUND)
        assert not thread.is_alive()
    return said


@pytest.mark.usefixtures("often")
def test_claim_and_revoke_never_both_win():
    """What is taken back before it was claimed is not sent."""
    for _ in range(150):
        flight = flight_of(Client("1"))
        attempt = begin(flight, "dispatched")
        claimed, revoked = race(partial(flight.claim, attempt), partial(flight.revoke_unclaimed, attempt))
        assert claimed is not revoked
        assert attempt.state is (CLAIMED if claimed else REVOKED)


@pytest.mark.usefixtures("often")
def test_two_commits_never_both_win():
    """One attempt alone writes into the stream."""
    for _ in range(150):
        flight = flight_of(Client("1"), stream=True)
        attempts = [begin(flight, "dispatched", "claim") for _ in range(2)]
        said = race(*(partial(flight.commit, attempt) for attempt in attempts))
        assert sorted(said) == [False, True]
        assert sorted(attempt.scope.cancelled for attempt in attempts) == [False, True]


@pytest.mark.usefixtures("often")
def test_every_race_for_the_end_has_one_winner():
    """Two answers, an error, a caller that leaves and one that comes: one outcome each, one landing."""
    for number in range(200):
        first, second, late = Client("1"), Client("2"), Client("3")
        landings = Landings()
        flight = flight_of(first, stream=number % 2 == 0, on_done=landings)
        flight.attach(second.ticket)
        one, two = (begin(flight, "dispatched", "claim") for _ in range(2))
        answered, again, failed, left, joined = race(
            partial(flight.answer, one, respond),
            partial(flight.answer, two, respond),
            partial(flight.fail, ServerError("no")),
            partial(flight.detach, first.ticket, GONE),
            partial(flight.attach, late.ticket),
        )
        assert [answered, again, failed].count(True) == 1
        assert left is False
        assert landings.landed == [flight]
        assert flight.live == []
        ok = answered or again
        assert [outcome.ok for outcome in second.outcomes] == [ok]
        assert [outcome.ok for outcome in first.outcomes] in ([], [ok])
        assert [outcome.ok for outcome in late.outcomes] == ([ok] if joined else [])


@pytest.mark.usefixtures("often")
def test_a_request_that_is_moved_while_it_ends_has_one_outcome():
    """Whether its deadline, its old flight or its new one is quicker; and no flight keeps it for ever."""
    for _ in range(200):
        leader, follower = Client("1"), Client("2")
        flight, other = flight_of(leader), flight_of(follower, order=2)
        attempt = begin(flight, "dispatched", "claim")

        def expire(ticket=follower.ticket):
            if ticket.complete(Answered("2", respond(ticket, Source.LIVE))):
                ticket.flight.detach(ticket, GONE)

        race(partial(flight.take_in, other), partial(flight.answer, attempt, respond), expire)
        assert follower.outcome.ok
        assert leader.outcome.ok
        assert follower.ticket not in flight.tickets + other.tickets


def test_the_stream_of_a_broken_answer_ends_with_the_text_so_far():
    """What a reader sees of a committed attempt that failed."""
    client = Client("1")
    flight = flight_of(client, stream=True)
    begin(flight, "dispatched", "claim", "commit")
    flight.stream.offer(StreamChunk("half"))
    flight.fail(StreamInterruptedError("broke", partial=flight.stream.text))
    assert client.ticket.take_chunk(0.0).text == "half"
    with pytest.raises(StreamInterruptedError) as raised:
        client.ticket.take_chunk(0.0)
    assert raised.value.partial == "half"
    assert client.outcome.error.partial == "half"
