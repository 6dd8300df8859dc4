"""The supervisor's view of lanes, queues and slots: which flight is next, and where it may go now."""

from __future__ import annotations

import random

from showcaller.actors.flight import Flight
from showcaller.actors.policies.load_balancer import Connections, LoadBalancer
from showcaller.actors.policies.request_queue import RequestQueue
from showcaller.actors.roster import Roster
from showcaller.actors.settings import RouteConfig
from showcaller.actors.slot import BackendSlot


class Lane:
    """A route with the flights that wait for it, and whose turn it is among its backends."""

    def __init__(self, route: RouteConfig, rng: random.Random, connections: Connections) -> None:
        self.names = [target.backend for target in route.targets]
        self.balancer = LoadBalancer(route.routing_strategy, rng=rng, connections=connections)
        self.queue: RequestQueue[Flight] = RequestQueue()
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
        return sum(len(lane.queue) for lane in self._lanes.values())

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
        lane.queue.enqueue(flight)
        flight.queued = True

    def reroute(self) -> list[Flight]:
        """The roster has changed: forget the lanes; the flights that were queued, the oldest first."""
        waiting = [flight for lane in self._lanes.values() for flight in lane.queue.drain()]
        self._lanes.clear()
        for flight in waiting:
            flight.queued = False
        return sorted(waiting, key=lambda flight: flight.order)

    def slots_of(self, flight: Flight) -> list[BackendSlot]:
        """The slots that a flight's lane can use, in order; none when the lane is gone."""
        route = self._roster.config.names.get(flight.lane)
        return [] if route is None else self._roster.slots_of(route)

    def earliest(self, flight: Flight, now: float) -> float:
        """When the first of its lane's backends may take something, as far as that is known."""
        times = [slot.next_chance(now) or now for slot in self.slots_of(flight) if not slot.out_of_service]
        return min(times, default=now)

    def next_departure(self, now: float) -> tuple[Flight, BackendSlot] | None:
        """The most urgent flight that can leave now, taken out of its queue, and the slot for it."""
        for lane in self._by_urgency():
            flight = lane.queue.peek()
            if flight is None:
                continue
            slot = self._choose(lane, flight, now)
            if slot is not None:
                lane.queue.dequeue()
                flight.queued = False
                return flight, slot
        return None

    def _by_urgency(self) -> list[Lane]:
        lanes = [lane for lane in self._lanes.values() if len(lane.queue)]
        if len(lanes) < 2:
            return lanes
        heads = [(lane, lane.queue.peek()) for lane in lanes]
        waiting = [(lane, head) for lane, head in heads if head is not None]
        waiting.sort(key=lambda pair: (-pair[1].priority, pair[1].order))
        return [lane for lane, _ in waiting]

    def _choose(self, lane: Lane, flight: Flight, now: float) -> BackendSlot | None:
        slots, tries = self._roster.slots, flight.tries
        eligible = {name for name in lane.names if name in slots and slots[name].is_eligible(now)}
        fresh = {name for name in eligible if not tries[name]} if tries else eligible
        again = {name for name in eligible if tries[name] <= slots[name].config.max_retries}
        name = lane.balancer.next(fresh or again)
        return None if name is None else slots[name]

    def purge(self) -> None:
        """Let go of queued flights that are done."""
        for lane in self._lanes.values():
            lane.queue.purge()
