"""Interleavings that a review found: stale messages, races between threads, and requests that wait in vain."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from showcaller.actors.errors import (
    AuthenticationError,
    BackendError,
    BackendRetiredError,
    BackendTimeoutError,
    BackendUnreachableError,
    DeadlineExceededError,
    RateLimitError,
    ServerError,
)
from showcaller.actors.kernel.reply import ReplyFuture
from showcaller.actors.messages import DrainBackend
from showcaller.actors.models import Usage
from showcaller.actors.routing import RoutingTable
from showcaller.actors.settings import QuotaConfig
from showcaller.actors.transport import Attempt, Chunk, Done, Failed, Pause, Sent
from showcaller.runtime.streams import AsyncChatStream
from tests.tree.stage import HANG, OK, Script, Stage, answer, stage


def drain(s: Stage, name: str, seconds: float, *, remove: bool = False) -> ReplyFuture:
    """Ask the supervisor to drain a backend."""
    reply = ReplyFuture()
    s.tree.address("supervisor").tell(DrainBackend(name, s.clock.now() + seconds, remove, reply))
    s.settle()
    return reply


def failed(error: type[BackendError], name: str, **fields: Any) -> list[Any]:
    """A play that fails at once."""
    return [Sent(), Failed(error(f"{name}: {error.__name__}", backend=name, **fields))]


# --- stale messages ---


@pytest.mark.parametrize(
    ("victim", "handler"), [("quota_manager", "on_reserve"), ("supervisor", "on_granted")]
)
def test_a_grant_that_comes_twice_does_not_repeat_the_request(victim: str, handler: str) -> None:
    """The message in hand at a death is handled again, when its attempt is being carried out already."""
    script = Script([Sent(), 2.0, answer("once")])
    s = stage({"a": script}, quota=QuotaConfig(requests_per_day=100))
    happened = s.sabotage(victim, handler, after=True)
    pending = s.submit(idempotent=False)
    s.advance(5)
    assert happened
    assert len(script.attempts) == 1
    assert pending.result(0).content == "once"
    assert s.tree.quotas.remaining(s.clock.wall())["all backends"]["requests_per_day"] == 99
    s.at_rest()


def test_a_grant_that_comes_twice_does_not_begin_a_stream_anew() -> None:
    """A stream whose first chunk was read goes on from where it is."""
    script = Script(
        [Sent(), Chunk("he"), 2.0, Chunk("y"), answer("hey")], [Sent(), 3.0, Chunk("other"), answer()]
    )
    s = stage({"a": script})
    s.sabotage("quota_manager", "on_reserve", after=True)
    pending = s.submit(stream=True)
    s.advance(6)
    chunks = []
    while (chunk := pending.ticket.take_chunk(0)) is not None:  # type: ignore[attr-defined]
        chunks.append(chunk.text)
    assert (chunks, len(script.attempts)) == (["he", "y"], 1)
    s.at_rest()


def test_a_stream_that_has_begun_is_not_begun_a_second_time_from_the_queue() -> None:
    """Its backend's actor died, it was queued for another, and its first chunk came while it waited."""
    first = Script([Sent(), 1.0, Chunk("he"), 5.0, Chunk("y"), answer("hey")])
    other = Script([Sent(), 2.0, answer("busy")], [Sent(), Chunk("other"), 1.0, answer("other")])
    s = stage({"a": first, "b": other}, max_parallel_requests=1)
    pending = s.submit(stream=True)
    s.advance(0.1)
    s.submit("keeps b busy", model="b")
    s.advance(0.1)
    s.crash("a")
    s.advance(10)
    chunks = []
    while (chunk := pending.ticket.take_chunk(0)) is not None:  # type: ignore[attr-defined]
        chunks.append(chunk.text)
    assert chunks == ["he", "y"]
    assert len(other.attempts) == 1
    s.at_rest()


@pytest.mark.parametrize("change", ["retired", "open", "paused"])
def test_a_late_grant_is_not_used_at_a_backend_that_must_not_be_asked_any_more(change: str) -> None:
    """While the quota manager restarts, the backend retires, its breaker opens, or it asks for a pause."""
    error: dict[str, list[Any]] = {
        "retired": failed(BackendRetiredError, "a"),
        "open": failed(ServerError, "a"),
        "paused": failed(RateLimitError, "a", retry_after=30.0),
    }
    play = error[change]
    a = Script([play[0], 0.1, play[1]], OK)
    s = stage({"a": a, "b": Script(OK)}, route={"allowed_fails": 1, "cooldown_time": 30.0})
    first = s.submit("first", timeout=20)
    s.advance(0.05)
    s.crash("quota_manager")
    s.submit("second", timeout=20)
    s.advance(3)
    assert [attempt.request_id for attempt in a.attempts] == [first.request_id]
    s.at_rest()


# --- races between a caller's thread and the supervisor's ---


