"""Routes: who is next, and whose turn it is among the backends; judged when a reservation is asked for."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from attrs import define, field

from showcaller.actors.attempt import AttemptRecord
from showcaller.actors.enums import BackendState, CircuitState, LoadBalanceStrategy, RequestPriority
from showcaller.actors.flight import Flight
from showcaller.actors.kernel.child import ChildState
from showcaller.actors.messages import AttemptFinished, Reserve
from showcaller.actors.route_config import RouteConfig
from showcaller.actors.routing import Lane, RoutingTable
from showcaller.actors.slot import BackendSlot
from showcaller.runtime.testing.invariants.findings import Findings
from showcaller.runtime.testing.invariants.latencies import LatencyChecks
from showcaller.runtime.testing.invariants.view import View
from showcaller.runtime.testing.invariants.warming import part_of, weight_of

SCANNED = 200
"""So many waiting flights of each queue are compared with the one that leaves."""
ROUNDING = 1e-6
DRIFT = 1.0
"""By so many choices a backend's share may differ from what its weight says, however many there were."""


@define
class _Picks:
    """What one lane has chosen so far, without a gap.

    Attributes:
        lane, turn: which, and its last choice.
        number: how many there were.
        last: when each backend was chosen last.
        owed: weights that each backend was owed at the choices in which it could have been taken, less what it got.
    """

    lane: Lane
    turn: int
    number: int = 0
    last: dict[str, int] = field(factory=dict)
    owed: defaultdict[str, float] = field(factory=lambda: defaultdict(float))


