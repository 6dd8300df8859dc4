"""The supervisor's view of lanes, queues and slots: which flight is next, and where it may go now."""

from __future__ import annotations

import random

from showcaller.actors.errors import ConfigurationError
from showcaller.actors.flight import Flight
from showcaller.actors.log import STRATEGY_FAILED
from showcaller.actors.policies.load_balancer import Connections, LoadBalancer
from showcaller.actors.policies.request_queue import RequestQueue
from showcaller.actors.roster import Roster
from showcaller.actors.settings import RouteConfig
from showcaller.actors.slot import BackendSlot


class Lane:
    """A route with the flights that wait for it, and whose turn it is among its backends.

    Flights that are barred from some of its backends wait apart, so that they hold up nobody else.
    """

    def __init__(self, route: RouteConfig, rng: random.Random, connections: Connections) -> None:
        self.names = [target.backend for target in route.targets]
        self.balancer = LoadBalancer(route.routing_strategy, rng=rng, connections=connections)
        self.queues: dict[frozenset[str], RequestQueue[Flight]] = {}
        for target in route.targets:
            self.balancer.add_backend(target.backend, 1.0 if target.weight is None else target.weight)


class RoutingTable:
    """All lanes that are in use, over the slots of the roster.

    Attributes:
        connections: the only counter of attempts in flight by backend.
    """

    def __init__(self, roster: Roster, rng: random.Random) -> None:
        self.connections = Connections()
        self._roster = roster
        self._rng = rng
        self._lanes: dict[str, Lane] = {}

    @property
    def waiting(self) -> int:
        """How many flights are queued."""
        return sum(len(queue) for lane in self._lanes.values() for queue in lane.queues.values())

    def enqueue(self, flight: Flight) -> None:
        """Queue a flight, unless it is.

        Raises:
            UnknownModelError: its lane is gone.
        """
        if flight.queued:
            return
        lane = self._lanes.get(flight.lane)
        if lane is None:
            route = self._roster.config.route_for(flight.lane)
            lane = self._lanes[flight.lane] = Lane(route, self._rng, self.connections)
        queue = lane.queues.get(flight.barred)
        if queue is None:
            queue = lane.queues[flight.barred] = RequestQueue()
        queue.enqueue(flight)
        flight.queued = True

    def reroute(self) -> list[Flight]:
        """The roster has changed: forget the lanes; the flights that were queued, the oldest first."""
        waiting = [
            flight
            for lane in self._lanes.values()
            for queue in lane.queues.values()
            for flight in queue.drain()
        ]
        self._lanes.clear()
        for flight in waiting:
            flight.queued = False
        return sorted(waiting, key=lambda flight: flight.order)

    def slots_of(self, flight: Flight) -> list[BackendSlot]:
        """The slots of its lane that a flight is not barred from, in order; none when the lane is gone."""
        route = self._roster.config.names.get(flight.lane)
        slots = [] if route is None else self._roster.slots_of(route)
        return [slot for slot in slots if slot.name not in flight.barred] if flight.barred else slots

    def earliest(self, flight: Flight, now: float) -> float:
        """When the first of its lane's backends may take something, as far as that is known."""
        times = [slot.next_chance(now) or now for slot in self.slots_of(flight) if not slot.out_of_service]
        return min(times, default=now)

    def next_departure(self, now: float) -> tuple[Flight, BackendSlot] | None:
        """The most urgent flight that can leave now, taken out of its queue, and the slot for it.

        A flight for which the user's strategy names no backend leaves, too: with that as its outcome.
        """
        while True:
            for flight, lane, queue in self._by_urgency():
                try:
                    slot = self._choose(lane, flight, now)
                except ConfigurationError as error:
                    _leave(queue, flight)
                    _misroute(flight, error)
                    break
                if slot is not None:
                    _leave(queue, flight)
                    return flight, slot
            else:
                return None

    def _by_urgency(self) -> list[tuple[Flight, Lane, RequestQueue[Flight]]]:
        heads = [
            (flight, lane, queue)
            for lane in self._lanes.values()
            for queue in lane.queues.values()
            if (flight := queue.peek()) is not None
        ]
        heads.sort(key=lambda head: (-head[0].priority, head[0].order))
        return heads

    def _choose(self, lane: Lane, flight: Flight, now: float) -> BackendSlot | None:
        slots, tries = self._roster.slots, flight.tries
        eligible = {
            name
            for name in lane.names
            if name not in flight.barred and name in slots and slots[name].is_eligible(now)
        }
        fresh = {name for name in eligible if not tries[name]} if tries else eligible
        stream = flight.stream is not None
        name = lane.balancer.next(
            fresh or eligible, latency=lambda backend: slots[backend].latency.of(stream=stream, now=now)
        )
        return None if name is None else slots[name]

    def purge(self) -> None:
        """Let go of queued flights that are done, and of queues that are empty."""
        for lane in self._lanes.values():
            for barred, queue in list(lane.queues.items()):
                queue.purge()
                if not len(queue):
                    del lane.queues[barred]


def _leave(queue: RequestQueue[Flight], flight: Flight) -> None:
    """Take a flight out of the queue whose first it is."""
    queue.take()
    flight.queued = False


def _misroute(flight: Flight, cause: ConfigurationError) -> None:
    """Fail a flight of what its route's strategy did; an attempt of it that is under way may still answer."""
    error = ConfigurationError(f"route {flight.lane!r}: {cause.message}")
    STRATEGY_FAILED.say(repr(flight.lane), cause.message, error=cause.__cause__)
    flight.errors.append(error)
    if not flight.live:
        flight.fail(error)
