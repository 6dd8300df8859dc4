"""A flight under every schedule: each of its requests gets one outcome, and an attempt answers or is revoked."""

from __future__ import annotations

from contextlib import suppress

from showcaller.actors import cancel, flight, stream_buffer, ticket
from showcaller.actors.attempt import AttemptState
from showcaller.actors.errors import StreamInterruptedError
from showcaller.actors.flight import Flight
from showcaller.actors.models import Answered, Errored
from tests.interleaving.flights import (
    GONE,
    answer,
    answer_too,
    attach,
    attach_and_read,
    begun_stream,
    claim,
    claimed,
    coalescing,
    coalescing_streams,
    coalescing_two,
    commit,
    commit_too,
    dispatch,
    dispatched,
    fail,
    fly,
    give_up,
    go_on,
    guest_gives_up,
    hedge,
    hedged,
    interrupt,
    read_as_guest,
    reserving,
    response,
    revoke,
    revoke_unclaimed,
    stream,
    streaming,
    take_in,
    take_in_and_fly,
)

MODULES = {"lines": [flight], "locks": [ticket, cancel, stream_buffer]}
THREE = {**MODULES, "at_locks": 2, "at_lines": 1}
"""Three threads have many more schedules than two."""


def read_what_is_there(world):
    texts = []
    with suppress(StreamInterruptedError):
        while (chunk := world.reader.take(0.0)) is not None:
            texts.append(chunk.text)
    return "".join(texts)


def whole_or_as_partial_says(world):
    (outcome,) = world.client.outcomes
    read = read_what_is_there(world)
    assert world.said["interrupt"] is not world.said["go on"]
    assert read == ("01" if isinstance(outcome, Answered) else outcome.error.partial)


def landed_once(world):
    assert world.landed == [world.flight]
    assert world.flight.done
    assert world.flight.tickets == ()
    assert world.flight.live == []


def attached_or_refused(world):
    landed_once(world)
    assert len(world.client.outcomes) == 1
    assert len(world.guest.outcomes) == int(world.said["attach"])


def answered_or_given_up(world):
    landed_once(world)
    assert world.client.answered or world.said["give up"] is not None
    # Who cancels the flight cancels its attempt; who finds it answered leaves it alone.
    assert world.first.scope.cancelled == (world.said["first"] is False)
    assert world.said["first"] != (world.said["give up"] is True)


def one_of_two(name, other):
    def check(world):
        assert sorted((world.said[name], world.said[other])) == [False, True]

    return check


def claimed_or_revoked(world):
    one_of_two("claim", "revoke")(world)
    assert world.flight.commit(world.first) == world.said["claim"]


def committed_or_revoked(world):
    one_of_two("commit", "revoke")(world)
    assert world.first.scope.cancelled == world.said["revoke"]
    assert world.flight.answer(world.first, response) == world.said["commit"]


def flown_or_revoked(world):
    one_of_two("answer", "revoke")(world)
    assert world.client.outcomes == [] or world.said["answer"]
    assert world.first.state is (AttemptState.ENDED if world.said["answer"] else AttemptState.REVOKED)


def one_answered(world):
    landed_once(world)
    assert world.client.answered
    one_of_two("first", "second")(world)
    assert world.first.scope.cancelled == world.said["second"]
    assert world.second.scope.cancelled == world.said["first"]


def one_committed(world):
    one_of_two("commit", "commit too")(world)
    assert world.flight.live == [world.first if world.said["commit"] else world.second]
    assert world.first.scope.cancelled != world.second.scope.cancelled


def committed_alone(world):
    assert world.said["commit"]
    assert world.flight.live == [world.first]
    assert world.second is None or world.second.scope.cancelled


def not_sent_when_given_up(world):
    landed_once(world)
    assert world.said["give up"] is True
    assert world.first.scope.cancelled
    assert not world.flight.claim(world.first)


def both_answered(world):
    assert world.client.answered
    assert world.guest.answered
    assert sorted(each.order for each in world.landed) == [1, 2]
    assert world.flight.tickets == world.other.tickets == ()


def three_answered(world):
    both_answered(world)
    assert world.friend.answered


def both_answered_and_read(world):
    both_answered(world)
    assert world.guest.read == ["0", "end"]


def answered_but_not_kept(world):
    assert world.guest.outcomes == [Errored("guest", GONE)]
    assert world.flight.tickets == (world.client.ticket,)
    assert world.other.done
    assert answer(world) is None
    assert world.client.answered
    assert len(world.guest.outcomes) == 1


def test_who_attaches_to_a_flight_that_ends_has_its_outcome_or_is_refused(explore):
    """By an answer, by an error, and by the last one who waits for it giving up."""
    explore(claimed, [attach, answer], attached_or_refused, **MODULES)
    explore(claimed, [attach, fail], attached_or_refused, **MODULES)
    explore(claimed, [attach, answer, fail], attached_or_refused, **THREE)


