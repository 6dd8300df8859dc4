"""What actors need from the world, in one place: a clock, a seeded random source, and dispatchers."""

from __future__ import annotations

import random
from typing import Any

import pykka

from showcaller.actors.kernel import fork
from showcaller.actors.kernel.actor import KernelActor
from showcaller.actors.kernel.cell import Cell
from showcaller.actors.kernel.clock import Clock
from showcaller.actors.kernel.dispatcher import Dispatcher
from showcaller.actors.kernel.mailbox import Mailbox, MailboxFactory
from showcaller.actors.kernel.message import Recipient
from showcaller.actors.kernel.workers import WorkersFactory


class ActorSystem:
    """Spawns actors. A simulation gives the same actors another clock, dispatcher, workers and mailbox.

    Attributes:
        clock: time and timers.
        rng: the source of all randomness in actors; only for the shared thread.
        shared: the dispatcher of the non-blocking core.
        pinned: the dispatcher of actors that do slow work.
        workers: makes the pools whose threads do the I/O.
        mailbox: makes the inbox of an incarnation.
    """

    def __init__(
        self,
        *,
        clock: Clock,
        rng: random.Random,
        shared: Dispatcher,
        pinned: Dispatcher,
        workers: WorkersFactory,
        mailbox: MailboxFactory = Mailbox,
    ) -> None:
        self.clock = clock
        self.rng = rng
        self.shared = shared
        self.pinned = pinned
        self.workers = workers
        self.mailbox = mailbox
        self._born = fork.generation()

    def spawn(
        self,
        actor_class: type[KernelActor],
        *args: Any,
        slot: str,
        parent: Recipient,
        generation: int = 1,
        dispatcher: Dispatcher | None = None,
        capacity: int = 1024,
        **kwargs: Any,
    ) -> pykka.ActorRef[Any] | None:
        """Start an incarnation.

        Whatever goes wrong, now or later, `parent` gets exactly one Down for it. None is returned when the
        actor could not be made or its thread not be started; the Down is then on its way already.

        Args:
            actor_class: what to start; it gets `args` and `kwargs`.
            slot: the logical name of the place it fills.
            parent: who gets the Down.
            generation: which incarnation of the slot it is.
            dispatcher: where it runs; by default the shared one.
            capacity: how many refusable messages its mailbox holds.

        Raises:
            ForkedProcessError: the process was forked.
        """
        fork.refuse_if_forked(self._born)
        cell = Cell(slot, generation, parent, self.mailbox, capacity)
        ref = cell.build(actor_class, *args, **kwargs)
        if ref is None:
            return None
        try:
            (dispatcher or self.shared).attach(cell)
        except BaseException as error:
            cell.phase = "start of its thread"
            cell.crashed(error)
            cell.end()
            if isinstance(error, Exception):
                return None
            raise
        return ref
