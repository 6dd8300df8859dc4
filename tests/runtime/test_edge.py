"""The edge: what the door accepts has one outcome in time, whatever becomes of the actors behind it."""

from __future__ import annotations

import itertools
import sys
import threading
from functools import partial

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from showcaller.actors.backend_config import BackendConfig
from showcaller.actors.configuration import RuntimeConfig
from showcaller.actors.enums import RequestPriority, Source
from showcaller.actors.errors import (
    ConfigurationError,
    DeadlineExceededError,
    OverloadedError,
    RequestCancelledError,
    RuntimeStoppedError,
    ServerError,
    UnknownModelError,
)
from showcaller.actors.flight_table import FlightTable
from showcaller.actors.kernel import fork
from showcaller.actors.kernel.clock import TimerHeap
from showcaller.actors.kernel.errors import ForkedProcessError
from showcaller.actors.kernel.workers import ThreadWorkers
from showcaller.actors.messages import Coalesce, FlightDone, Route, Withdrawn
from showcaller.actors.models import BackendResponse, ChatRequest, RequestContext
from showcaller.actors.outbox import Outbox
from showcaller.actors.policies.admission import Outlook
from showcaller.actors.roster import Roster
from showcaller.actors.route_config import RouteConfig
from showcaller.actors.settings import RuntimeSettings
from showcaller.runtime.edge import Edge

BOUND = 10.0
STOPPED = RuntimeStoppedError("stopped")
SIZE = len(ChatRequest("x" * 100).payload)


class HandClock:
    """Time that stands still until a test moves it; timers fire on the test's thread."""

    def __init__(self):
        self.time = 100.0
        self.timers = TimerHeap()

    def now(self):
        return self.time

    def wall(self):
        return self.time

    def call_later(self, delay, recipient, message):
        return self.timers.push(self.time + delay, recipient, message)

    def advance(self, seconds):
        self.time += seconds
        while (timer := self.timers.pop_due(self.time)) is not None:
            timer.fire()


class DeadActor:
    """Takes messages and does nothing, like one whose thread is stuck."""

    def __init__(self):
        self.told = []

    def tell(self, message):
        self.told.append(message)


class House:
    """An edge before a core that never answers; the test plays the seats."""

    def __init__(self, callbacks=None, clock=None, flights=None, **bounds):
        config = RuntimeConfig(
            runtime=RuntimeSettings(model="fast", **bounds),
            backends=[
                BackendConfig(name=name, backend_type="simulated", model=f"model-{name}") for name in "ab"
            ],
            routes=[RouteConfig(name="fast", targets=["a", "b"]), RouteConfig(name="slow", targets=["a"])],
        )
        self.clock = clock or HandClock()
        self.flights = FlightTable() if flights is None else flights
        self.deduplicator, self.supervisor = DeadActor(), DeadActor()
        self.roster = Roster(config, [], self.flights, Outbox(DeadActor(), []))
        self.edge = Edge(
            config.runtime,
            clock=self.clock,
            roster=self.roster,
            flights=self.flights,
            deduplicator=self.deduplicator,
            supervisor=self.supervisor,
            callbacks=callbacks or ThreadWorkers("callbacks", 1),
            name="test",
        )

    def accept(self, prompt="Hello", *, stream=False, share=True, on_outcome=None, **options):
        return self.edge.accept(
            ChatRequest(prompt, **options), stream=stream, share=share, on_outcome=on_outcome
        )

    def flight_of(self, prompt="Hello", *, stream=False, share=True, **options):
        return self.accept(prompt, stream=stream, share=share, **options)[0].flight


def open_bytes(house):
    return sum(house.edge._room._bytes.values())


def named(request_id, **fields):
    return RequestContext(request_id=request_id, **fields)


def answer(flight):
    """Let the flight's call be carried out and answer; was it in time?"""
    attempt = flight.next_attempt("a", generation=1, epoch=1, tokens=1, deadline=1e9)
    if attempt is None or not flight.dispatched(attempt, 1e9) or not flight.claim(attempt):
        return False
    return flight.answer(attempt, respond)


def respond(ticket, source):
    return BackendResponse(
        content="Hi",
        message={"role": "assistant", "content": "Hi"},
        backend="a",
        model="m",
        source=source,
        request_id=ticket.request_id,
    )


def kinds(actor):
    return [type(message) for message in actor.told]


# --- the door ---


