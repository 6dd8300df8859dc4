"""Routes: who is next, and whose turn it is among the backends; judged when a reservation is asked for."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from attrs import define, field

from showcaller.actors.enums import LoadBalanceStrategy
from showcaller.actors.flight import AttemptRecord, Flight
from showcaller.actors.kernel.child import ChildState
from showcaller.actors.messages import AttemptFinished, Reserve
from showcaller.actors.routing import Lane
from showcaller.actors.settings import RouteConfig
from showcaller.actors.slot import BackendSlot
from showcaller.runtime.testing.invariants.findings import Findings
from showcaller.runtime.testing.invariants.latencies import LatencyChecks
from showcaller.runtime.testing.invariants.view import View

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
        lane = lanes.get(flight.lane)
        slot = self._view.slot(record.slot)
        if lane is not None and slot is not None:
            self._judge_choice(record, lane, slot)

    def _judge_turn(self, flight: Flight, backend: str, lanes: dict[str, Lane]) -> None:
        """Those that may be shared are left out: their urgency changes with those who wait for them."""
        rank = (-flight.priority, flight.order)
        for lane in lanes.values():
            if backend not in lane.names:
                continue
            for barred, queue in lane.queues.items():
                if backend in barred:
                    continue
                for entry in queue._heap[:SCANNED]:
                    other = entry[2]
                    if (-other.priority, other.order) < rank and other.key is None and not other.done:
                        what = "more urgent" if other.priority > flight.priority else "older"
                        self._findings.say(
                            "turn", f"request {flight.id}", f"left for {backend} before the {what} {other.id}"
                        )
                        return

    def _judge_choice(self, record: AttemptRecord, lane: Lane, chosen: BackendSlot) -> None:
        tree = self._view.tree
        assert tree is not None
        flight = record.flight
        route = tree.roster.config.names.get(flight.lane)
        if route is None:
            return
        others = [
            slot
            for target in route.targets
            if target.backend != chosen.name
            and target.backend not in flight.barred
            and (slot := tree.roster.slots.get(target.backend)) is not None
            and _takes(slot, self._view.clock.now())
        ]
        strategy = route.routing_strategy
        fresh = [slot for slot in others if not flight.tries[slot.name]]
        rivals = others if flight.tries[chosen.name] else fresh
        if flight.tries[chosen.name] and fresh:
            self._findings.say(
                "fresh", f"request {flight.id}", f"went to {chosen.name} again although another was free"
            )
        elif strategy in (LoadBalanceStrategy.WEIGHTED, LoadBalanceStrategy.ROUND_ROBIN):
            self._judge_share(route, flight.lane, lane, chosen.name, rivals)
        elif strategy is LoadBalanceStrategy.FAILOVER:
            names = [target.backend for target in route.targets]
            first = min((slot.name for slot in rivals), key=names.index, default=chosen.name)
            if names.index(first) < names.index(chosen.name):
                self._findings.say(
                    "failover", f"request {flight.id}", f"went to {chosen.name} although {first} comes first"
                )
        elif strategy is LoadBalanceStrategy.LEAST_LATENCY:
            weights = {target.backend: target.weight or 1.0 for target in route.targets}
            self._latencies.judge(flight, chosen, rivals, weights)
        elif strategy is LoadBalanceStrategy.LEAST_CONNECTIONS:
            weights = {target.backend: target.weight or 1.0 for target in route.targets}
            load = len(chosen.in_flight) / weights[chosen.name]
            for slot in rivals:
                if (len(slot.in_flight) + 1) / weights[slot.name] < load - ROUNDING:
                    self._findings.say(
                        "least",
                        f"request {flight.id}",
                        f"went to {chosen.name} although {slot.name} has less to do",
                    )

    def _judge_share(
        self, route: RouteConfig, name: str, lane: Lane, chosen: str, rivals: Sequence[BackendSlot]
    ) -> None:
        """What each backend was owed and what it got, in weights; what is left over stays small for ever."""
        picks, turn = self._picks.get(name), lane.balancer._turn
        if picks is None or picks.lane is not lane or turn != picks.turn + 1:
            picks = self._picks[name] = _Picks(lane, turn)
        picks.turn = turn
        last = picks.last.get(chosen)
        if route.routing_strategy is LoadBalanceStrategy.ROUND_ROBIN:
            for slot in rivals:
                if last is not None and picks.last.get(slot.name, turn) < last:
                    self._findings.say(
                        "robin", f"route {name}", f"{chosen} was chosen, and it was {slot.name}'s turn"
                    )
            picks.last[chosen] = turn
            return
        weights = {target.backend: target.weight or 1.0 for target in route.targets}
        able = [chosen, *(slot.name for slot in rivals)]
        for backend in able:
            picks.owed[backend] += weights[backend]
        picks.owed[chosen] -= sum(weights[backend] for backend in able)
        picks.number += 1
        total = sum(weights.values())
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
        and len(slot.in_flight) < slot.config.max_parallel_requests
        and not slot.breaker.is_open(now)
    )
