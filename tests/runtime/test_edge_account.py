"""The account of the edge: it balances, whatever happens in any order or at once."""

from __future__ import annotations

import sys
import threading
from functools import partial

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from showcaller.actors.errors import (
    ConfigurationError,
    DeadlineExceededError,
    OverloadedError,
    RequestCancelledError,
    RuntimeStoppedError,
    ServerError,
)
from tests.runtime.house import BOUND, STOPPED, House, answer, named, open_bytes


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
