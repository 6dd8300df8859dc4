"""A flight that several threads act on at once: each of its requests gets one outcome."""

from __future__ import annotations

import sys
import threading
from functools import partial

import pytest

from showcaller.actors.enums import Source
from showcaller.actors.errors import ServerError
from showcaller.actors.models import Answered
from tests.actors.flights import BOUND, CLAIMED, GONE, REVOKED, Client, Landings, begin, flight_of, respond


@pytest.fixture
def often():
    """Lets the interpreter switch threads as often as it can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def race(*steps):
    """Do all steps at once, each on a thread; what they said."""
    said = [None] * len(steps)
    start = threading.Barrier(len(steps))

    def run(place, step):
        start.wait(BOUND)
        said[place] = step()

    threads = [threading.Thread(target=run, args=numbered) for numbered in enumerate(steps)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(BOUND)
        assert not thread.is_alive()
    return said


@pytest.mark.usefixtures("often")
def test_claim_and_revoke_never_both_win():
    """What is taken back before it was claimed is not sent."""
    for _ in range(150):
        flight = flight_of(Client("1"))
        attempt = begin(flight, "dispatched")
        claimed, revoked = race(partial(flight.claim, attempt), partial(flight.revoke_unclaimed, attempt))
        assert claimed is not revoked
        assert attempt.state is (CLAIMED if claimed else REVOKED)


@pytest.mark.usefixtures("often")
def test_two_commits_never_both_win():
    """One attempt alone writes into the stream."""
    for _ in range(150):
        flight = flight_of(Client("1"), stream=True)
        attempts = [begin(flight, "dispatched", "claim") for _ in range(2)]
        said = race(*(partial(flight.commit, attempt) for attempt in attempts))
        assert sorted(said) == [False, True]
        assert sorted(attempt.scope.cancelled for attempt in attempts) == [False, True]


@pytest.mark.usefixtures("often")
def test_every_race_for_the_end_has_one_winner():
    """Two answers, an error, a caller that leaves and one that comes: one outcome each, one landing."""
    for number in range(200):
        first, second, late = Client("1"), Client("2"), Client("3")
        landings = Landings()
        flight = flight_of(first, stream=number % 2 == 0, on_done=landings)
        flight.attach(second.ticket)
        one, two = (begin(flight, "dispatched", "claim") for _ in range(2))
        answered, again, failed, left, joined = race(
            partial(flight.answer, one, respond),
            partial(flight.answer, two, respond),
            partial(flight.fail, ServerError("no")),
            partial(flight.detach, first.ticket, GONE),
            partial(flight.attach, late.ticket),
        )
        assert [answered, again, failed].count(True) == 1
        assert left is False
        assert landings.landed == [flight]
        assert flight.live == []
        ok = answered or again
        assert [outcome.ok for outcome in second.outcomes] == [ok]
        assert [outcome.ok for outcome in first.outcomes] in ([], [ok])
        assert [outcome.ok for outcome in late.outcomes] == ([ok] if joined else [])


@pytest.mark.usefixtures("often")
def test_a_request_that_is_moved_while_it_ends_has_one_outcome():
    """Whether its deadline, its old flight or its new one is quicker; and no flight keeps it for ever."""
    for _ in range(200):
        leader, follower = Client("1"), Client("2")
        flight, other = flight_of(leader), flight_of(follower, order=2)
        attempt = begin(flight, "dispatched", "claim")

        def expire(ticket=follower.ticket):
            if ticket.complete(Answered("2", respond(ticket, Source.LIVE))):
                ticket.flight.detach(ticket, GONE)

        race(partial(flight.take_in, other), partial(flight.answer, attempt, respond), expire)
        assert follower.outcome.ok
        assert leader.outcome.ok
        assert follower.ticket not in flight.tickets + other.tickets