def test_an_accepted_request_goes_to_the_supervisor():
    """With its lane, its deadline by the runtime's clock, and its urgency."""
    house = House(timeout=30.0)
    ticket, pending = house.accept(priority="high")
    (route,) = house.supervisor.told
    assert isinstance(route, Route)
    assert route.flight is ticket.flight
    assert house.flights.in_order() == [ticket.flight]
    assert (ticket.flight.lane, ticket.flight.order, ticket.flight.key) == ("fast", 1, None)
    assert (ticket.created, ticket.deadline) == (100.0, 130.0)
    assert ticket.priority is RequestPriority.HIGH
    assert ticket.request_id == pending.request_id == "test-1"
    assert house.deduplicator.told == []
    assert house.accept(timeout=7.0, model="slow")[0].deadline == 107.0


def test_a_request_whose_answer_may_be_shared_goes_to_the_deduplicator():
    """It decides whether there is one under way already."""
    house = House()
    ticket, _ = house.accept(seed=1)
    (coalesce,) = house.deduplicator.told
    assert isinstance(coalesce, Coalesce)
    assert coalesce.flight is ticket.flight
    assert house.supervisor.told == []


def test_an_unknown_model_is_refused_before_it_counts():
    """Nothing is kept of it."""
    house = House()
    with pytest.raises(UnknownModelError, match="fast"):
        house.accept(model="fasst")
    assert house.edge.account.accepted == house.edge.account.open == len(house.flights) == 0


def test_the_door_bounds_the_open_requests():
    """One that ends makes room for one."""
    house = House(max_open_requests=3)
    pendings = [house.accept()[1] for _ in range(3)]
    with pytest.raises(OverloadedError, match="max_open_requests"):
        house.accept()
    pendings[1].cancel()
    house.accept()
    with pytest.raises(OverloadedError):
        house.accept()
    account = house.edge.account
    assert (account.accepted, account.open, account.refused, account.failed) == (4, 3, 2, 1)
    assert len(house.flights) == 3


def test_the_door_bounds_the_open_bytes():
    """The sum of what is open; a single one may be larger, or it could never be served."""
    size = len(ChatRequest("x" * 500).payload)
    house = House(max_open_bytes=2 * size, critical_share=0.0)
    first, second = (house.accept("x" * 500)[1] for _ in range(2))
    with pytest.raises(OverloadedError, match=f"max_open_bytes = {2 * size}"):
        house.accept("x")
    first.cancel()
    third = house.accept("x" * 500)[1]
    for pending in (second, third):
        pending.cancel()
    huge = house.accept("x" * 5000)[1]
    with pytest.raises(OverloadedError):
        house.accept("x")
    huge.cancel()
    house.accept("x")


@pytest.mark.parametrize(
    ("bounds", "match"),
    [
        ({"max_open_requests": 5}, "kept by critical_share"),
        ({"max_open_bytes": 5 * SIZE}, "kept by critical_share"),
    ],
    ids=["requests", "bytes"],
)
def test_a_share_is_kept_for_critical_requests(bounds, match):
    """The others fill four fifths together; who is CRITICAL gets the rest, and their own part stays theirs."""
    house = House(**bounds)
    others = [house.accept("x" * 100, priority=priority)[1] for priority in ("low", "normal", "high", "high")]
    with pytest.raises(OverloadedError, match=match):
        house.accept("x" * 100, priority="high")
    critical = house.accept("x" * 100, priority="critical")[1]
    with pytest.raises(OverloadedError, match=next(iter(bounds))):
        house.accept("x" * 100, priority="critical")
    critical.cancel()
    others[0].cancel()
    for _ in range(2):
        house.accept("x" * 100, priority="critical")
    with pytest.raises(OverloadedError):
        house.accept("x" * 100)


def outlook(at, **fields):
    return Outlook(**{"waiting": (4, 3, 2, 1), "rate": 2.0, "usual": 1.0, "at": at} | fields)


@pytest.mark.parametrize(
    ("priority", "timeout", "late"),
    [
        ("low", 6.4, 0.1),
        ("low", 6.6, None),
        ("normal", 4.4, 0.1),
        ("normal", 4.6, None),
        ("critical", 1.9, 0.1),
        ("critical", 2.1, None),
    ],
)
def test_who_would_wait_past_its_deadline_is_refused_at_the_door(priority, timeout, late):
    """Only those of its class and above are ahead; the error says how many, how quickly, and when to come back."""
    house = House()
    house.roster.outlooks = {"fast": outlook(house.clock.now())}
    if late is None:
        house.accept(priority=priority, timeout=timeout)
    else:
        with pytest.raises(OverloadedError, match=r"wait for 'fast', of which 2 leave a second") as caught:
            house.accept(priority=priority, timeout=timeout)
        assert caught.value.retry_after == pytest.approx(late)
        assert house.edge.account.refused == 1
    house.accept(model="slow", priority=priority, timeout=timeout)


