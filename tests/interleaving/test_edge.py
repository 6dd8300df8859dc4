"""The edge under every schedule: who is accepted has one outcome, and the account adds up."""

from __future__ import annotations

import pytest

from showcaller.actors import flight, flight_table, ticket
from showcaller.actors.backend_config import BackendConfig
from showcaller.actors.configuration import RuntimeConfig
from showcaller.actors.errors import OverloadedError, RuntimeStoppedError, ServerError
from showcaller.actors.flight_table import FlightTable
from showcaller.actors.kernel.clock import TimerHeap
from showcaller.actors.models import ChatRequest, RequestContext
from showcaller.actors.outbox import Outbox
from showcaller.actors.roster import Roster
from showcaller.actors.settings import RuntimeSettings
from showcaller.runtime import edge
from showcaller.runtime.edge import Account, Edge

MODULES = {"lines": [edge], "locks": [flight, flight_table, ticket]}
STOPPED = RuntimeStoppedError("stopped")
BROKEN = ServerError("broken")
CONFIG = RuntimeConfig(
    runtime=RuntimeSettings(model="model", max_open_requests=1),
    backends=[BackendConfig(name="a", backend_type="simulated", model="model")],
)


class Nobody:
    """Takes messages and does nothing with them."""

    def tell(self, message):
        pass


class StoppedClock:
    """Time that stands still; nothing expires unless the test says so."""

    def __init__(self):
        self.timers = TimerHeap()

    def now(self):
        return 100.0

    def call_later(self, delay, recipient, message):
        return self.timers.push(100.0 + delay, recipient, message)


class World:
    """An edge with room for one request, in front of a core that never answers."""

    def __init__(self):
        self.pending = []
        self.outcomes = []
        self.refused = []
        self.clock = StoppedClock()
        self.flights = FlightTable()
        self.edge = Edge(
            CONFIG.runtime,
            clock=self.clock,
            roster=Roster(CONFIG, [], self.flights, Outbox(Nobody(), [])),
            flights=self.flights,
            deduplicator=Nobody(),
            supervisor=self,
            callbacks=self,
            name="test",
        )

    def tell(self, message):
        """The supervisor hears of every flight."""

    def run(self, job):
        """The callback threads: at once."""
        job.step()

    def accept(self, request_id):
        request = ChatRequest("Hello", context=RequestContext(request_id=request_id))
        try:
            _, pending = self.edge.accept(request, on_outcome=self.outcomes.append)
        except (OverloadedError, RuntimeStoppedError) as error:
            self.refused.append(error)
        else:
            self.pending.append(pending)


def accept(world):
    world.accept("a")


def accept_too(world):
    world.accept("b")


def full():
    world = World()
    accept(world)
    return world


def stop(world):
    world.edge.close(STOPPED)
    world.edge.fail_all(STOPPED)


def cancel(world):
    world.edge.cancel("a")


def fail(world):
    for each in world.flights.in_order():
        each.fail(BROKEN)


def expire(world):
    while (timer := world.clock.timers.pop_due(1000.0)) is not None:
        timer.fire()


def leave(world):
    assert world.edge.wait_until_empty(60.0)


def settled(world):
    done = [pending for pending in world.pending if pending.done()]
    assert len(world.outcomes) == len(done)
    assert world.edge.account == Account(
        accepted=len(world.pending),
        answered=0,
        failed=len(done),
        open=len(world.pending) - len(done),
        refused=len(world.refused),
    )
    # What is over is on no list, and what is open is on both.
    assert len(world.flights) == world.edge.account.open


def all_ended(world):
    settled(world)
    assert world.edge.account.open == 0


def test_who_comes_while_the_door_closes_is_refused_or_has_an_outcome(explore):
    """Nobody slips in behind the last look."""
    explore(World, [accept, stop], all_ended, **MODULES)


def test_the_door_counts_who_is_inside(explore):
    """Never more than there is room for, and nobody is counted twice."""

    def check(world):
        settled(world)
        assert world.edge.account.open <= 1

    explore(World, [accept, accept_too], check, **MODULES, at_lines=1)


def test_a_request_that_is_cancelled_as_it_is_accepted_leaves_nothing_behind(explore):
    """The cancel may find it before the table of flights has it."""
    explore(World, [accept, cancel], settled, **MODULES)


@pytest.mark.parametrize("others", [[cancel, fail], [cancel, expire], [expire, fail], [fail, stop]])
def test_whoever_ends_a_request_ends_it_once(explore, others):
    """Cancel, deadline, answer and stop may all come at the same time."""
    explore(full, others, all_ended, **MODULES, at_locks=2, at_lines=1)


def test_who_waits_for_the_last_one_to_leave_is_told(explore):
    """Whenever that is."""
    explore(full, [leave, cancel], all_ended, **MODULES)


def test_a_planted_door_without_the_lock_is_found(find, plant):
    """It closes between the look and the entry, and one is inside for whom nobody looks any more."""
    plant(Edge._enter, {"with self._lock:": "if True:"})
    find(World, [accept, stop], all_ended, **MODULES)


def test_a_planted_flight_that_stays_on_the_table_is_found(find, plant):
    """It was cancelled before it was entered there, and nobody else takes it off."""
    plant(Edge.accept, {"if flight.done:": "if False:"})
    find(World, [accept, cancel], settled, **MODULES)
