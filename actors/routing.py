"""The supervisor's view of lanes, queues and slots: which flight is next, and where it may go now."""

from __future__ import annotations

import random
from collections.abc import Collection, Iterator, Sequence
from typing import NamedTuple

from showcaller.actors.enums import RequestPriority
from showcaller.actors.errors import ConfigurationError, UnknownModelError
from showcaller.actors.flight import Flight
from showcaller.actors.log import STRATEGY_FAILED
from showcaller.actors.policies.admission import Admission
from showcaller.actors.policies.load_balancer import Connections, LoadBalancer
from showcaller.actors.policies.outlier_ejection import ejected
from showcaller.actors.policies.way_out import Standing, way_out
from showcaller.actors.roster import Roster
from showcaller.actors.route_config import RouteConfig
from showcaller.actors.slot import BackendSlot
from showcaller.actors.waiting_flights import WaitingFlights

NONE_WAITS = (0,) * len(RequestPriority)


class Prospect(NamedTuple):
    """What a waiting flight may still get; those that differ in it wait apart, so that none holds up another.

    Attributes:
        lanes: where it may go.
        able: the backends there that it may be given to, in order.
        tried: those of them where it has failed before.
        late: those of them whose limits have no room before its deadline, if it has fallbacks to go to instead.
    """

    lanes: tuple[str, ...]
    able: tuple[str, ...]
    tried: tuple[str, ...]
    late: tuple[str, ...]


class Departure(NamedTuple):
    """A flight that can leave, the slot for it, by which lane, and between which backends it had the choice."""

    flight: Flight
    slot: BackendSlot
    lane: str
    able: tuple[str, ...]


class Head(NamedTuple):
    """The first of a queue, and where it waits."""

    flight: Flight
    home: Lane
    able: tuple[str, ...]
    queue: WaitingFlights


class Lane:
    """A route with the flights that were sent to it and wait, and whose turn it is among its backends."""

    def __init__(self, route: RouteConfig, rng: random.Random, connections: Connections) -> None:
        self.name = route.name
        self.names = [target.backend for target in route.targets]
        self.balancer = LoadBalancer(route.routing_strategy, rng=rng, connections=connections)
        self.slow_start = route.slow_start
        self.queues: dict[Prospect, WaitingFlights] = {}
        for target in route.targets:
            self.balancer.add_backend(target.backend, 1.0 if target.weight is None else target.weight)