def test_a_request_that_ends_just_as_it_leaves_the_queue_takes_no_other_with_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A caller's thread cancels between the choice of a backend and the departure."""
    script = Script(OK)
    s = stage({"a": script}, max_parallel_requests=1)
    s.submit("busy")
    s.settle()
    second, third = s.submit("second"), s.submit("third", timeout=50)
    s.settle()
    choose = RoutingTable._choose

    def choose_while_it_is_cancelled(self: Any, lane: Any, flight: Any, *args: Any) -> Any:
        slot = choose(self, lane, flight, *args)
        if slot is not None and flight.id == second.request_id:
            second.cancel()
        return slot

    monkeypatch.setattr(RoutingTable, "_choose", choose_while_it_is_cancelled)
    s.advance(5)
    assert third.done()
    assert third.result(0).content == "hi"
    s.at_rest()


def test_an_asyncio_reader_is_woken_although_its_request_joined_another_just_then() -> None:
    """The follower is moved to the leader's stream while it says how it wants to be woken."""
    s = stage({"a": Script([Sent(), Chunk("he"), 5.0, answer("he")])})
    s.submit("same", temperature=0, stream=True)
    s.settle()
    pending = s.submit("same", temperature=0, stream=True)
    ticket = pending.ticket  # type: ignore[attr-defined]

    class Moving:
        """The ticket, whose flight is taken in by another as soon as its reader was looked up."""

        take_chunk = ticket.take_chunk
        is_readable = ticket.is_readable
        looked_up = False

        @property
        def reader(self) -> Any:
            reader = ticket.reader
            if not self.looked_up:
                self.looked_up = True
                s.settle()
                assert ticket.reader is not reader
            return reader

    async def first_chunk() -> Any:
        stream = AsyncChatStream(Moving(), pending)  # type: ignore[arg-type]
        return await asyncio.wait_for(anext(stream), 2.0)

    assert asyncio.run(first_chunk()).text == "he"


# --- an attempt that may still answer ---


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


# --- retries ---


def test_a_refused_credential_is_not_tried_again_because_the_other_backend_is_busy() -> None:
    """It waits for the backend that can help."""
    a = Script(failed(AuthenticationError, "a"))
    s = stage({"b": Script([Sent(), 3.0, answer()]), "a": a}, max_parallel_requests=1)
    s.submit("keeps b busy")
    s.advance(0.1)
    pending = s.submit("second")
    s.advance(10)
    assert len(a.attempts) == 1
    assert pending.result(0).backend == "b"


def test_a_failed_backend_is_not_asked_again_without_a_pause_because_the_other_is_busy() -> None:
    """An outage of a few milliseconds does not use up all retries."""
    a = Script(failed(ServerError, "a"))
    s = stage({"b": Script([Sent(), 3.0, answer()]), "a": a}, max_parallel_requests=1)
    s.submit("keeps b busy")
    s.advance(0.1)
    s.submit("second")
    s.advance(0.001)
    assert len(a.attempts) == 1


def test_a_request_that_must_wait_for_one_backend_does_not_hold_up_those_that_could_go_to_another() -> None:
    """What may not be tried at `a` again waits for `b`; the next in the queue goes to `a`."""
    a = Script(failed(ServerError, "a"), OK)
    s = stage({"b": Script([Sent(), 50.0, answer()]), "a": a}, max_parallel_requests=1, max_retries=0)
    s.submit("keeps b busy")
    s.advance(0.1)
    s.submit("has failed at a", timeout=100)
    s.advance(0.1)
    third = s.submit("third", timeout=100)
    s.advance(5)
    assert third.done()


# --- those who wait in vain ---


@pytest.mark.parametrize("change", ["retired", "failed"])
def test_a_queued_request_whose_last_backend_is_gone_is_told_so(change: str) -> None:
    """Not only who comes later, but also who waits already."""
    gone = [Sent(), 1.0, Failed(BackendRetiredError("gone", backend="a"))] if change == "retired" else HANG
    s = stage({"a": Script(gone)}, max_parallel_requests=1)
    if change == "failed":
        for _ in range(5):
            s.crash("a")
            s.advance(7)
    s.submit("first", timeout=100)
    s.advance(0.1)
    waiting = s.submit("waits", timeout=100)
    s.advance(0.1)
    if change == "failed":
        s.crash("a")
    s.advance(5)
    assert waiting.done()
    assert not isinstance(waiting.exception(0), DeadlineExceededError)


def test_a_drain_ends_when_the_last_attempt_is_taken_back() -> None:
    """Nobody waits for a backend that is empty already."""
    s = stage({"a": Script(OK), "b": Script(OK)})
    s.crash("quota_manager")
    s.submit()
    s.settle()
    assert s.tree.roster.slots["a"].in_flight
    reply = drain(s, "a", 500)
    s.advance(5)
    assert reply._done


# --- quotas ---


def test_no_number_of_tokens_ends_the_runtime() -> None:
    """A number that no float can hold is a large number, and not the end of the quota manager."""
    s = stage({"a": Script(OK)})
    s.submit(max_tokens=10**400, timeout=50)
    s.advance(60)
    assert not s.told
    assert s.tree.children["quota_manager"].restarts == 0


