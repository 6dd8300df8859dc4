"""Bugs of routes, fallbacks and the queue."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from typing import Any

import pytest

from showcaller.actors import departures
from showcaller.actors.departures import Departures
from showcaller.actors.enums import (
    FallbackCause,
    LoadBalanceStrategy,
    RequestPriority,
)
from showcaller.actors.needs import Needs
from showcaller.actors.policies import ageing_queue
from showcaller.actors.policies.admission import Outlook
from showcaller.actors.policies.ageing_queue import AgeingQueue
from showcaller.actors.policies.backend_latency import BackendLatency
from showcaller.actors.policies.load_balancer import LoadBalancer
from showcaller.actors.policies.open_room import OpenRoom
from showcaller.actors.policies.peak_ewma import PeakEwma
from showcaller.actors.routing import RoutingTable
from showcaller.actors.slot import BackendSlot
from tests.simulation.planted.bug import planted

# --- routes ---


@planted
def priority_inversion(patch: pytest.MonkeyPatch) -> None:
    """The queue is first in, first out, whatever the priority."""

    def enqueue(self: AgeingQueue[Any], item: Any) -> None:
        heapq.heappush(self._heaps[0], (item.order, item))

    def let_go(self: AgeingQueue[Any]) -> None:
        while self._heaps[0] and self._heaps[0][0][1].done:
            heapq.heappop(self._heaps[0])

    patch.setattr(AgeingQueue, "enqueue", enqueue)
    patch.setattr(AgeingQueue, "_put_right", let_go)


@planted
def old_place_lost(patch: pytest.MonkeyPatch) -> None:
    """A flight that comes back to the queue stands behind those that came after it."""

    def enqueue(self: AgeingQueue[Any], item: Any) -> None:
        again = 10**6 if getattr(item, "_numbers", 0) else 0
        heapq.heappush(self._heaps[item.priority], (item.order + again, item))

    patch.setattr(AgeingQueue, "enqueue", enqueue)


@planted
def ageing_forgotten(patch: pytest.MonkeyPatch) -> None:
    """However long a request has waited, those of higher classes leave before it."""
    patch.setattr(ageing_queue, "effective_class", lambda priority, waited, ageing: priority)


@planted
def ageing_into_critical(patch: pytest.MonkeyPatch) -> None:
    """Who has waited long enough leaves before CRITICAL requests."""

    def effective_class(priority: int, waited: float, ageing: float) -> int:
        return min(RequestPriority.CRITICAL, priority + int(waited / ageing))

    patch.setattr(ageing_queue, "effective_class", effective_class)


@planted
def hurried_behind_the_patient(patch: pytest.MonkeyPatch) -> None:
    """Who cannot wait until a backend's limits have room waits behind those who can."""
    patch.setattr(RoutingTable, "_late", lambda self, flight, able: ())


@planted
def doomed_dispatched(patch: pytest.MonkeyPatch) -> None:
    """What no backend can answer in time is sent all the same."""
    patch.setattr(Departures, "_is_doomed", lambda self, flight, now: False)


@planted
def critical_share_ignored(patch: pytest.MonkeyPatch) -> None:
    """The other classes may take every place at the door."""
    real = OpenRoom.__init__

    def init(self: OpenRoom, settings: Any) -> None:
        real(self, settings)
        self._kept_requests = self._kept_bytes = 0

    patch.setattr(OpenRoom, "__init__", init)


@planted
def critical_waits_behind_all(patch: pytest.MonkeyPatch) -> None:
    """The door takes everybody for ahead of a CRITICAL request."""
    patch.setattr(Outlook, "ahead", lambda self, priority: sum(self.waiting))


def _choosing(patch: pytest.MonkeyPatch, strategy: LoadBalanceStrategy, choose: Callable[..., str]) -> None:
    real = LoadBalancer._choose

    def _choose(self: LoadBalancer, names: list[str], latency: Callable[[str], float | None]) -> str:
        return choose(self, names) if self.strategy is strategy else real(self, names, latency)

    patch.setattr(LoadBalancer, "_choose", _choose)


@planted
def weighted_drifts(patch: pytest.MonkeyPatch) -> None:
    """The credit of a chosen backend starts anew instead of being reduced, so that shares drift off."""

    def choose(self: LoadBalancer, names: list[str]) -> str:
        for name in names:
            self._credits[name] += self._weights[name]
        chosen = max(names, key=self._credits.__getitem__)
        self._credits[chosen] = 0.0
        return chosen

    _choosing(patch, LoadBalanceStrategy.WEIGHTED, choose)


