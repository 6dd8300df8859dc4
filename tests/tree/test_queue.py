"""The queue in the tree: who waits, in which order they go, and what they are told when nothing can come."""

from __future__ import annotations

from typing import Any

import pytest

from showcaller.actors.errors import BackendRetiredError, DeadlineExceededError, ServerError
from showcaller.actors.routing import RoutingTable
from showcaller.actors.transport import Failed, Sent
from tests.tree.stage import HANG, OK, Script, Stage, answer, failed, stage


def test_requests_beyond_the_limit_wait_and_go_in_their_order() -> None:
    """In flight stays within max_parallel_requests; the oldest goes first."""
    script = Script(OK)
    s = stage({"a": script}, max_parallel_requests=2)
    all_of_them = [s.submit(f"q{n}", coalesce=False) for n in range(6)]
    s.advance(0.05)
    assert len(script.attempts) == 2
    s.advance(1)
    assert [one.result(0).request_id for one in all_of_them] == [a.request_id for a in script.attempts]
    s.at_rest()


def test_the_more_urgent_request_overtakes() -> None:
    """CRITICAL leaves the queue before NORMAL and LOW."""
    script = Script(OK)
    s = stage({"a": script}, max_parallel_requests=1)
    s.submit("busy")
    s.settle()
    low = s.submit("low", priority="low")
    normal = s.submit("normal")
    critical = s.submit("critical", priority="critical")
    s.advance(1)
    order = [attempt.request_id for attempt in script.attempts[1:]]
    assert order == [critical.request_id, normal.request_id, low.request_id]


@pytest.mark.parametrize(("ageing", "first"), [(2.0, "low"), (10.0, "high")])
def test_who_waits_long_enough_overtakes_the_more_urgent(ageing: float, first: str) -> None:
    """How long that is the settings say."""
    script = Script([Sent(), 5.0, answer()], OK)
    s = stage({"a": script}, max_parallel_requests=1, settings={"ageing": ageing})
    s.submit("busy")
    s.settle()
    waiting = {"low": s.submit("low", priority="low")}
    s.advance(4.9)
    waiting["high"] = s.submit("high", priority="high")
    s.advance(0.15)
    assert script.attempts[1].request_id == waiting[first].request_id


def table_of(s: Stage) -> RoutingTable:
    """The supervisor's queues."""
    ref = s.tree.children["supervisor"].address.ref
    assert ref is not None
    return ref._actor_weakref()._departures._table  # type: ignore[union-attr]


def test_who_has_left_is_not_counted_among_those_who_wait() -> None:
    """Or every step would look through queues in which nobody is."""
    s = stage({"a": Script(OK)}, max_parallel_requests=1)
    for _ in range(3):
        s.submit()
    s.settle()
    table = table_of(s)
    assert table.waiting == 2
    s.advance(0.3)
    assert table.waiting == 0


def test_who_has_given_up_counts_as_waiting_until_the_next_sweep_at_most() -> None:
    """Else the supervisor would look for somebody who is not there, for ever."""
    s = stage({"a": Script(HANG)}, max_parallel_requests=1)
    s.submit("keeps a busy")
    waiting = [s.submit(f"q{n}", coalesce=False) for n in range(3)]
    s.settle()
    for one in waiting:
        one.cancel()
    s.advance(1.1)
    assert table_of(s).waiting == 0


def test_when_nobody_waits_any_more_nobody_is_said_to_wait() -> None:
    """Neither to who comes nor to who looks."""
    s = stage({"a": Script(OK)}, max_parallel_requests=1)
    for _ in range(40):
        s.submit()
    s.advance(3.0)
    assert s.tree.roster.waiting[1] > 0
    assert s.tree.roster.outlooks["fast"].waiting == s.tree.roster.waiting
    s.advance(2.0)
    assert s.tree.roster.waiting == (0, 0, 0, 0)
    assert s.tree.roster.outlooks == {}


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
