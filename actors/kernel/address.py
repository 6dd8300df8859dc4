"""Where a slot is reached, whichever incarnation fills it: messages wait while there is none."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable
from typing import Any

import pykka
from pykka import ActorDeadError

from showcaller.actors.kernel import fork
from showcaller.actors.kernel.errors import MailboxFullError
from showcaller.actors.kernel.mailbox import Mailbox, refusable
from showcaller.actors.kernel.message import Message


class Address:
    """A slot's lasting address.

    `tell` raises nothing, except ForkedProcessError after a fork: between two incarnations messages are
    parked, in order, and the next one gets them. What is refusable is not parked but dropped and counted,
    and so is everything after `close`.
    """

    def __init__(self, slot: str) -> None:
        self.slot = slot
        self.lost = 0
        self._lock = threading.RLock()
        self._ref: pykka.ActorRef[Any] | None = None
        self._parked: deque[Any] = deque()
        self._closed = False
        self._born = fork.generation()

    @property
    def ref(self) -> pykka.ActorRef[Any] | None:
        """The incarnation that fills the slot, or None."""
        return self._ref

    def tell(self, message: Any) -> None:
        """Tell the incarnation, or park the message until there is one."""
        fork.refuse_if_forked(self._born)
        # Without the lock while there is an incarnation: a finalizer that tells may run inside its mailbox.
        ref = self._ref
        while ref is None or not self._deliver(ref, message):
            with self._lock:
                if self._ref is ref:
                    self._ref = None
                    self._keep(message)
                    return
                ref = self._ref

    def offer(self, message: Message) -> bool:
        """Tell a refusable message, or drop and count it; True when it was taken."""
        fork.refuse_if_forked(self._born)
        ref = self._ref
        if ref is not None and not self._closed:
            inbox = ref.actor_inbox
            assert isinstance(inbox, Mailbox)
            if inbox.offer(message):
                return True
        with self._lock:
            self.lost += 1
        return False

    def occupy(self, ref: pykka.ActorRef[Any], first: Iterable[Any] = ()) -> None:
        """A new incarnation fills the slot: it gets the messages of `first`, then those that were parked."""
        with self._lock:
            self._ref = None
            self._parked.extendleft(reversed(list(first)))
            while self._parked:
                if not self._deliver(ref, self._parked[0]):
                    return
                self._parked.popleft()
            self._ref = ref

    def close(self) -> list[Any]:
        """No incarnation will come any more: returns the messages that were parked."""
        with self._lock:
            self._closed = True
            self._ref = None
            parked, self._parked = list(self._parked), deque()
            return parked

    def _keep(self, message: Any) -> None:
        if self._closed or refusable(message):
            self.lost += 1
        else:
            self._parked.append(message)

    def _deliver(self, ref: pykka.ActorRef[Any], message: Any) -> bool:
        try:
            ref.tell(message)
        except MailboxFullError:
            with self._lock:
                self.lost += 1
        except ActorDeadError:
            return False
        return True