def test_an_outlook_that_is_old_says_nothing():
    """The supervisor may be stuck: then nobody is refused because of what it said last."""
    house = House()
    house.roster.outlooks = {"fast": outlook(house.clock.now(), rate=0.01)}
    house.clock.advance(2.9)
    with pytest.raises(OverloadedError):
        house.accept()
    house.clock.advance(0.2)
    house.accept()


def test_an_id_that_is_open_is_refused_and_later_free_again():
    """The ids of a caller's own must tell its requests apart."""
    house = House()
    first = house.accept(context=named("mine"))[1]
    with pytest.raises(ConfigurationError, match="'mine' is open already"):
        house.accept(context=named("mine"))
    assert not first.done()
    assert len(house.flights) == 1
    first.cancel()
    assert house.accept(context=named("mine"))[1].request_id == "mine"


def test_a_door_that_cannot_keep_a_deadline_accepts_nothing():
    """The first timer may find no thread."""

    class NoThread(HandClock):
        def call_later(self, delay, recipient, message):
            raise RuntimeError("can't start new thread")

    house = House(clock=NoThread())
    with pytest.raises(RuntimeError, match="new thread"):
        house.accept()
    assert (house.edge.account.accepted, house.edge.account.open, len(house.flights)) == (0, 0, 0)
    assert house.supervisor.told == []


def test_after_a_fork_the_door_refuses_before_any_lock(monkeypatch):
    """A lock may have been copied locked, and the threads behind it do not exist."""
    house = House()
    monkeypatch.setattr(fork, "_generation", fork.generation() + 1)
    with house.edge._lock, pytest.raises(ForkedProcessError):
        house.accept()


# --- outcomes ---


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


def test_a_closed_door_refuses_with_its_reason():
    """Each caller gets a copy; what is open goes on."""
    house = House()
    open_one = house.accept()[1]
    house.edge.close(STOPPED)
    refused = []
    for _ in range(2):
        with pytest.raises(RuntimeStoppedError, match="stopped") as caught:
            house.accept()
        refused.append(caught.value)
    assert len({id(one) for one in [*refused, STOPPED]}) == 3
    assert house.edge.account.refused == 2
    assert not open_one.done()


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


# --- keys ---

SAME = {
    "prompt": "Hello",
    "stream": False,
    "coalesce": True,
    "model": "fast",
    "context": named("1", tenant="acme"),
}


def key_of(**changed):
    return House().flight_of(**(SAME | changed)).key


def test_identical_requests_have_the_same_key():
    """Whatever does not change the answer: id, urgency, patience, notes."""
    assert key_of() == key_of() is not None
    assert key_of() == key_of(context=named("2", tenant="acme", metadata={"note": 1}))
    assert key_of() == key_of(priority="critical", timeout=3.0)
    assert key_of() == key_of(prompt=[{"content": "Hello", "role": "user"}])
    assert key_of(model="a") == key_of(model="a/model-a")


@pytest.mark.parametrize(
    "changed",
    [
        {"context": named("1", tenant="other")},
        {"context": named("1")},
        {"model": "slow"},
        {"model": "a"},
        {"stream": True},
        {"prompt": "Hello!"},
        {"max_tokens": 5},
        {"temperature": 0.5},
        {"seed": 1},
        {"tools": [{"type": "function", "function": {"name": "f"}}]},
        {"extra_body": {"top_p": 0.5}},
        {"idempotent": False},
        {"idempotent": True},
    ],
)
def test_what_may_change_the_answer_changes_the_key(changed):
    """Tenant, lane, form, whether it may be repeated, and every part of the payload."""
    assert key_of(**changed) not in (key_of(), None)


def test_all_different_requests_have_different_keys():
    """No two of all combinations meet, also not where the parts could run into each other."""
    keys = [
        key_of(context=named("1", tenant=tenant), model=model, stream=stream, prompt=prompt)
        for tenant, model, stream, prompt in itertools.product(
            (None, "a", "fast", "afast"), ("fast", "a", "b"), (False, True), ("a", "fast", "True")
        )
    ]
    assert len(set(keys)) == len(keys)


@pytest.mark.parametrize(
    ("options", "shared"),
    [
        ({}, False),
        ({"temperature": 0}, True),
        ({"temperature": 0.1}, False),
        ({"seed": 7}, True),
        ({"coalesce": True}, True),
        ({"temperature": 0, "coalesce": False}, False),
        ({"coalesce": True, "share": False}, False),
    ],
)
def test_only_what_is_meant_to_be_the_same_is_shared(options, shared):
    """Or what was asked for; never among the items of one ask_many."""
    assert (House().flight_of(**options).key is not None) is shared


# --- the account ---