@planted
def failover_out_of_order(patch: pytest.MonkeyPatch) -> None:
    """A failover route begins with its last backend."""
    _choosing(patch, LoadBalanceStrategy.FAILOVER, lambda self, names: names[-1])


@planted
def most_connections(patch: pytest.MonkeyPatch) -> None:
    """Least connections is by the number of connections alone, without the weights."""
    _choosing(
        patch,
        LoadBalanceStrategy.LEAST_CONNECTIONS,
        lambda self, names: min(names, key=self.connections.__getitem__),
    )


@planted
def slowest_first(patch: pytest.MonkeyPatch) -> None:
    """Least latency takes the slowest."""
    real = LoadBalancer._cost

    def cost(self: LoadBalancer, name: str, latency: float | None) -> tuple[bool, float]:
        known, load = real(self, name, latency)
        return known, -load

    patch.setattr(LoadBalancer, "_cost", cost)


@planted
def latency_regardless_of_load(patch: pytest.MonkeyPatch) -> None:
    """Least latency does not count what is in flight already, so that the quickest gets everything."""
    patch.setattr(
        LoadBalancer,
        "_cost",
        lambda self, name, latency: (latency is None and self.connections[name] > 0, latency or 0.0),
    )


@planted
def latency_never_forgotten(patch: pytest.MonkeyPatch) -> None:
    """A backend that was slow once is believed to be slow for ever, while it is left alone."""
    patch.setattr(PeakEwma, "read", lambda self, now: self._peak)


@planted
def peaks_smoothed_away(patch: pytest.MonkeyPatch) -> None:
    """A slow answer is averaged with those before it, as if it were an exception."""

    def observe(self: PeakEwma, seconds: float, now: float) -> None:
        before = seconds if self._peak is None else self._peak * self._weight(now)
        self._peak, self._at = 0.9 * before + 0.1 * seconds, now

    patch.setattr(PeakEwma, "observe", observe)


@planted
def quick_failure_is_quick(patch: pytest.MonkeyPatch) -> None:
    """Who fails at once is believed to answer as fast."""

    def failed(self: BackendLatency, waited: float, now: float) -> None:
        self._first_token._peak, self._first_token._at = waited, now
        self._per_token._peak, self._per_token._at = waited / 32, now

    patch.setattr(BackendLatency, "failed", failed)


# --- fallbacks and what a request needs ---


@planted
def fallback_restarts_the_count(patch: pytest.MonkeyPatch) -> None:
    """What has failed in a request's own lane is forgotten with its first fallback."""
    real, gone_on = RoutingTable.next_departure, set()

    def next_departure(self: RoutingTable, now: float) -> Any:
        departure = real(self, now)
        if departure is not None and departure[2] != departure[0].lane and departure[0] not in gone_on:
            gone_on.add(departure[0])
            departure[0].tries.clear()
        return departure

    patch.setattr(RoutingTable, "next_departure", next_departure)


@planted
def smaller_window_after_a_bigger_one(patch: pytest.MonkeyPatch) -> None:
    """What was too long for one backend may go to one that declares no bigger window."""
    patch.setattr(Needs, "too_long_for", lambda self, window: self)


@planted
def capability_ignored(patch: pytest.MonkeyPatch) -> None:
    """A request may go to a backend that does not support what it needs."""
    patch.setattr(Needs, "are_met_by", lambda self, backend: self.fit(backend))


@planted
def window_ignored(patch: pytest.MonkeyPatch) -> None:
    """A request may go to a backend that cannot hold it."""
    patch.setattr(Needs, "fit", lambda self, backend: True)


@planted
def fallback_skipped_while_cooling(patch: pytest.MonkeyPatch) -> None:
    """A lane whose backends are cooling keeps its requests as if they were merely full."""
    patch.setattr(BackendSlot, "is_full", lambda self, now: not self.is_eligible(now))


@planted
def fallback_taken_while_full(patch: pytest.MonkeyPatch) -> None:
    """A lane whose backends are merely full does not keep its requests."""
    patch.setattr(BackendSlot, "is_full", lambda self, now: False)


@planted
def any_fallback_for_any_cause(patch: pytest.MonkeyPatch) -> None:
    """What a content filter has refused, or what was too long, goes on to the general fallbacks."""
    patch.setattr(departures, "cause_of", lambda error: FallbackCause.FAILURE)
