"""The door of the edge: what it lets in, what it refuses, and what it says then."""

from __future__ import annotations

import pytest

from showcaller.actors.enums import RequestPriority
from showcaller.actors.errors import (
    ConfigurationError,
    OverloadedError,
    RuntimeStoppedError,
    UnknownModelError,
)
from showcaller.actors.kernel import fork
from showcaller.actors.kernel.errors import ForkedProcessError
from showcaller.actors.messages import Coalesce, Route
from showcaller.actors.models import ChatRequest
from showcaller.actors.policies.admission import Outlook
from tests.hand_clock import HandClock
from tests.runtime.house import SIZE, STOPPED, House, named


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
