"""One attempt of a flight, and how far it has come; only its flight, under its lock, changes that."""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING

from showcaller.actors.cancel import CancelScope
from showcaller.actors.kernel.workers import Job

if TYPE_CHECKING:
    from showcaller.actors.flight import Flight


class AttemptState(enum.Enum):
    """How far an attempt has come."""

    RESERVING = "reserving"
    DISPATCHED = "dispatched"
    CLAIMED = "claimed"
    COMMITTED = "committed"
    REVOKED = "revoked"
    ENDED = "ended"


LIVE = frozenset(
    {AttemptState.RESERVING, AttemptState.DISPATCHED, AttemptState.CLAIMED, AttemptState.COMMITTED}
)
SILENT = frozenset({AttemptState.DISPATCHED, AttemptState.CLAIMED})


class AttemptRecord:
    """One attempt of a flight.

    Attributes:
        flight: what it is an attempt of.
        number: 1 for the first; with the flight's order it is the key of its reservation.
        slot: the backend slot it goes to, and `generation` the incarnation.
        lane: the name by which it got there: the flight's own, or a fallback's.
        state: how far it has come; only its flight changes it.
        scope: cancels it.
        epoch: the breaker's epoch in which it was admitted.
        tokens: what was reserved for it.
        deadline: when it must have ended; before it is dispatched, when it must have been reserved.
        dispatched: was it given to its backend?
        hurried: is its deadline the callers', and sooner than the end of the backend's own time?
        seat: the job that carries it out, once there is one.
        answered: has its backend said everything, so that only the caller's own transforms and validators go on?
    """

    __slots__ = (
        "answered",
        "deadline",
        "dispatched",
        "epoch",
        "flight",
        "generation",
        "hurried",
        "lane",
        "number",
        "scope",
        "seat",
        "slot",
        "state",
        "tokens",
    )

    def __init__(
        self,
        flight: Flight,
        number: int,
        slot: str,
        *,
        generation: int,
        epoch: int,
        tokens: int,
        deadline: float,
        lane: str | None = None,
    ) -> None:
        self.flight = flight
        self.number = number
        self.slot = slot
        self.lane = flight.lane if lane is None else lane
        self.generation = generation
        self.epoch = epoch
        self.tokens = tokens
        self.deadline = deadline
        self.state = AttemptState.RESERVING
        self.scope = CancelScope()
        self.dispatched = False
        self.hurried = False
        self.seat: Job | None = None
        self.answered = False

    @property
    def is_void(self) -> bool:
        """Was it taken back before it had a seat, so that nobody will say that it has ended?"""
        return self.state is AttemptState.REVOKED and self.seat is None

    @property
    def is_silent(self) -> bool:
        """Is its backend expected to say something, and has said nothing yet?"""
        return self.state in SILENT and not self.answered

    @property
    def key(self) -> tuple[int, int]:
        """The flight's order, which unlike its id is never used again, and the attempt's number."""
        return (self.flight.order, self.number)
