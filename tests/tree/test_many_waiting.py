"""What one message costs does not grow with the number of those who wait: nobody goes through all of them at once."""

from __future__ import annotations

import pytest

from showcaller.actors.configuration import RuntimeConfig
from showcaller.actors.route_config import RouteConfig
from showcaller.actors.waiting_flights import WaitingFlights
from tests.tree.stage import HANG, OK, Script, Stage, backend, stage


@pytest.fixture
def searches(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many were waiting, each time a queue was gone through."""
    seen: list[int] = []
    drain = WaitingFlights.drain

    def counted(queue: WaitingFlights) -> list[object]:
        seen.append(queue.size())
        return drain(queue)

    monkeypatch.setattr(WaitingFlights, "drain", counted)
    return seen


def test_a_limit_that_refuses_each_one_first_goes_through_nobody_who_has_time(searches: list[int]) -> None:
    """Each is refused, and asks again when the one before has given back what it did not need."""
    config = RuntimeConfig(
        backends=[backend("a", rate_limit_tpm=1500), backend("b", max_parallel_requests=1)],
        routes=[RouteConfig(name="fast", targets=["a"], fallbacks=["b"])],
    )
    s = Stage(config, {"a": Script(OK), "b": Script(HANG)})
    for number in range(20):
        s.submit(f"waits {number}", model="fast", timeout=300.0)
    s.advance(0.9)
    assert len(s.transports["a"].attempts) > 5
    assert searches == []


def test_who_becomes_more_urgent_while_nobody_can_leave_is_found_when_somebody_can(
    searches: list[int],
) -> None:
    """Once for all of them."""
    s = stage({"a": Script([*HANG[:1], 0.5, *OK[-1:]], OK)}, max_parallel_requests=1)
    s.submit("keeps it busy")
    low = [s.submit(f"waits {number}", coalesce=True, priority="low") for number in range(20)]
    s.settle()
    for number in reversed(range(10, 20)):
        s.submit(f"waits {number}", coalesce=True, priority="high")
    s.settle()
    assert searches == []
    s.advance(0.65)
    assert [one.done() for one in low] == [False] * 10 + [True] + [False] * 9
    assert searches == [20]


def test_nothing_is_left_of_the_queues_in_which_nobody_waits_any_more() -> None:
    """There are as many as there are kinds of requests, and each message looks at all of them."""
    s = stage({"a": Script(OK), "b": Script(OK, OK)}, max_parallel_requests=1)
    for number in range(20):
        s.submit(f"waits {number}", model="fast" if number % 2 else "b")
    s.advance(5.0)
    s.at_rest()
    supervisor = s.tree.children["supervisor"].address.ref._actor_weakref()  # type: ignore[union-attr]
    assert [lane.queues for lane in supervisor._departures._table._lanes.values()] == [{}, {}]
