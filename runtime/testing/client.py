"""Callers of a simulated runtime: each sends one request, perhaps reads its stream, perhaps gives it up."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from attrs import define, field, frozen

from showcaller.actors.errors import ShowcallerError
from showcaller.actors.flight import Flight
from showcaller.actors.models import Answered, ChatRequest, Errored, Outcome
from showcaller.actors.ticket import Ticket
from showcaller.actors.validators import number, whole
from showcaller.runtime.pending import Pending
from showcaller.runtime.prompt import Options, Prompt, as_request

if TYPE_CHECKING:
    from showcaller.runtime.testing.door import Door
    from showcaller.runtime.testing.world import World


SECONDS = "use seconds, 0 or more"
CHUNKS = "use a number of chunks, 0 or more, or None for all"


@frozen(kw_only=True)
class Plan:
    """What one caller does.

    Attributes:
        prompt, options: as for `Runtime.submit`.
        stream: does it want chunks?
        cancel_after: seconds after which it gives up; None: never.
        read_pause: seconds between two chunks that it reads.
        reads: how many chunks it reads before it stops reading, without closing the stream; None: all.
    """

    prompt: Prompt
    options: Options = field(factory=Options)
    stream: bool = False
    cancel_after: float | None = field(default=None, validator=number(SECONDS, least=0, none=True))
    read_pause: float = field(default=0.0, validator=number(SECONDS, least=0))
    reads: int | None = field(default=None, validator=whole(CHUNKS, least=0, none=True))


@define(eq=False)
class Sent:
    """What became of one request, as its caller saw it; times are in seconds of the clock.

    Attributes:
        plan: what the caller did.
        request: what was sent; None before that.
        request_id: "" when it was refused.
        ticket, pending: what it got at the door; None when it was refused.
        submitted, deadline, completed: when; `completed` is None while it is open.
        outcomes: the outcomes that came; more than one is a fault of the runtime.
        refused: the error at the door, or None.
        chunks: what was read of its stream.
        cancelled: did the caller give it up?
    """

    plan: Plan
    submitted: float
    request: ChatRequest | None = None
    request_id: str = ""
    ticket: Ticket | None = None
    pending: Pending | None = None
    deadline: float = 0.0
    completed: float | None = None
    outcomes: list[Outcome] = field(factory=list)
    refused: ShowcallerError | None = None
    chunks: list[str] = field(factory=list)
    cancelled: bool = False
    stream_error: ShowcallerError | None = None

    @property
    def flight(self) -> Flight | None:
        """The call that it shares."""
        return None if self.ticket is None else self.ticket.flight

    @property
    def decided(self) -> Outcome | None:
        """What it has been given, whether or not it has heard of it yet."""
        return None if self.pending is None else self.pending.outcome

    @property
    def outcome(self) -> Outcome | None:
        """The first that it heard of."""
        return self.outcomes[0] if self.outcomes else None

    @property
    def ok(self) -> bool:
        """Was it answered?"""
        return isinstance(self.outcome, Answered)

    @property
    def error(self) -> ShowcallerError | None:
        """What it failed of, or was refused for."""
        return self.outcome.error if isinstance(self.outcome, Errored) else self.refused


class Client:
    """One caller in a world."""

    def __init__(self, world: World, door: Door, plan: Plan, number: int) -> None:
        self._world = world
        self._door = door
        self._name = f"client {number}"
        self.sent = Sent(plan, world.clock.now())
        self._reading = False

    def send(self) -> None:
        """Send the request, as the process whose step it is."""
        sent, plan = self.sent, self.sent.plan
        sent.submitted = self._world.clock.now()
        try:
            sent.request = as_request(plan.prompt, plan.options)
            self._ticket, _ = self._door.admit(sent, stream=plan.stream)
        except ShowcallerError as error:
            self._door.refused(sent, error)
            return
        if plan.cancel_after is not None:
            self._later(plan.cancel_after, self.cancel)
        if plan.stream:
            self._wait_for_chunk()

    def cancel(self) -> None:
        """Give it up."""
        sent = self.sent
        if sent.pending is not None and sent.pending.cancel():
            sent.cancelled = True

    # --- its stream ---

    def _wait_for_chunk(self) -> None:
        reader = self._ticket.reader
        assert reader is not None
        reader.waker = self._wake
        if reader is not self._ticket.reader:
            self._wait_for_chunk()
        elif reader.ready:
            reader.waker = None
            self._read_soon(0.0)

    def _wake(self) -> None:
        self._read_soon(0.0)

    def _read_soon(self, pause: float) -> None:
        if not self._reading:
            self._reading = True
            self._later(pause, self._read)

    def _read(self) -> None:
        self._reading = False
        sent, plan = self.sent, self.sent.plan
        while plan.reads is None or len(sent.chunks) < plan.reads:
            try:
                chunk = self._ticket.take_chunk(0.0)
            except ShowcallerError as error:
                sent.stream_error = error
                return
            except TimeoutError:
                self._wait_for_chunk()
                return
            if chunk is None:
                return
            sent.chunks.append(chunk.text)
            if plan.read_pause:
                self._read_soon(plan.read_pause)
                return

    def _later(self, delay: float, act: Any) -> None:
        self._world.at(self._world.clock.now() + delay, self._name, act)
