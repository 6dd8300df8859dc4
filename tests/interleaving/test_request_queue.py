"""A request queue under every schedule: nothing is lost or doubled, the bound holds, nobody sleeps beside a request."""

from __future__ import annotations

import itertools
from types import SimpleNamespace

import pytest
from attrs import define, field

from showcaller.actors.errors import OverloadedError, QueueClosedError
from showcaller.runtime import request_queue
from showcaller.runtime.request_queue import RequestQueue

LONG = 60.0
"""Seconds that nobody waits here: what only they would end is a wake-up that was lost."""


@define
class World:
    """A queue with one place, what came out of it, and what it refused."""

    queue: RequestQueue = field(factory=lambda: RequestQueue(1, timer=itertools.count().__next__))
    got: list = field(factory=list)
    refused: list = field(factory=list)
    late: int = 0
    closed: int = 0

    def put(self, *prompts):
        for prompt in prompts:
            try:
                self.queue.enqueue(prompt)
            except (OverloadedError, QueueClosedError):
                self.refused.append(prompt)

    def get(self, timeout=LONG):
        try:
            request = self.queue.dequeue(timeout)
        except QueueClosedError:
            self.closed += 1
            return
        if request is None:
            self.late += 1
        else:
            self.got.append(request.prompt)


def roomy():
    return World(RequestQueue(2, timer=itertools.count().__next__))


def put_a(world):
    world.put("a")


def put_b(world):
    world.put("b")


def put_both(world):
    world.put("a", "b")


def get(world):
    world.get()


def look(world):
    world.get(0.0)


def close(world):
    world.queue.close()


def accounted(*prompts):
    """Each came out, was refused, or waits; and where somebody waited in vain nothing is left."""

    def check(world):
        left = [request.prompt for request in world.queue.get_pending()]
        assert sorted(world.got + world.refused + left) == sorted(prompts)
        assert not (world.closed and left)
        assert not world.queue._gates

    return check


def bounded(world):
    left = [request.prompt for request in world.queue.get_pending()]
    assert len(left) == 1
    assert sorted(left + world.refused) == ["a", "b"]


def served(world):
    assert sorted(world.got) == ["a", "b"]
    assert world.late == 0


@pytest.fixture
def time_that_flies(monkeypatch):
    """Half of the timeout has passed at each look, so that a wait that has ended so is not begun for ever."""

    def start():
        monkeypatch.setattr(
            request_queue, "time", SimpleNamespace(monotonic=itertools.count(step=LONG / 2).__next__)
        )
        return World()

    return start


def test_two_that_wait_get_one_each(explore):
    """Whoever is woken, and whoever comes in between."""
    explore(roomy, [get, get, put_both], served, lines=[request_queue], at_locks=2, at_lines=1)
    explore(roomy, [get, get, put_a, put_b], served, lines=[request_queue], at_locks=1, at_lines=0)


def test_one_place_is_taken_once(explore):
    """The other is refused."""
    explore(World, [put_a, put_b], bounded, lines=[request_queue])


def test_who_waits_gets_what_a_passer_by_leaves(explore):
    """One that does not wait may take what another was woken for; that sleeps on, and has the next."""
    options = {"lines": [request_queue], "at_locks": 2, "at_lines": 1}
    explore(roomy, [get, look, put_both], accounted("a", "b"), **options)


def test_the_close_wakes_who_waits(explore):
    """What came before it is served; nobody waits for what cannot come."""
    explore(World, [get, put_a, close], accounted("a"), lines=[request_queue], at_locks=2, at_lines=1)
    explore(World, [get, get, put_a, close], accounted("a"), lines=[request_queue], at_locks=1, at_lines=0)


def test_a_wait_that_ends_by_its_time_loses_nothing(explore, time_that_flies):
    """It may be woken at that very moment: then it takes what came, or leaves it to the next."""
    options = {"lines": [request_queue], "timeouts": True, "at_locks": 2, "at_lines": 1}
    explore(time_that_flies, [get, put_a], accounted("a"), **options)
    explore(time_that_flies, [get, get, put_a], accounted("a"), **options)


def test_a_planted_look_at_the_room_without_the_lock_is_found(find, plant):
    """Two see the last place."""
    plant(RequestQueue.enqueue, {"with self._lock:": "if True:"})
    find(World, [put_a, put_b], bounded, lines=[request_queue])


def test_a_planted_sleep_after_an_unlocked_look_is_found(find, plant):
    """What comes between the look and the sleep wakes nobody."""
    plant(RequestQueue.dequeue, {"with self._lock:": "if True:"})
    find(World, [get, put_a], accounted("a"), lines=[request_queue])


def test_a_planted_close_that_wakes_one_is_found(find, plant):
    """The others sleep on."""
    plant(RequestQueue.close, {"while self._gates:": "if self._gates:"})
    find(World, [get, get, close], accounted(), lines=[request_queue])
