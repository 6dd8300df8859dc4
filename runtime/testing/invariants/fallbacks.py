"""Fallbacks: attempts go only where their cause allows, in that order, and to backends that have what is needed.

It keeps its own account of each request, from the outside: what it was sent to, and what each attempt failed of.
"""

from __future__ import annotations

from attrs import define, field

from showcaller.actors.attempt import AttemptRecord, AttemptState
from showcaller.actors.backend_config import BackendConfig
from showcaller.actors.configuration import RuntimeConfig
from showcaller.actors.enums import BackendState
from showcaller.actors.errors import ContentPolicyViolationError, ContextWindowExceededError
from showcaller.actors.flight import Flight
from showcaller.actors.kernel.child import ChildState
from showcaller.actors.messages import AttemptFinished, Execute
from showcaller.actors.models import BYTES_PER_TOKEN
from showcaller.actors.slot import BackendSlot
from showcaller.runtime.testing.invariants.findings import Findings
from showcaller.runtime.testing.invariants.view import View
from showcaller.runtime.tree import Tree


@define
class _Story:
    """What became of one request so far.

    Attributes:
        lanes: where it may go, in order.
        failed: the attempts that have failed of an error, by number.
        refused_by: the ids of slots that will never take it, whatever lane leads to them.
        too_small: the greatest declared window that it was too long for.
    """

    lanes: tuple[str, ...]
    failed: dict[int, AttemptRecord] = field(factory=dict)
    refused_by: set[str] = field(factory=set)
    too_small: int = 0


class FallbackChecks:
    """Watches where attempts go."""

    def __init__(self, view: View, findings: Findings) -> None:
        self._view = view
        self._findings = findings
        self._stories: dict[int, _Story] = {}
        self._newest = 0

    def before_step(self) -> None:
        """The supervisor acts, and may change the configuration: whoever is here has come under this one."""
        tree = self._view.tree
        if tree is None:
            return
        flights = tree.flights._flights
        for flight in reversed(flights.values()):
            if flight.order <= self._newest:
                break
            self._story(flight, tree)
        self._newest = next(reversed(flights), self._newest)

    def execute(self, message: Execute) -> None:
        """An Execute was sent."""
        tree, record = self._view.tree, message.record
        if tree is None or not self._view.supervisor_acts:
            return
        flight, story = record.flight, self._story(record.flight, tree)
        who = f"request {flight.id}"
        if record.lane not in story.lanes:
            allowed = ", ".join(story.lanes) or "nowhere"
            self._findings.say("lane", who, f"went on to {record.lane}, and may only go to {allowed}")
        slot = tree.roster.slots.get(record.slot)
        if slot is None:
            return
        if slot.id in story.refused_by:
            self._findings.say("again", who, f"went to {slot.name} again, which had refused it for good")
        lacks = _lacks(flight, slot.config)
        if lacks:
            self._findings.say("needs", who, f"went to {slot.name}, which {lacks}")
        window = slot.config.context_window
        if window is not None and window <= story.too_small:
            self._findings.say(
                "window", who, f"went to {slot.name}, whose window is no bigger than one it was too long for"
            )
        most = 1 + self._view.simulation.config.runtime.num_retries
        # One that a new supervisor took back before it knew of its end was never sent.
        failures = sum(attempt.state is not AttemptState.REVOKED for attempt in story.failed.values())
        # What an actor's death has brought back is not tried again, but still to be tried.
        if failures >= most and not flight.crashes:
            self._findings.say("calls", who, f"was tried again after {failures} failures, and {most} is all")

    def reserve(self, record: AttemptRecord) -> None:
        """A Reserve was sent: no lane before its own had an untried backend to go to or to wait for."""
        tree = self._view.tree
        # What was told while there was no quota manager comes to it later, when all may be different.
        if tree is None or not self._view.supervisor_acts or record.lane not in record.flight.lanes:
            return
        flight, now, config = record.flight, self._view.clock.now(), tree.roster.config
        who = f"request {flight.id}"
        before = flight.lanes[: flight.lanes.index(record.lane)]
        for lane in before:
            for slot in suited(flight, lane, config, tree):
                if flight.tries[slot.name] or slot.name == record.slot:
                    continue
                if _keeps(slot, flight, now) and slot.health is not BackendState.UNHEALTHY:
                    self._findings.say(
                        "order",
                        who,
                        f"left {lane} for {record.lane} although {slot.name} is in service and untried",
                    )

    def before_finished(self, message: AttemptFinished) -> None:
        """An AttemptFinished is about to be handled: what its error allows from now on."""
        record, error, tree = message.record, message.error, self._view.tree
        slot = self._view.slot(record.slot)
        if tree is None or error is None or slot is None or slot.in_flight.get(record.key) is not record:
            return
        story = self._story(record.flight, tree)
        if record.number in story.failed:
            # A supervisor that died of it gives it to its successor.
            return
        story.failed[record.number] = record
        config = tree.roster.config
        if isinstance(error, ContextWindowExceededError):
            story.too_small = max(story.too_small, slot.config.context_window or 0)
            kind = "context_window_fallbacks"
        elif isinstance(error, ContentPolicyViolationError):
            kind = "content_policy_fallbacks"
        else:
            return
        story.lanes = _after(config, record.lane, kind) + _after(config, record.flight.lane, kind)
        story.refused_by.add(slot.id)

    def _story(self, flight: Flight, tree: Tree) -> _Story:
        story = self._stories.get(flight.order)
        if story is None:
            config = tree.roster.config
            own = _slots(flight.lane, config, tree)
            too_long = not any(not _lacks(flight, slot.config) for slot in own) and any(
                not _missing(flight, slot.config) for slot in own
            )
            lanes = (
                _after(config, flight.lane, "context_window_fallbacks")
                if too_long
                else _chain(config, flight.lane, "fallbacks")
            )
            story = self._stories[flight.order] = _Story(lanes)
        return story