def test_no_number_of_tokens_that_a_backend_counts_ends_the_runtime() -> None:
    """What it says it used is not ours to believe, and no reason to die."""
    absurd = Done(
        message={"role": "assistant", "content": "hi"},
        finish_reason="stop",
        usage=Usage(input_tokens=10**400, output_tokens=2),
        model="m",
    )
    s = stage({"a": Script([Sent(), absurd])}, rate_limit_tpm=60_000)
    assert s.submit() is not None
    s.advance(5)
    assert s.tree.children["quota_manager"].restarts == 0
    assert s.tree.quotas.outstanding == 0


def test_a_request_that_is_too_large_for_now_fails_alone() -> None:
    """The tokens that it could not have are still there for smaller ones."""
    s = stage({"a": Script(OK)}, rate_limit_tpm=60_000)
    s.submit("spends some", max_tokens=40_000)
    s.settle()
    large = s.submit("large", max_tokens=50_000, timeout=10)
    s.settle()
    small = s.submit("small", max_tokens=10, timeout=10)
    s.advance(1)
    assert large.done()
    assert small.result(0).content == "hi"


def test_what_was_given_back_may_be_spent_at_once() -> None:
    """The one request of the hour did not reach its backend; the next one may."""
    nothing_sent = BackendUnreachableError("no connection", backend="a")
    s = stage(
        {"a": Script([0.5, Failed(nothing_sent)], OK)},
        quota=QuotaConfig(requests_per_hour=1),
        settings={"num_retries": 0},
    )
    s.submit("first", timeout=30)
    s.settle()
    s.submit("second", timeout=10)
    s.advance(2)
    assert s.tree.quotas.remaining(s.clock.wall())["all backends"]["requests_per_hour"] == 1
    third = s.submit("third", timeout=30)
    s.advance(2)
    assert third.result(0).content == "hi"


# --- whose fault it is ---


class Punctual(Script):
    """Hangs until the attempt's deadline, and keeps that itself."""

    def attempt(self, attempt: Attempt) -> Any:
        self.attempts.append(attempt)
        yield Sent()
        yield Pause(attempt.deadline - self.clock.now())  # type: ignore[attr-defined]
        yield Failed(BackendTimeoutError("too slow", backend="a", maybe_executed=True))


def test_callers_without_patience_do_not_open_the_breaker() -> None:
    """The deadline was the caller's; the backend had all its own time left."""
    script = Punctual()
    s = stage({"a": script})
    script.clock = s.clock  # type: ignore[attr-defined]
    errors = []
    for n in range(8):
        pending = s.submit(f"q{n}", timeout=0.05)
        s.advance(0.2)
        errors.append(type(pending.exception(0)))
    assert s.tree.roster.slots["a"].breaker.open_until is None
    assert set(errors) == {DeadlineExceededError}


def test_what_was_cancelled_before_it_was_granted_is_not_taken_for_a_hanging_seat() -> None:
    """Its reservation was lost with the quota manager; no backend was at fault, and nothing was spent."""
    s = stage({"a": Script(OK)}, route={"allowed_fails": 1}, quota=QuotaConfig(requests_per_day=10))
    child = s.tree.children["quota_manager"]
    s.sabotage("quota_manager", "on_reserve", after=False)
    pending = s.submit()
    while child.generation < 2:
        if not s.dispatcher.step():
            s.clock.time = s.clock.timers.next_at() or s.clock.time
            timer = s.clock.timers.pop_due(s.clock.time)
            assert timer is not None
            timer.fire()
    assert s.sabotage("quota_manager", "on_reserve", after=False) == []
    s.settle()
    pending.cancel()
    s.advance(20)
    slot = s.tree.roster.slots["a"]
    assert slot.breaker.open_until is None
    s.at_rest()


def test_a_request_that_may_not_be_repeated_shares_no_call_that_may() -> None:
    """Whether it may be sent again is part of what makes two requests identical."""
    script = Script(failed(ServerError, "a", maybe_executed=True), OK)
    s = stage({"a": script, "b": Script(OK)})
    s.submit("same", temperature=0)
    strict = s.submit("same", temperature=0, idempotent=False)
    s.advance(5)
    strict_id = strict.request_id
    assert sum(a.request_id == strict_id for t in s.transports.values() for a in t.attempts) == 1


# --- timers ---


def test_crashes_of_the_supervisor_leave_no_timers_behind() -> None:
    """However often it was restarted, one sweep a second is enough."""
    s = stage({"a": Script(HANG)}, max_parallel_requests=1)
    s.submit("first", timeout=1000)
    s.submit("second", timeout=1000)
    for _ in range(4):
        s.crash("supervisor")
        s.advance(5)
    sweeps = [
        entry[2].message
        for entry in s.clock.timers._heap
        if type(entry[2].message).__name__ in ("Sweep", "Wake")
    ]
    assert len(sweeps) == 1


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
