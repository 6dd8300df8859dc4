"""`runtime.supervisor`: a Pykka ActorRef that always reaches the incarnation that is running.

A Submit is prepared on the caller's thread and takes the same way as `runtime.ask`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, NoReturn

import pykka
from pykka import ActorDeadError

from showcaller.actors.kernel.address import Address
from showcaller.actors.kernel.errors import UnknownMessageError
from showcaller.actors.kernel.reply import ReplyFuture
from showcaller.actors.messages import Submit
from showcaller.actors.models import ChatRequest
from showcaller.actors.supervisor import Supervisor
from showcaller.runtime.pending import Pending


class SupervisorRef(pykka.ActorRef[Supervisor]):
    """The supervisor's slot, seen as a ref."""

    actor_class = Supervisor
    actor_urn = "showcaller:supervisor"

    def __init__(self, address: Address, submit: Callable[[ChatRequest], Pending]) -> None:
        # Not the base class's: that would take one incarnation, and this is the slot.
        self._address = address
        self._submit = submit

    @property
    def actor_stopped(self) -> threading.Event:  # type: ignore[override]
        """The running incarnation's."""
        return self._running().actor_stopped

    @property
    def actor_inbox(self) -> Any:  # type: ignore[override]
        """The running incarnation's."""
        return self._running().actor_inbox

    def _running(self) -> pykka.ActorRef[Any]:
        ref = self._address.ref
        if ref is None:
            raise ActorDeadError("the supervisor is between two incarnations, or the runtime has stopped")
        return ref

    def is_alive(self) -> bool:
        """Is an incarnation running?"""
        ref = self._address.ref
        return ref is not None and ref.is_alive()

    def tell(self, message: Any) -> None:
        """Tell the supervisor; a Submit is accepted or refused at once, as by `runtime.tell`.

        Raises:
            ActorDeadError: no incarnation is running.
            ShowcallerError: the door refuses the request.
        """
        if isinstance(message, Submit):
            self._submit(message.request)
        else:
            self._running().tell(message)

    def ask(self, message: Any, *, block: bool = True, timeout: float | None = None) -> Any:
        """Ask the supervisor; the reply to a Submit is its Outcome.

        Raises:
            pykka.Timeout: there was no reply within `timeout` seconds; the request goes on.
            ActorDeadError: no incarnation is running, and the message is not a Submit.
            ShowcallerError: the door refuses the request.
        """
        future = ReplyFuture()
        if isinstance(message, Submit):
            pending = self._submit(message.request)
            pending.when_done(lambda: future.set(pending.outcome))
        else:
            try:
                return self._running().ask(message, block=block, timeout=timeout)
            except ActorDeadError:
                # As a reply, which is how Pykka tells of an actor that is dead.
                future.set_exception()
        return future.get(timeout=timeout) if block else future

    def proxy(self) -> NoReturn:
        """Refused.

        Raises:
            UnknownMessageError: always; the supervisor is spoken to by messages.
        """
        raise UnknownMessageError("the supervisor has no proxy: tell or ask it messages, such as Submit")

    def __repr__(self) -> str:
        return "<ActorRef for showcaller:supervisor>"

    __str__ = __repr__
