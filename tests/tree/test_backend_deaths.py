"""The death of a backend's actor: what it had in flight, what it was paid for, and when the backend is given up."""

from __future__ import annotations

import pytest
from attrs import evolve

from showcaller.actors.errors import AllBackendsFailedError, AuthenticationError, BackendError, ServerError
from showcaller.actors.kernel.child import ChildState
from showcaller.actors.kernel.message import Down
from showcaller.actors.response_validators import matches
from showcaller.actors.transport import Failed, Sent
from tests.tree.stage import HANG, OK, Script, answer, drain, stage


def test_what_a_dead_backend_had_in_flight_is_answered_elsewhere_without_waiting() -> None:
    """An attempt whose actor died is not waited for alone."""
    hanging = Script(HANG)
    s = stage({"a": hanging, "b": Script(OK)})
    pending = s.submit()
    s.advance(0.5)
    s.crash("a")
    s.advance(0.5)
    assert pending.result(0).backend == "b"
    assert hanging.attempts[0].cancel.cancelled


def test_a_paid_answer_counts_even_if_its_backend_has_died_since() -> None:
    """The first answer wins, and the other attempt is cancelled."""
    slow = Script(HANG)
    s = stage({"a": Script([Sent(), 1.0, answer("paid")]), "b": slow})
    pending = s.submit()
    s.advance(0.5)
    s.crash("a")
    s.advance(0.6)
    assert (pending.result(0).content, pending.result(0).backend) == ("paid", "a")
    assert slow.attempts[0].cancel.cancelled
    s.wake_cancelled()
    s.at_rest()


def test_what_was_carried_out_once_is_not_repeated_for_the_failure_of_another_attempt() -> None:
    """The first hangs where it may be repeated, and its actor dies; the second is answered where it may not be."""
    first = Script([Sent(), 5.0, Failed(ServerError("late"))], OK)
    second = Script(OK)
    s = stage({"a": first, "b": second})
    slot = s.tree.roster.slots["b"]
    slot.config = evolve(slot.config, idempotent=False)
    pending = s.submit(validators=[matches("^Yes")])
    s.advance(0.1)
    s.crash("a")
    s.advance(1)
    assert (len(first.attempts), len(second.attempts)) == (1, 1)
    assert not pending.done()
    s.advance(10)
    assert isinstance(pending.exception(0), AllBackendsFailedError)
    assert (len(first.attempts), len(second.attempts)) == (1, 1)
    s.at_rest()


def test_a_request_that_may_not_be_repeated_waits_for_its_one_attempt() -> None:
    """idempotent=False is not sent twice because an actor died."""
    other = Script(OK)
    s = stage({"a": Script([Sent(), 1.0, answer("once")]), "b": other})
    pending = s.submit(idempotent=False)
    s.advance(0.5)
    s.crash("a")
    s.advance(1)
    assert pending.result(0).content == "once"
    assert not other.attempts


def test_a_request_under_which_two_backends_died_is_not_given_to_a_third() -> None:
    """A poison request stops after two crashes."""
    third = Script(OK)
    s = stage(
        {"a": Script([Sent(), 50.0, answer()]), "b": Script([Sent(), 50.0, answer()]), "c": third},
        timeout=20.0,
    )
    pending = s.submit(timeout=200)
    for name in "ab":
        s.advance(0.5)
        s.crash(name)
    s.advance(0.5)
    assert not third.attempts
    assert not pending.done()
    s.advance(30)
    assert isinstance(pending.exception(0), AllBackendsFailedError | BackendError)
    assert not third.attempts


def test_a_backend_that_crashes_too_often_is_failed_reported_and_tried_again_later() -> None:
    """Five restarts in a minute are allowed, the sixth crash is one too many; five minutes later it runs again."""
    s = stage({"a": Script(OK), "b": Script(OK)})
    child = s.tree.roster.slots["a"].child
    assert child is not None
    for _ in range(5):
        s.crash("a")
        s.advance(5)
        assert child.state is ChildState.RUNNING
    s.crash("a")
    s.advance(1)
    assert child.state is ChildState.FAILED
    assert s.tree.roster.slots["a"].out_of_service is not None
    pending = s.submit()
    s.advance(1)
    assert pending.result(0).backend == "b"
    s.advance(300)
    assert child.state is ChildState.RUNNING
    again = s.submit()
    s.advance(1)
    assert again.result(0).backend == "a"


def test_a_request_whose_every_backend_has_failed_is_told_so_at_once() -> None:
    """There is no point in waiting for a slot that is tried again in five minutes."""
    s = stage({"a": Script(OK)})
    for _ in range(6):
        s.crash("a")
        s.advance(5)
    pending = s.submit()
    s.advance(0.1)
    assert "crashed too often" in str(pending.exception(0))


