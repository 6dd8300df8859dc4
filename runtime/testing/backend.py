"""A simulated backend: a transport whose answers take virtual time, and which things can be wrong with.

It keeps the contract of every transport: its events, its deadlines and its cancellation are the same.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator

from attrs import define, field, frozen

from showcaller.actors.backend_config import BackendConfig
from showcaller.actors.errors import BackendUnreachableError, ShowcallerError
from showcaller.actors.kernel.clock import Clock
from showcaller.actors.transport import Attempt, Done, Failed, Sent, TransportEvent
from showcaller.runtime.testing.behaviour import Behaviour
from showcaller.runtime.testing.call import Call
from showcaller.runtime.testing.mishaps import Mishap, usual


@frozen(eq=False)
class Condition:
    """Something is wrong with a backend for a while.

    Attributes:
        mishap: what happens to calls instead of an answer; None: they answer.
        share: which part of the calls that begin meanwhile it happens to.
        change: makes how these calls behave of how they usually do; None: as usual.
        cuts: what every call that is under way fails of when this begins; None: they go on.
    """

    mishap: Mishap | None = None
    share: float = 1.0
    change: Callable[[Behaviour], Behaviour] | None = None
    cuts: Callable[[Call], ShowcallerError] | None = None


@define(eq=False)
class Probed:
    """A probe as the backend saw it; times are in seconds of the clock."""

    started: float
    ended: float | None = None


@define(eq=False)
class Served:
    """One call as the backend saw it; times are in seconds of the clock.

    Attributes:
        backend, request_id, number: which attempt.
        started: when it was begun; sent: when the request left; first_token, ended: as they say.
        error: what it failed of, when it said so.
        answered: was the whole answer given?
        dropped: did the runtime close it before its end?
        output_tokens: how long the answer was.
    """

    backend: str
    request_id: str
    number: int
    started: float
    deadline: float
    stream: bool
    sent: float | None = None
    first_token: float | None = None
    ended: float | None = None
    error: ShowcallerError | None = field(default=None, repr=False)
    answered: bool = False
    dropped: bool = False
    output_tokens: int = 0


class SimulatedBackend:
    """Carries out attempts in virtual time.

    Args:
        config: whose transport it is.
        behaviour: how it answers when nothing is wrong.
        clock: the time of the simulation. rng: draws everything that is random in it.
        waker: gives, inside a job's step, what lets that job go on at once.

    Attributes:
        served: every call, in the order of their beginning; `probed`: the probes, in theirs.
        conditions: what is wrong with it now.
    """

    def __init__(
        self,
        config: BackendConfig,
        behaviour: Behaviour,
        *,
        clock: Clock,
        rng: random.Random,
        waker: Callable[[], Callable[[], None] | None] = lambda: None,
    ) -> None:
        self.config = config
        self.behaviour = behaviour
        self.served: list[Served] = []
        self.probed: list[Probed] = []
        self.conditions: list[Condition] = []
        self._clock = clock
        self._rng = rng
        self._waker = waker
        self._open: dict[int, Call] = {}
        self._closed = False

    @property
    def open(self) -> int:
        """How many calls are under way."""
        return len(self._open)

    def begin(self, condition: Condition) -> None:
        """Something goes wrong."""
        self.conditions.append(condition)
        if condition.cuts is not None:
            for call in list(self._open.values()):
                self._cut(call, condition.cuts(call))

    def end(self, condition: Condition) -> None:
        """It is mended; no error when it was before."""
        if condition in self.conditions:
            self.conditions.remove(condition)

    def attempt(self, attempt: Attempt) -> Iterator[TransportEvent]:
        """Carry out one attempt; see Transport."""
        served = Served(
            self.config.name,
            attempt.request_id,
            attempt.number,
            self._clock.now(),
            attempt.deadline,
            attempt.stream,
        )
        mishap, behaviour = self._weather()
        call = Call(attempt, self.config.model or self.config.name, behaviour, self._clock, self._rng)
        if self._closed:
            name = attempt.backend
            yield Failed(
                BackendUnreachableError(
                    f"backend {name!r} has been closed; add it again to use it", backend=name
                )
            )
            return
        self.served.append(served)
        self._open[id(call)] = call
        try:
            call.wake = self._waker()
            if call.wake is not None:
                attempt.cancel.on_cancel(call.wake)
            for event in self._play(call, mishap):
                if isinstance(event, Sent):
                    served.sent = self._clock.now()
                elif isinstance(event, Failed):
                    served.error = event.error
                elif isinstance(event, Done):
                    served.answered = True
                    served.output_tokens = event.usage.output_tokens
                served.first_token = call.began_answer
                yield event
        except GeneratorExit:
            served.dropped = not served.answered and served.error is None
            raise
        finally:
            served.ended = self._clock.now()
            del self._open[id(call)]

    def probe(self, attempt: Attempt) -> Iterator[TransportEvent]:
        """Show whether it is there; see Probing."""
        mishap, behaviour = self._weather()
        call = Call(attempt, self.config.model or self.config.name, behaviour, self._clock, self._rng)
        if self._closed:
            yield Failed(call.unreachable("it has been closed"))
            return
        probed = Probed(self._clock.now())
        self.probed.append(probed)
        self._open[id(call)] = call
        try:
            call.wake = self._waker()
            if call.wake is not None:
                attempt.cancel.on_cancel(call.wake)
            for event in self._play(call, _listed if mishap is usual else mishap):
                if not isinstance(event, Done):
                    yield event
        finally:
            probed.ended = self._clock.now()
            del self._open[id(call)]

    def close(self) -> None:
        """Cut off every call, and refuse those that come."""
        self._closed = True
        for call in list(self._open.values()):
            self._cut(call, call.unreachable("it has been closed"))

    def _cut(self, call: Call, error: ShowcallerError) -> None:
        call.cut = error
        if call.wake is not None:
            call.wake()

    def _weather(self) -> tuple[Mishap, Behaviour]:
        mishap: Mishap = usual
        behaviour = self.behaviour
        for condition in self.conditions:
            if condition.share < 1.0 and self._rng.random() >= condition.share:
                continue
            if condition.mishap is not None:
                mishap = condition.mishap
            if condition.change is not None:
                behaviour = condition.change(behaviour)
        return mishap, behaviour

    def _play(self, call: Call, mishap: Mishap) -> Iterator[TransportEvent]:
        try:
            yield from mishap(call)
        except ShowcallerError as error:
            # Its frames hold the whole call.
            error.__traceback__ = error.__cause__ = error.__context__ = None
            yield Failed(error)


def _listed(call: Call) -> Iterator[TransportEvent]:
    """A list of models is there as soon as the connection stands."""
    yield from call.connect()