def within_reach(flight: Flight, tree: Tree, now: float) -> list[str]:
    """The backends that a waiting flight could be given to now, as the rules have it."""
    config, tried_ones = tree.roster.config, list[str]()
    for lane in flight.lanes:
        slots = suited(flight, lane, config, tree)
        able = [slot for slot in slots if slot.is_eligible(now)]
        if any(not flight.tries[slot.name] for slot in able):
            return [slot.name for slot in able]
        tried_ones += [slot.name for slot in able]
        if any(not flight.tries[slot.name] and _keeps(slot, flight, now) for slot in slots):
            break
    return tried_ones


def _chain(config: RuntimeConfig, name: str, kind: str) -> tuple[str, ...]:
    """A name and what it falls back on, each followed by its own."""
    names = [name]
    if name in config.names:
        for fallback in getattr(config.names[name], kind):
            names += [one for one in _chain(config, fallback, kind) if one not in names]
    return tuple(names)


def _after(config: RuntimeConfig, name: str, kind: str) -> tuple[str, ...]:
    """What comes after a name for one kind of cause, each followed by its fallbacks after failures."""
    names: list[str] = []
    for fallback in _chain(config, name, kind)[1:]:
        names += [one for one in _chain(config, fallback, "fallbacks") if one not in names]
    return tuple(names)


def _slots(lane: str, config: RuntimeConfig, tree: Tree) -> list[BackendSlot]:
    route = config.names.get(lane)
    targets = [] if route is None else [target.backend for target in route.targets]
    return [tree.roster.slots[name] for name in targets if name in tree.roster.slots]


def suited(flight: Flight, lane: str, config: RuntimeConfig, tree: Tree) -> list[BackendSlot]:
    """The backends of a lane that have what a flight needs and have not refused it for good."""
    return [
        slot
        for slot in _slots(lane, config, tree)
        if slot.id not in flight.barred and flight.needs.are_met_by(slot.config)
    ]


def _keeps(slot: BackendSlot, flight: Flight, now: float) -> bool:
    """Is it in service and not cooling, and has room in time if it is full?"""
    return (
        slot.child is not None
        and slot.child.state is ChildState.RUNNING
        and slot.out_of_service is None
        and now >= slot.not_before
        and slot.quota_until < flight.deadline
        and not slot.breaker.is_open(now)
    )


def _missing(flight: Flight, backend: BackendConfig) -> list[str]:
    """What a request asks for that a backend cannot do; read from the request itself."""
    request, able = flight.request, {one.value for one in backend.supports}
    wants = {
        "tools": bool(request.tools),
        "json_schema": request.response_format is not None
        and request.response_format["type"] == "json_schema",
        "images": any(
            part.get("type") == "image_url"
            for message in request.messages
            if not isinstance(message["content"], str)
            for part in message["content"]
        ),
    }
    return [name for name, wanted in wants.items() if wanted and name not in able]


def _lacks(flight: Flight, backend: BackendConfig) -> str:
    missing = _missing(flight, backend)
    if missing:
        return f"does not support {missing[0]}"
    tokens = -(-len(flight.request.payload) // BYTES_PER_TOKEN) + (flight.request.max_tokens or 0)
    window = backend.context_window
    return "" if window is None or tokens <= window else f"holds {window} tokens, and it has {tokens}"