class RoutingTable:
    """All lanes that are in use, over the slots of the roster.

    Attributes:
        connections: the only counter of attempts in flight by backend.
        waiting: how many flights are queued, with those that are done and were not yet let go.
    """

    def __init__(self, roster: Roster, rng: random.Random) -> None:
        self.connections = Connections()
        self.waiting = 0
        self._roster = roster
        self._rng = rng
        self._lanes: dict[str, Lane] = {}
        self._admissions: dict[str, Admission] = {}
        self._quiet = False

    def enqueue(self, flight: Flight, slots: Sequence[BackendSlot]) -> None:
        """Queue a flight that is not queued, for one of the slots of its lanes.

        Raises:
            UnknownModelError: its lane is gone, and so are all others that it may go to.
        """
        lane = next(filter(None, map(self._lane, (flight.lane, *flight.lanes))), None)
        if lane is None:
            raise UnknownModelError(f"{flight.lane!r} is gone, and so is all that it falls back on")
        able = tuple([slot.name for slot in slots])
        tried = tuple([name for name in able if name in flight.tries])
        prospect = Prospect(flight.lanes, able, tried, self._late(flight, able))
        self._queue(lane, prospect).enqueue(flight)
        flight.queued = True
        self.waiting += 1

    def _late(self, flight: Flight, able: Collection[str]) -> tuple[str, ...]:
        if len(flight.lanes) == 1:
            return ()
        slots = self._roster.slots
        return tuple([name for name in able if slots[name].quota_until >= flight.deadline])

    def _queue(self, lane: Lane, prospect: Prospect) -> WaitingFlights:
        queue = lane.queues.get(prospect)
        if queue is None:
            queue = lane.queues[prospect] = WaitingFlights(self._roster.config.runtime.ageing)
        return queue

    def _lane(self, name: str) -> Lane | None:
        lane = self._lanes.get(name)
        if lane is None:
            route = self._roster.config.names.get(name)
            if route is not None:
                lane = self._lanes[name] = Lane(route, self._rng, self.connections)
                self.admission(name)
        return lane

    def reroute(self) -> list[Flight]:
        """The roster has changed: forget the lanes; the flights that were queued, the oldest first."""
        waiting = [
            flight
            for lane in self._lanes.values()
            for queue in lane.queues.values()
            for flight in queue.drain()
        ]
        self._lanes.clear()
        self.waiting = 0
        names = self._roster.config.names
        self._admissions = {name: known for name, known in self._admissions.items() if name in names}
        for flight in waiting:
            flight.queued = False
        return sorted(waiting, key=lambda flight: flight.order)

    def queued(self) -> Iterator[Flight]:
        """All that are queued, in no order."""
        for lane in self._lanes.values():
            for queue in lane.queues.values():
                yield from queue.wanted()

    def slots_of(self, flight: Flight) -> list[BackendSlot]:
        """The slots of its lanes that have what a flight needs and that it is not barred from, in order."""
        return [slot for slot in self.slots_in_reach(flight) if may_have(slot, flight)]

    def slots_in_reach(self, flight: Flight) -> list[BackendSlot]:
        """All slots of its lanes, in order; of a lane that is gone there are none."""
        names = self._roster.config.names
        routes = [names[lane] for lane in flight.lanes if lane in names]
        if len(routes) == 1:
            return self._roster.slots_of(routes[0])
        return list(dict.fromkeys(slot for route in routes for slot in self._roster.slots_of(route)))

    def next_departure(self, now: float) -> Departure | None:
        """The most urgent flight that can leave now, taken out of its queue.

        A flight for which the user's strategy names no backend leaves, too: with that as its outcome.
        """
        while self.waiting:
            for flight, home, able, queue in self._by_urgency(now):
                lane = home if flight.lanes == (home.name,) else self._way_out(flight, able, now)[0]
                if lane is None:
                    continue
                try:
                    slot = self._choose(lane, flight, able, now)
                except ConfigurationError as error:
                    self._leave(queue, flight)
                    _misroute(flight, lane.name, error)
                    break
                if slot is not None:
                    self._leave(queue, flight)
                    return Departure(flight, slot, lane.name, able)
            else:
                return None
        return None

    def _by_urgency(self, now: float) -> list[Head]:
        heads = [
            Head(flight, lane, prospect.able, queue)
            for lane in self._lanes.values()
            for prospect, queue in lane.queues.items()
            if (flight := queue.peek(now)) is not None
        ]
        if len(heads) > 1:
            heads.sort(key=lambda head: head.queue.urgency(head.flight, now))
        return heads

    def _leave(self, queue: WaitingFlights, flight: Flight) -> None:
        """Take a flight out of the queue whose first it is."""
        queue.take()
        flight.queued = False
        self.waiting -= 1

    def can_go_on(self, flight: Flight, now: float) -> bool:
        """Can a flight leave now to a backend that it has not tried?"""
        return self._way_out(flight, [slot.name for slot in self.slots_of(flight)], now)[1]

    def _way_out(self, flight: Flight, able: Collection[str], now: float) -> tuple[Lane | None, bool]:
        """By which lane a flight can leave now, and whether to a backend that it has not tried."""
        lanes = [lane for name in flight.lanes if (lane := self._lane(name)) is not None]
        number, fresh = way_out(self._standings(lane, flight, able, now) for lane in lanes)
        return None if number is None else lanes[number], fresh

    def _standings(self, lane: Lane, flight: Flight, able: Collection[str], now: float) -> Iterator[Standing]:
        sound = self._sound(lane, able, now)
        for slot in self._open_to(able, lane):
            tried = flight.tries[slot.name] > 0
            if slot.name in sound:
                yield Standing.TRIED if tried else Standing.FRESH
            elif not tried and slot.is_full(now) and slot.quota_until < flight.deadline:
                yield Standing.FULL
            else:
                yield Standing.AWAY

    def _open_to(self, able: Collection[str], lane: Lane) -> list[BackendSlot]:
        slots = self._roster.slots
        return [slots[name] for name in lane.names if name in able]

    def _sound(self, lane: Lane, able: Collection[str], now: float) -> set[str]:
        slots = self._roster.slots
        eligible = {name for name in lane.names if name in able and slots[name].is_eligible(now)}
        return eligible - self._ejected(lane, eligible, now) or eligible

    def _choose(self, lane: Lane, flight: Flight, able: Collection[str], now: float) -> BackendSlot | None:
        slots, tries = self._roster.slots, flight.tries
        sound = self._sound(lane, able, now)
        fresh = {name for name in sound if not tries[name]} if tries else sound
        stream = flight.stream is not None
        name = lane.balancer.next(
            fresh or sound,
            latency=lambda backend: slots[backend].latency.of(stream=stream, now=now),
            warmth={
                name: warmth for name in sound if (warmth := slots[name].warmth(now, lane.slow_start)) < 1.0
            },
        )
        return None if name is None else slots[name]

    def _ejected(self, lane: Lane, eligible: set[str], now: float) -> set[str]:
        """Who gets nothing of that lane while another of its backends can take it."""
        slots = self._roster.slots
        if not any(slots[name].is_unwell(now) for name in eligible):
            return set()
        members = [slots[name] for name in lane.names if name in slots and not slots[name].out_of_service]
        return ejected(
            {slot.name: slot.success_rate for slot in members if slot.is_unwell(now)}, of=len(members)
        )

    def admission(self, lane: str) -> Admission:
        """What is known of how a lane's flights leave; it outlives the lane."""
        known = self._admissions.get(lane)
        if known is None:
            known = self._admissions[lane] = Admission()
        return known

    def least_time(self, able: Collection[str], now: float) -> float | None:
        """Seconds that any of these backends takes at least; None when that is not known of all of them."""
        slots = map(self._roster.slots.__getitem__, able)
        times = [slot.latency.least(now) for slot in slots if not slot.out_of_service]
        known = [time for time in times if time is not None]
        return min(known) if known and len(known) == len(times) else None

    def look_out(self, now: float) -> None:
        """Publish what who comes now can expect, after everybody has left who could."""
        quiet, self._quiet = self._quiet, not self.waiting
        if quiet and self._quiet:
            return
        outlooks, total = {}, NONE_WAITS
        for name, admission in self._admissions.items():
            waiting = self._waiting_for(name)
            admission.look(sum(waiting), now)
            if any(waiting):
                total = _add(total, waiting)
                if (outlook := admission.outlook(waiting, now)) is not None:
                    outlooks[name] = outlook
        self._roster.outlooks, self._roster.waiting = outlooks, total

    def _waiting_for(self, name: str) -> tuple[int, ...]:
        lane = self._lanes.get(name)
        if lane is None or not any(queue.size() for queue in lane.queues.values()):
            return NONE_WAITS
        return _add(*(queue.sizes for queue in lane.queues.values()))

    def regroup(self, limited: BackendSlot | None = None) -> None:
        """Let go of queued flights that are done, and of queues that are empty; who is late by now waits apart.

        Args:
            limited: only those whom it concerns that the limits of this slot have no room for longer than was known.
        """
        for lane in self._lanes.values():
            for prospect, queue in list(lane.queues.items()):
                if limited is None or _is_split(prospect, queue, limited):
                    for flight in queue.drain():
                        late = self._late(flight, prospect.able)
                        home = queue
                        if late != prospect.late:
                            home = self._queue(lane, prospect._replace(late=late))
                        home.enqueue(flight)
                    if queue.is_empty():
                        del lane.queues[prospect]
        self.waiting = sum(queue.size() for lane in self._lanes.values() for queue in lane.queues.values())


def _add(*sizes: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(map(sum, zip(*sizes, strict=True)))


def _is_split(prospect: Prospect, queue: WaitingFlights, limited: BackendSlot) -> bool:
    """May some of those who wait there have less time than this slot's limits last, and be late from now on?"""
    if len(prospect.lanes) == 1 or limited.name not in prospect.able or limited.name in prospect.late:
        # Those that are late already are noticed with the next sweep, when they are it no more.
        return False
    return queue.soonest <= limited.quota_until


def may_have(slot: BackendSlot, flight: Flight) -> bool:
    """Has it what a flight needs, and is the flight not barred from it?"""
    return slot.id not in flight.barred and flight.needs.are_met_by(slot.config)


def _misroute(flight: Flight, lane: str, cause: ConfigurationError) -> None:
    """Fail a flight of what a route's strategy did; an attempt of it that is under way may still answer."""
    error = ConfigurationError(f"route {lane!r}: {cause.message}")
    STRATEGY_FAILED.say(repr(lane), cause.message, error=cause.__cause__)
    flight.errors.append(error)
    if not flight.live:
        flight.fail(error)