@pytest.mark.parametrize("change", ["drain", "fail", "breaker"])
def test_a_paid_answer_counts_although_nothing_else_could_be_tried(change: str) -> None:
    """A lone backend's actor has died; the seat still answers, whatever becomes of the backend meanwhile."""
    s = stage({"a": Script([Sent(), 20.0, answer("paid")])}, route={"allowed_fails": 1})
    if change == "fail":
        for _ in range(5):
            s.crash("a")
            s.advance(7)
    pending = s.submit(timeout=25)
    s.advance(0.1)
    slot = s.tree.roster.slots["a"]
    if change == "breaker":
        slot.not_before = s.clock.now() + 60
    s.crash("a")
    s.advance(0.1)
    if change == "drain":
        drain(s, "a", 30)
    s.advance(21)
    assert pending.result(0).content == "paid"


def test_an_attempt_that_was_cancelled_before_it_had_a_seat_is_not_counted_after_its_actors_death() -> None:
    """Nobody else would ever say that it has ended."""
    s = stage({"a": Script(OK)}, max_parallel_requests=1)
    pending = s.submit("given up")
    while not s.tree.roster.slots["a"].in_flight or not any(
        record.dispatched for record in s.tree.roster.slots["a"].in_flight.values()
    ):
        assert s.dispatcher.step()
    died = s.sabotage("a", "on_execute", after=False)
    pending.cancel()
    s.settle()
    assert died
    assert not s.tree.roster.slots["a"].in_flight
    after = s.submit("next")
    s.advance(2)
    assert after.result(0).content
    s.at_rest()


def test_a_request_of_which_two_backends_died_before_they_sent_it_is_not_given_to_a_third() -> None:
    """What an actor had in hand when it died is what it may have died of, although nothing was sent."""
    third = Script(OK)
    s = stage({"a": Script(OK), "b": Script(OK), "c": third})
    died = [s.sabotage(name, "on_execute", after=False) for name in "ab"]
    pending = s.submit()
    s.advance(5.0)
    assert died == [[1], [1]]
    assert isinstance(pending.exception(0), AllBackendsFailedError)
    assert third.attempts == []
    s.at_rest()


def test_a_request_under_which_two_backends_died_is_not_tried_again_when_its_attempts_fail() -> None:
    """Both were waited for, because both may have answered."""
    unwell = Failed(ServerError("a: HTTP 503", backend="a", status=503))
    third = Script(OK)
    dying = Script([Sent(), 3.0, unwell])
    s = stage({"a": dying, "b": dying, "c": third}, settings={"num_retries": 8})
    pending = s.submit()
    for name in "ab":
        s.advance(0.5)
        s.crash(name)
    s.advance(1.0)
    assert not pending.done()
    s.advance(5.0)
    assert isinstance(pending.exception(0), AllBackendsFailedError)
    assert third.attempts == []
    s.at_rest()


def test_a_death_of_which_the_supervisor_hears_again_says_nothing_about_the_next_incarnation() -> None:
    """Which lives, and keeps what it was given."""
    script = Script([Sent(), 3.0, answer()])
    s = stage({"a": script})
    s.crash("a")
    s.advance(2.0)
    slot = s.tree.roster.slots["a"]
    assert (slot.child.state, slot.generation) == (ChildState.RUNNING, 2)  # type: ignore[union-attr]
    pending = s.submit()
    s.advance(1.0)
    s.tree.address("supervisor").tell(Down(slot.id, 1))
    s.advance(3.0)
    assert (slot.child.state, slot.generation) == (ChildState.RUNNING, 2)  # type: ignore[union-attr]
    assert pending.result(0).attempts == len(script.attempts) == 1
    s.at_rest()


def test_who_waits_while_its_attempt_fails_for_good_does_not_wait_for_that_backend_any_more() -> None:
    """Its actor has died, so it waits beside the attempt; and somebody more urgent is in front."""
    a = Script([Sent(), 2.0, Failed(AuthenticationError("a: HTTP 401", backend="a", status=401))], HANG)
    s = stage({"a": a}, max_parallel_requests=1)
    pending = s.submit(timeout=100.0)
    s.advance(0.5)
    s.crash("a")
    urgent = s.submit("urgent", timeout=100.0, priority="critical")
    s.advance(1.0)
    assert pending.ticket.flight.queued  # type: ignore[attr-defined]
    s.advance(0.6)
    assert isinstance(pending.exception(0), AllBackendsFailedError | AuthenticationError)
    assert [attempt.request_id for attempt in a.attempts] == [pending.request_id, urgent.request_id]
