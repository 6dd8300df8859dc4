"""A mailbox in which messages overtake each other as on real threads.

Two senders that know nothing of each other may be in either order, whichever was stepped first: between their
two appends nothing decides but the threads. What is never turned round: two messages of one sender; one whose
sender had seen a consequence of the other; messages of different moments; and what was there when an
incarnation began.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

from attrs import frozen
from pykka._envelope import Envelope
from pykka.messages import _ActorStop

from showcaller.actors.kernel.mailbox import Mailbox

if TYPE_CHECKING:
    from showcaller.runtime.testing.world import World

WINDOW = 6
"""That many of the oldest messages may be got next."""


@frozen
class _Stamp:
    """When and by whom a message was put.

    Attributes:
        sender: the logical name of the process.
        step: which step of the world put it.
        knows: the latest step of which a message had reached the sender.
        time: virtual seconds.
        fixed: nothing overtakes it.
    """

    sender: str
    step: int
    knows: int
    time: float
    fixed: bool


class SimulatedMailbox(Mailbox):
    """The inbox of one incarnation in a world."""

    def __init__(self, owner: str, capacity: int, world: World) -> None:
        super().__init__(owner, capacity)
        self._world = world
        self._stamps: deque[_Stamp] = deque()
        self._born_in = world.steps

    @property
    def capacity(self) -> int:
        """How many refusable messages it holds."""
        return 0 if self._world.is_overloaded(self.owner) else self._capacity

    @capacity.setter
    def capacity(self, capacity: int) -> None:
        self._capacity = capacity

    def _take(self, envelope: Envelope[Any]) -> Exception | None:
        world = self._world
        if not world.let_through(self, envelope):
            return None
        refusal = super()._take(envelope)
        if refusal is None and not isinstance(envelope.message, _ActorStop):
            at = world.current
            self._stamps.append(
                _Stamp(at.name, world.steps, at.knows, world.clock.time, world.steps == self._born_in)
            )
        return refusal

    def get(self) -> Envelope[Any]:
        """One of the messages that could be the next."""
        stamp = None
        if not self._urgent:
            index = self._pick()
            stamp = self._stamps[index]
            if index:
                envelope = self._queue[index]
                del self._queue[index], self._stamps[index]
                self._queue.appendleft(envelope)
                self._stamps.appendleft(stamp)
            self._stamps.popleft()
        envelope = super().get()
        self._world.received(self, envelope, None if stamp is None else stamp.step)
        return envelope

    def close(self) -> list[Envelope[Any]]:
        """As of any mailbox."""
        self._stamps.clear()
        return super().close()

    def _pick(self) -> int:
        stamps = self._stamps
        if len(stamps) < 2 or stamps[0].fixed:
            return 0
        candidates = [0]
        for index in range(1, min(len(stamps), WINDOW)):
            later = stamps[index]
            if later.time != stamps[0].time:
                break
            if all(
                earlier.sender != later.sender and earlier.step > later.knows and not earlier.fixed
                for earlier in list(stamps)[:index]
            ):
                candidates.append(index)
        return candidates[self._world.choose(len(candidates))]
