"""The attempts of a flight: what is allowed to each of them, and that one alone answers."""

from __future__ import annotations

import itertools

import pytest

from showcaller.actors.attempt import LIVE
from showcaller.actors.errors import ServerError
from tests.actors.flights import (
    CLAIMED,
    COMMITTED,
    ENDED,
    RESERVING,
    REVOKED,
    STEPS,
    TABLE,
    Client,
    Landings,
    act,
    begin,
    flight_of,
    respond,
)


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