class RouteChecks:
    """Watches the supervisor's choices."""

    def __init__(self, view: View, findings: Findings) -> None:
        self._view = view
        self._findings = findings
        self._picks: dict[str, _Picks] = {}
        self._latencies = LatencyChecks(view, findings)

    def after_granted(self, record: AttemptRecord) -> None:
        """A Granted was handled, or its handler died."""
        self._latencies.after_granted(record)

    def before_finished(self, message: AttemptFinished) -> None:
        """An AttemptFinished is about to be handled."""
        self._latencies.before_finished(message)

    def after_finished(self, message: AttemptFinished) -> None:
        """It was handled, or its handler died."""
        self._latencies.after_finished(message)

    def reserve(self, message: Reserve) -> None:
        """A Reserve was sent: its flight was the most urgent that could leave, and its backend the one to take."""
        supervisor = self._view.actor("supervisor")
        if supervisor is None or not self._view.supervisor_acts:
            return
        record = message.attempt
        lanes: dict[str, Lane] = supervisor._departures._table._lanes
        flight = record.flight
        if flight.key is None:
            self._judge_turn(flight, record.slot, lanes)
        lane = lanes.get(record.lane)
        slot = self._view.slot(record.slot)
        if lane is not None and slot is not None:
            self._judge_choice(record, lane, slot)
            self._judge_ejection(lane, supervisor._departures._table)

    def _judge_turn(self, flight: Flight, backend: str, lanes: dict[str, Lane]) -> None:
        """Those that may be shared are left out: their urgency changes with those who wait for them."""
        rank = (-self._class_of(flight, ROUNDING), flight.order)
        for lane in lanes.values():
            for prospect, queue in lane.queues.items():
                first = lanes.get(prospect.lanes[0]) if prospect.lanes else None
                # What may only fall back on it has rules of its own.
                if first is None or backend not in first.names or backend not in prospect.able:
                    continue
                for other in (entry[1] for heap in queue._heaps for entry in heap[:SCANNED]):
                    urgency = self._class_of(other, -ROUNDING)
                    if (-urgency, other.order) < rank and other.key is None and not other.done:
                        what = "older" if urgency == -rank[0] else "more urgent"
                        self._findings.say(
                            "turn", f"request {flight.id}", f"left for {backend} before the {what} {other.id}"
                        )
                        return

    def _class_of(self, flight: Flight, rounding: float) -> int:
        """What it counts as, with its age."""
        ageing = self._view.simulation.config.runtime.ageing
        waited, urgency = self._view.clock.now() - flight.since + rounding, int(flight.priority)
        while waited >= ageing and urgency < RequestPriority.HIGH:
            waited, urgency = waited - ageing, urgency + 1
        return urgency

    def _judge_choice(self, record: AttemptRecord, lane: Lane, chosen: BackendSlot) -> None:
        tree = self._view.tree
        assert tree is not None
        flight = record.flight
        route = tree.roster.config.names.get(record.lane)
        if route is None:
            return
        others = [
            slot
            for target in route.targets
            if target.backend != chosen.name
            and (slot := tree.roster.slots.get(target.backend)) is not None
            and slot.id not in flight.barred
            and flight.needs.are_met_by(slot.config)
            and _takes(slot, self._view.clock.now())
        ]
        now = self._view.clock.now()
        outliers = self._outliers(route)
        sound = [slot for slot in others if slot.id not in outliers]
        if chosen.id in outliers and sound:
            self._findings.say(
                "ejected",
                f"request {flight.id}",
                f"went to {chosen.name}, which is unhealthy, although {sound[0].name} was free",
            )
            return
        if chosen.id not in outliers:
            others = sound
        strategy = route.routing_strategy
        fresh = [slot for slot in others if not flight.tries[slot.name]]
        rivals = others if flight.tries[chosen.name] else fresh
        if flight.tries[chosen.name] and fresh:
            self._findings.say(
                "fresh", f"request {flight.id}", f"went to {chosen.name} again although another was free"
            )
        elif strategy in (LoadBalanceStrategy.WEIGHTED, LoadBalanceStrategy.ROUND_ROBIN):
            self._judge_share(route, record.lane, lane, chosen, rivals)
        elif strategy is LoadBalanceStrategy.FAILOVER:
            names = [target.backend for target in route.targets]
            first = min((slot.name for slot in rivals), key=names.index, default=chosen.name)
            if names.index(first) < names.index(chosen.name):
                self._findings.say(
                    "failover", f"request {flight.id}", f"went to {chosen.name} although {first} comes first"
                )
        elif strategy is LoadBalanceStrategy.LEAST_LATENCY:
            weights = {slot.name: weight_of(route, slot, now) for slot in (chosen, *rivals)}
            self._latencies.judge(flight, chosen, rivals, weights)
        elif strategy is LoadBalanceStrategy.LEAST_CONNECTIONS:
            weights = {slot.name: weight_of(route, slot, now) for slot in (chosen, *rivals)}
            load = len(chosen.in_flight) / weights[chosen.name]
            for slot in rivals:
                if (len(slot.in_flight) + 1) / weights[slot.name] < load - ROUNDING:
                    self._findings.say(
                        "least",
                        f"request {flight.id}",
                        f"went to {chosen.name} although {slot.name} has less to do",
                    )

    def _judge_ejection(self, lane: Lane, table: RoutingTable) -> None:
        """A strategy need not show that somebody is missing among those it chose from."""
        tree = self._view.tree
        assert tree is not None
        route = tree.roster.config.names.get(lane.name)
        if route is None:
            return
        slots = tree.roster.slots
        out = table._ejected(lane, {name for name in lane.names if name in slots}, self._view.clock.now())
        for name in out:
            if slots[name].id not in self._outliers(route):
                self._findings.say(
                    "too many", f"route {lane.name}", f"leaves out {', '.join(sorted(out))} of {lane.names}"
                )

    def _outliers(self, route: RouteConfig) -> set[str]:
        """The ids of the slots that get nothing while another of the route can take it: half of them at most."""
        tree = self._view.tree
        assert tree is not None
        members = [
            slot
            for target in route.targets
            if (slot := tree.roster.slots.get(target.backend)) is not None and slot.out_of_service is None
        ]
        ranks = {
            slot.id: (slot.success_rate, -place)
            for place, slot in enumerate(members)
            if slot.health is BackendState.UNHEALTHY
            and not slot.pardoned
            and slot.breaker.state(self._view.clock.now()) is CircuitState.CLOSED
        }
        return {
            one
            for one, rank in ranks.items()
            if sum(other < rank for other in ranks.values()) < len(members) // 2
        }

    def _judge_share(
        self, route: RouteConfig, name: str, lane: Lane, slot: BackendSlot, rivals: Sequence[BackendSlot]
    ) -> None:
        """What each backend was owed and what it got, in weights; what is left over stays small for ever."""
        now, chosen = self._view.clock.now(), slot.name
        picks, turn = self._picks.get(name), lane.balancer._turn
        if picks is None or picks.lane is not lane or turn != picks.turn + 1:
            picks = self._picks[name] = _Picks(lane, turn)
        picks.turn = turn
        for other in (slot, *rivals):
            if part_of(route, other, now) < 1.0:
                # Of its turns it lets most pass.
                picks.last.pop(other.name, None)
        last = picks.last.get(chosen)
        if route.routing_strategy is LoadBalanceStrategy.ROUND_ROBIN:
            for other in rivals:
                if last is not None and picks.last.get(other.name, turn) < last:
                    self._findings.say(
                        "robin", f"route {name}", f"{chosen} was chosen, and it was {other.name}'s turn"
                    )
            picks.last[chosen] = turn
            return
        weights = {other.name: weight_of(route, other, now) for other in (slot, *rivals)}
        for backend, weight in weights.items():
            picks.owed[backend] += weight
        picks.owed[chosen] -= sum(weights.values())
        picks.number += 1
        total = sum(target.weight or 1.0 for target in route.targets)
        # When the beginning was not seen, something may have been owed by then.
        most = (DRIFT if picks.number == turn else 2 * DRIFT) * total + ROUNDING
        for backend, owed in picks.owed.items():
            if abs(owed) > most:
                self._findings.say(
                    "share",
                    f"route {name}",
                    f"after {picks.number} choices {backend} was chosen {abs(owed) / total:.1f} times too "
                    f"{'seldom' if owed > 0 else 'often'} for its weight",
                )


def _takes(slot: BackendSlot, now: float) -> bool:
    """Might an attempt be given to it now, as far as the rules say?"""
    return (
        slot.child is not None
        and slot.child.state is ChildState.RUNNING
        and slot.out_of_service is None
        and now >= max(slot.not_before, slot.quota_until)
        and slot.has_seat
        and not slot.breaker.is_open(now)
    )