def test_who_attaches_to_a_stream_that_begins_reads_it_from_the_start(explore):
    """Or is refused; never from its middle, and never for ever."""

    def check(world):
        attached_or_refused(world)
        assert world.guest.read == (["0", "end"] if world.said["attach"] else [])

    explore(streaming, [attach_and_read, stream], check, **{**MODULES, "at_lines": 1})


def test_a_stream_that_is_interrupted_is_read_as_far_as_its_error_says(explore):
    """Whatever its seat still says meanwhile; or it is answered, and read whole."""
    explore(begun_stream, [go_on, interrupt], whole_or_as_partial_says, **MODULES)


def test_the_last_who_gives_up_cancels_what_was_not_answered(explore):
    """The request has one outcome and the flight lands once, whoever is first."""
    explore(claimed, [give_up, answer], answered_or_given_up, **MODULES)


def test_a_flight_that_fails_while_it_is_answered_and_given_up_ends_once(explore):
    """Three may wish to end it."""

    def check(world):
        landed_once(world)
        assert len(world.client.outcomes) == 1
        assert [world.said["first"], world.said["fail"], world.said["give up"]].count(True) == 1

    explore(claimed, [give_up, answer, fail], check, **THREE)


def test_an_attempt_is_claimed_or_revoked_unclaimed(explore):
    """Never both: what is given to another backend must not be sent by the first."""
    explore(dispatched, [claim, revoke_unclaimed], claimed_or_revoked, **MODULES)


def test_an_attempt_is_committed_or_revoked(explore):
    """What has begun to reach a caller is not taken back, and what was taken back does not reach him."""
    explore(claimed, [commit, revoke], committed_or_revoked, **MODULES)


def test_an_attempt_answers_or_is_revoked(explore):
    """On its whole way from claim to answer."""
    explore(dispatched, [fly, revoke], flown_or_revoked, **MODULES)


def test_an_attempt_that_nobody_waits_for_is_not_sent(explore):
    """Dispatched or not when the last one gave up, it is cancelled and cannot be claimed."""
    explore(reserving, [dispatch, give_up], not_sent_when_given_up, **MODULES)


def test_one_of_two_attempts_answers(explore):
    """The other one is cancelled, and every request has one outcome."""
    explore(hedged, [answer, answer_too], one_answered, **MODULES)
    explore(hedged, [commit, commit_too], one_committed, **MODULES)


def test_no_attempt_begins_beside_one_that_has_committed(explore):
    """It is refused, or was begun before and is revoked."""
    explore(claimed, [commit, hedge], committed_alone, **MODULES)


def test_a_request_that_is_taken_in_by_a_flight_that_lands_has_one_outcome(explore):
    """From the one it came to or, when that has landed, from its own."""
    explore(coalescing, [take_in_and_fly, answer], both_answered, **{**MODULES, "at_lines": 1})
    explore(coalescing_two, [take_in_and_fly, answer], three_answered, **{**MODULES, "at_lines": 1})


def test_a_stream_that_is_taken_in_is_read_whole(explore):
    """Its reader may wait at the old stream when it is moved to the new one."""
    explore(
        coalescing_streams,
        [take_in_and_fly, stream, read_as_guest],
        both_answered_and_read,
        **{**MODULES, "at_locks": 1, "at_lines": 0},
    )


def test_a_request_that_is_given_up_while_it_is_taken_in_keeps_no_flight_alive(explore):
    """It is in neither of the two afterwards, and the one who shares goes on."""
    explore(coalescing, [take_in, guest_gives_up], answered_but_not_kept, **MODULES)


def test_a_planted_claim_without_the_lock_is_found(find, plant):
    """It looks, is revoked, and is claimed all the same: sent twice."""
    plant(Flight.claim, {"with self._lock:": "if True:"})
    find(dispatched, [claim, revoke_unclaimed], claimed_or_revoked, **MODULES)


def test_a_planted_attach_without_the_lock_is_found(find, plant):
    """A request joins a flight that has just given its outcome to all others, and waits for ever."""
    plant(Flight.attach, {"with self._lock:": "if True:"})
    find(claimed, [attach, answer], attached_or_refused, **MODULES)


def test_a_planted_interruption_that_leaves_the_stream_open_is_found(find, plant):
    """The reader has chunks that the error's text lacks."""
    plant(Flight.interrupt, {"self.stream.seal()": "pass"})
    find(begun_stream, [go_on, interrupt], whole_or_as_partial_says, **MODULES)


def test_a_planted_answer_that_is_not_the_first_is_found(find, plant):
    """Two hedged attempts both answer when neither looks whether the flight is done under its lock."""
    plant(Flight.answer, {"with self._lock:": "if True:"})
    find(hedged, [answer, answer_too], one_answered, **MODULES)


def test_a_planted_move_that_forgets_who_gave_up_is_found(find, plant):
    """The ghost of a cancelled request keeps an upstream call alive that nobody wants."""
    plant(Flight.take_in, {"if ticket.done:": "if False:"})
    find(coalescing, [take_in, guest_gives_up], answered_but_not_kept, **MODULES)