class EdgeMachine(RuleBasedStateMachine):
    """Requests come, share, are answered, fail, are cancelled and expire; the door closes at some time."""

    @initialize(requests=st.integers(1, 6), size=st.integers(100, 2000))
    def begin(self, requests, size):
        self.size = size
        self.house = House(max_open_requests=requests, max_open_bytes=size)
        self.told, self.entries = [], []
        self.refused = self.accepted = 0
        self.closed = False

    @rule(
        length=st.integers(1, 400),
        timeout=st.floats(0.1, 30.0),
        seed=st.none() | st.integers(0, 1),
        own_id=st.none() | st.sampled_from(["x", "y"]),
    )
    def come(self, length, timeout, seed, own_id):
        context = None if own_id is None else named(own_id)
        come = partial(
            self.house.accept,
            "x" * length,
            timeout=timeout,
            seed=seed,
            context=context,
            stream=length % 2 == 0,
        )
        refusals = RuntimeStoppedError if self.closed else (OverloadedError, ConfigurationError)
        try:
            self.entries.append(come())
            self.accepted += 1
        except refusals:
            self.refused += 1

    @rule(data=st.data())
    def share(self, data):
        flights = [entry[0].flight for entry in self.entries if entry[0].flight.key is not None]
        if len(flights) > 1:
            one, other = data.draw(st.permutations(flights))[:2]
            if one is not other and one.key == other.key and not other.done:
                one.take_in(other)

    @rule(data=st.data())
    def be_answered(self, data):
        if self.entries:
            answer(data.draw(st.sampled_from(self.entries))[0].flight)

    @rule(data=st.data())
    def fail(self, data):
        if self.entries:
            data.draw(st.sampled_from(self.entries))[0].flight.fail(ServerError("no"))

    @rule(data=st.data())
    def cancel(self, data):
        if self.entries:
            ticket, pending = data.draw(st.sampled_from(self.entries))
            was_done = ticket.done
            assert pending.cancel() is (not was_done or pending.cancelled())

    @rule(seconds=st.floats(0.0, 20.0))
    def time_passes(self, seconds):
        self.house.clock.advance(seconds)
        for ticket, _ in self.entries:
            assert ticket.done or self.house.clock.time < ticket.deadline

    @rule()
    def fail_all(self):
        self.house.edge.fail_all(STOPPED)
        assert self.house.edge.account.open == 0

    @rule()
    def close(self):
        self.house.edge.close(STOPPED)
        self.closed = True

    @invariant()
    def the_account_balances(self):
        account = self.house.edge.account
        assert (account.accepted, account.refused) == (self.accepted, self.refused)
        assert account.accepted == account.answered + account.failed + account.open
        outcomes = [pending.outcome for _, pending in self.entries if pending.done()]
        assert account.answered == sum(outcome.ok for outcome in outcomes)
        assert account.open == sum(not ticket.done for ticket, _ in self.entries)

    @invariant()
    def nothing_is_left_of_what_has_ended(self):
        waiting = {ticket for ticket, _ in self.entries if not ticket.done}
        flights = self.house.flights.in_order()
        assert {ticket for flight in flights for ticket in flight.tickets} == waiting
        assert all(not flight.done for flight in flights)
        assert open_bytes(self.house) <= max(self.size, 500)
        if not waiting:
            assert open_bytes(self.house) == 0


TestEdge = EdgeMachine.TestCase
TestEdge.settings = settings(TestEdge.settings, max_examples=100, stateful_step_count=40)


def test_answers_cancels_and_deadlines_at_once_leave_one_outcome_each():
    """However the threads are switched; the account balances at every look and at the end."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        house = House()
        entries = [house.accept(seed=number % 5, timeout=1.0 + number % 7) for number in range(300)]
        start, looks = threading.Barrier(4), []

        def answer_all():
            start.wait(BOUND)
            for ticket, _ in entries:
                answer(ticket.flight)

        def cancel_all():
            start.wait(BOUND)
            for _, pending in reversed(entries):
                pending.cancel()

        def expire_all():
            start.wait(BOUND)
            house.clock.advance(10.0)

        def look():
            start.wait(BOUND)
            for _ in range(200):
                account = house.edge.account
                looks.append(account.accepted - account.answered - account.failed - account.open)

        threads = [threading.Thread(target=act) for act in (answer_all, cancel_all, expire_all, look)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(BOUND)
            assert not thread.is_alive()
        account = house.edge.account
        outcomes = [pending.outcome for _, pending in entries]
        assert set(looks) == {0}
        assert (account.accepted, account.open, open_bytes(house), len(house.flights)) == (300, 0, 0, 0)
        assert account.answered == sum(outcome.ok for outcome in outcomes)
        assert {type(outcome.error) for outcome in outcomes if not outcome.ok} <= {
            RequestCancelledError,
            DeadlineExceededError,
        }
    finally:
        sys.setswitchinterval(before)
