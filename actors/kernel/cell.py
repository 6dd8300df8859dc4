"""One incarnation of an actor on a dispatcher: guards every phase and says exactly one Down."""

from __future__ import annotations

import threading
from typing import Any

import pykka
from pykka import ActorDeadError
from pykka._envelope import Envelope
from pykka.messages import _ActorStop

from showcaller.actors.kernel.actor import MARK, KernelActor
from showcaller.actors.kernel.log import log
from showcaller.actors.kernel.mailbox import MailboxFactory
from showcaller.actors.kernel.message import Crash, Down, Recipient


class Cell:
    """Holds the actor, its mailbox and how it ends.

    Attributes:
        name: the logical name of the incarnation: slot and generation.
        phase: what the actor is doing: __init__, on_start, on_<message>, on_stop, on_failure.
        stopped: Pykka's event of that name: it takes no messages any more.
        ended: its parent has been told.
        interrupt: what it died of, when that was no Exception, such as KeyboardInterrupt.
    """

    def __init__(
        self, slot: str, generation: int, parent: Recipient, mailbox: MailboxFactory, capacity: int
    ) -> None:
        self.slot = slot
        self.generation = generation
        self.name = f"{MARK}{slot}#{generation}"
        self.parent = parent
        self.mailbox = mailbox(self.name, capacity)
        self.phase = "__init__"
        self.stopped = threading.Event()
        self.ended = threading.Event()
        self.interrupt: BaseException | None = None
        self._actor: KernelActor | None = None
        self._crash: Crash | None = None
        self._ending = threading.Lock()

    def build(self, actor_class: type[KernelActor], *args: Any, **kwargs: Any) -> pykka.ActorRef[Any] | None:
        """Make the actor; None when its __init__ raised, which ends the incarnation."""
        try:
            actor = actor_class.__new__(actor_class)
            actor._cell = self
            actor.__init__(*args, **kwargs)  # type: ignore[misc]
            ref = actor.actor_ref
        except BaseException as error:
            self.crashed(error)
            self.end()
            if isinstance(error, Exception):
                return None
            raise
        self._actor = actor
        return ref

    def crashed(self, error: BaseException) -> None:
        """Note what the actor dies of; the first reason stays."""
        if self._crash is None:
            self._crash = Crash(self.phase, error)
            if not isinstance(error, Exception):
                self.interrupt = error

    def turn(self, messages: int) -> None:
        """Run on_start in the first turn, and in each later one up to `messages` that have arrived."""
        actor = self._actor
        if actor is None:
            return
        try:
            if self.phase == "__init__":
                self.phase = "on_start"
                actor._actor_loop_setup()
            else:
                actor._grant.left = min(messages, len(self.mailbox))
                actor._actor_loop_running()
        except BaseException as error:  # noqa: BLE001 - a thread outlives what the actors on it raise
            self.crashed(error)
        if self._crash is not None or self.stopped.is_set():
            self.end()
        else:
            self.mailbox.in_hand = None

    def end(self) -> None:
        """Close the mailbox, answer the asks that are left, tell the parent; only the first call counts."""
        if not self._ending.acquire(blocking=False):
            return
        self.stopped.set()
        self._actor = None
        # The crash holds the traceback, and with it every local: the Down has it, and nothing else keeps it.
        crash, self._crash = self._crash, None
        hand, self.mailbox.in_hand = self.mailbox.in_hand, None
        in_hand = None
        if crash is not None and hand is not None:
            self._turn_away(hand, "died handling the message")
            in_hand = None if isinstance(hand.message, _ActorStop) else hand.message
        salvaged = []
        for envelope in self.mailbox.close():
            self._turn_away(envelope, "stopped before handling the message")
            if envelope.reply_to is None and not isinstance(envelope.message, _ActorStop):
                salvaged.append(envelope.message)
        self._report(Down(self.slot, self.generation, crash, in_hand, tuple(salvaged)))
        self.ended.set()

    def _turn_away(self, envelope: Envelope[Any], reason: str) -> None:
        if envelope.reply_to is None:
            return
        if isinstance(envelope.message, _ActorStop):
            envelope.reply_to.set(None)
        else:
            error = ActorDeadError(f"{self.name} {reason}")
            envelope.reply_to.set_exception((ActorDeadError, error, None))

    def _report(self, down: Down) -> None:
        try:
            self.parent.tell(down)
        except ActorDeadError:
            log.debug("%s ended after its parent", self.name)
        except Exception as error:  # noqa: BLE001 - whatever a parent raises, the thread goes on
            log.error("the parent of %s did not take its Down: %s", self.name, type(error).__name__)
        if down.crash is not None:
            # As text: a handler that keeps records would keep the traceback.
            log.error("%s died: %s", self.name, str(down.crash))
