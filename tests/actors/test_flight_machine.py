"""A flight in any order of steps: who waited gets one outcome, and nobody else any."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from showcaller.actors.attempt import LIVE
from showcaller.actors.enums import RequestPriority
from showcaller.actors.errors import ServerError
from tests.actors.flights import (
    CLAIMED,
    COMMITTED,
    DISPATCHED,
    ENDED,
    GONE,
    RESERVING,
    REVOKED,
    STEPS,
    TABLE,
    Client,
    Landings,
    act,
    flight_of,
)

FORWARD = {RESERVING: "dispatched", DISPATCHED: "claim", CLAIMED: "commit"}
"""The way to a stream that has begun."""


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
