"""The base actor: a known handler that raises is death, an unknown message is refused, a stop is clean.

Built on Pykka's own loop through private hooks; tests/actors/kernel/test_pykka_hooks.py names each one.
"""

from __future__ import annotations

import logging
from types import TracebackType
from typing import TYPE_CHECKING, Any

import pykka
from pykka.messages import _ActorStop

from showcaller.actors.kernel.errors import ActorCrashedError, UnknownMessageError
from showcaller.actors.kernel.log import log
from showcaller.actors.kernel.mailbox import Mailbox
from showcaller.actors.kernel.message import Message
from showcaller.actors.kernel.reply import ReplyFuture

if TYPE_CHECKING:
    from showcaller.actors.kernel.cell import Cell


MARK = "showcaller:"
"""What the names of our actors begin with, in whatever Pykka logs."""


class _NotOurs(logging.Filter):
    """Drops Pykka's records about our actors: they carry messages and tracebacks; the kernel logs its own."""

    def filter(self, record: logging.LogRecord) -> bool:
        return MARK not in str(record.msg)


logging.getLogger("pykka").addFilter(_NotOurs())


class Grant:
    """Stands in for an actor's stopped event and ends Pykka's loop after a granted number of messages."""

    __slots__ = ("_stopped", "left")

    def __init__(self, stopped: Any) -> None:
        self._stopped = stopped
        self.left = 0

    def is_set(self) -> bool:
        """Must the loop end, because the actor has stopped or because the grant is spent?"""
        if self.left == 0 or self._stopped.is_set():
            return True
        self.left -= 1
        return False

    def set(self) -> None:
        """The actor has stopped."""
        self._stopped.set()


class KernelActor(pykka.Actor):
    """An actor that is spawned by an ActorSystem, never by `start()`.

    Handlers are methods `on_<message>`, which get the message and return the reply of an ask. A handler
    sends tells and never waits; `on_start` does no I/O.
    """

    _cell: Cell
    _grant: Grant

    def __init__(self) -> None:
        super().__init__()
        self.actor_urn = self._cell.name
        self.actor_stopped = self._cell.stopped
        self._actor_ref = pykka.ActorRef(self)
        self._grant = Grant(self.actor_stopped)
        self.actor_stopped = self._grant  # type: ignore[assignment]

    @classmethod
    def start(cls, *_args: Any, **_kwargs: Any) -> Any:
        """Refused: an actor without a parent would be nobody's to restart.

        Raises:
            TypeError: always.
        """
        raise TypeError(f"{cls.__name__} is spawned by an ActorSystem: system.spawn({cls.__name__}, ...)")

    def __str__(self) -> str:
        return self._cell.name

    def _create_actor_inbox(self) -> Mailbox:  # type: ignore[override]
        return self._cell.mailbox

    @staticmethod
    def _create_future() -> ReplyFuture:
        return ReplyFuture()

    def _start_actor_loop(self) -> None:
        raise AssertionError("unreachable: start() is refused")

    def _handle_failure(
        self,
        exception_type: type[BaseException] | None,
        exception_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Pykka's way of saying that a phase raised."""
        assert exception_value is not None
        self._cell.crashed(exception_value)
        self._cell.phase = "on_failure"
        self.actor_stopped.set()

    def _handle_receive(self, message: Any) -> Any:
        stop = isinstance(message, _ActorStop)
        handler = getattr(self, message.handler, None) if isinstance(message, Message) else None
        if handler is None and not stop:
            return self._refuse(message)
        self._cell.phase = "on_stop" if stop else message.handler
        try:
            return self._stop() if stop else handler(message)  # type: ignore[misc]
        except BaseException as error:
            self._cell.crashed(error)
            self.actor_stopped.set()
            if stop:
                return None
            if isinstance(error, Exception):
                raise
            raise ActorCrashedError(f"{self} died of {type(error).__name__}") from error

    def _refuse(self, message: Any) -> None:
        refusal = UnknownMessageError(f"{self} has no handler for {type(message).__name__}")
        envelope = self._cell.mailbox.in_hand
        if envelope is not None and envelope.reply_to is not None:
            raise refusal
        log.warning("%s", refusal)
