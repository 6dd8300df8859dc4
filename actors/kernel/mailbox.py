"""A mailbox: per sender in order, bounded for what may be refused, closable without a race.

`put` never blocks. A stop overtakes everything; all else is first in, first out, so that no message
about a request arrives before the request.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import Any, Protocol

from pykka import ActorDeadError
from pykka._envelope import Envelope
from pykka.messages import _ActorStop

from showcaller.actors.kernel import fork
from showcaller.actors.kernel.errors import MailboxFullError
from showcaller.actors.kernel.message import Message


def refusable(message: Any) -> bool:
    """May a full mailbox refuse the message? What is not a Message of ours always may."""
    return message.refusable if isinstance(message, Message) else True


class MailboxFactory(Protocol):
    """Makes a mailbox."""

    def __call__(self, owner: str, capacity: int) -> Mailbox:
        """A mailbox for an incarnation, with so many places for what may be refused."""


class Mailbox:
    """The inbox of one incarnation.

    The consumer says by `park()` that it has nothing to do; `on_ready`, which must not block, is then called
    once on the sender's thread when a message arrives, or twice when that was interrupted. A finalizer or a
    signal handler may send while its thread is inside here; hence the reentrant lock.
    """

    def __init__(self, owner: str, capacity: int) -> None:
        self.owner = owner
        self.capacity = capacity
        self.dropped = 0
        self.in_hand: Envelope[Any] | None = None
        self.on_ready: Callable[[], None] | None = None
        self._lock = threading.RLock()
        self._urgent: deque[Envelope[Any]] = deque()
        self._queue: deque[Envelope[Any]] = deque()
        self._refusables = 0
        self._parked = False
        self._closed = False
        self._born = fork.generation()

    def __len__(self) -> int:
        return len(self._urgent) + len(self._queue)

    def put(self, envelope: Envelope[Any]) -> None:
        """Take an envelope.

        Raises:
            ActorDeadError: the mailbox is closed. An ask gets this and the next as its reply.
            MailboxFullError: the message may be refused and the bounded lane is full.
            ForkedProcessError: the process was forked.
        """
        fork.refuse_if_forked(self._born)
        refusal = self._take(envelope)
        if refusal is None:
            return
        if envelope.reply_to is None:
            raise refusal
        envelope.reply_to.set_exception((type(refusal), refusal, None))

    def offer(self, message: Message) -> bool:
        """Take a refusable message, or drop and count it; True when it was taken."""
        fork.refuse_if_forked(self._born)
        if self._take(Envelope(message)) is None:
            return True
        with self._lock:
            self.dropped += 1
        return False

    def _take(self, envelope: Envelope[Any]) -> Exception | None:
        message = envelope.message
        with self._lock:
            if self._closed:
                return ActorDeadError(f"{self.owner} is not running")
            if isinstance(message, _ActorStop):
                self._urgent.append(envelope)
            else:
                if refusable(message):
                    if self._refusables >= self.capacity:
                        return MailboxFullError(
                            f"the mailbox of {self.owner} holds {self.capacity} messages; send less, or later"
                        )
                    self._refusables += 1
                self._queue.append(envelope)
            if self._parked:
                # In this order: an interrupt in between wakes the consumer twice, and not never.
                if self.on_ready is not None:
                    self.on_ready()
                self._parked = False
        return None

    def get(self) -> Envelope[Any]:
        """The next envelope; a dispatcher steps its actor only when there is one.

        Raises:
            IndexError: there is none.
        """
        with self._lock:
            if self._urgent:
                envelope = self._urgent.popleft()
            else:
                envelope = self._queue.popleft()
                if self._refusables and refusable(envelope.message):
                    self._refusables -= 1
        self.in_hand = envelope
        return envelope

    def empty(self) -> bool:
        """Is there nothing to get?"""
        return not (self._urgent or self._queue)

    def park(self) -> bool:
        """Say that the consumer has nothing to do; False when there is something after all."""
        with self._lock:
            # Parked first, looked second: what a finalizer sends in between is then either seen or wakes.
            self._parked = True
            if not self.empty():
                self._parked = False
            return self._parked

    def close(self) -> list[Envelope[Any]]:
        """Refuse everything from now on and return what was left, in order; a second call returns nothing."""
        with self._lock:
            self._closed = True
            left = [*self._urgent, *self._queue]
            self._urgent.clear()
            self._queue.clear()
            self._refusables = 0
            return left
