"""The engine of a runtime: its machine and its tree, begun together and ended in reverse, each within a bound."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping

from pykka import ActorDeadError, Timeout
from pykka.messages import _ActorStop

from showcaller.actors.configuration import RuntimeConfig
from showcaller.actors.errors import RuntimeStoppedError
from showcaller.actors.escalation import OnFailed
from showcaller.actors.kernel.message import Down
from showcaller.actors.kernel.reply import ReplyFuture
from showcaller.actors.log import THREADS_LEFT
from showcaller.actors.messages import Escalated, Ready, WindDown
from showcaller.actors.transport import Transport
from showcaller.runtime.backends import Backends
from showcaller.runtime.closing import close_all
from showcaller.runtime.machine import Machine
from showcaller.runtime.tree import Tree

READY_SECONDS = 10.0
"""How long the tree may take to stand."""
TEARDOWN_SECONDS = 2.0
"""How long an end waits for actors, transports and threads altogether."""


class Root:
    """The guardian's parent: hears of its end, and of what it could not mend."""

    def __init__(self, fail: Callable[[str], None]) -> None:
        self.guardian_down = ReplyFuture()
        self._fail = fail

    def tell(self, message: Down | Escalated) -> None:
        """Take note; on the shared thread."""
        if isinstance(message, Escalated):
            self._fail(f"{message.slot} crashed too often ({message.crash})")
            return
        self.guardian_down.set()
        if message.crash is not None:
            self._fail(f"the guardian died ({message.crash})")


class Engine:
    """What runs.

    Args:
        config, transports: what the tree is built from.
        machine: what it runs on.
        fail: called, on the shared thread, with the reason why it cannot go on.
        on_failed: as for Tree.

    Attributes:
        tree: the actors, and what outlives them.
        machine: the same as the argument.
    """

    def __init__(
        self,
        config: RuntimeConfig,
        transports: Mapping[str, Transport],
        machine: Machine,
        fail: Callable[[str], None],
        on_failed: OnFailed,
    ) -> None:
        self.machine = machine
        self._clock = machine.system.clock
        self._root = Root(fail)
        self.tree = Tree(machine.system, config, transports, on_failed)

    def begin(self) -> None:
        """Start, and wait until the supervisor has started the backends.

        Raises:
            pykka.Timeout: that took longer than READY_SECONDS.
        """
        self.machine.start()
        self.tree.start(self._root)
        standing = ReplyFuture()
        self.tree.address("supervisor").tell(Ready(standing))
        standing.get(timeout=READY_SECONDS)

    def end(self, backends: Backends, error: RuntimeStoppedError) -> None:
        """End everything; whoever waits for one of the `backends` gets `error`."""
        until = self._clock.now() + TEARDOWN_SECONDS

        def left() -> float:
            return max(0.0, until - self._clock.now())

        backends.close(error)
        guardian = self.tree.guardian
        if guardian is not None:
            with contextlib.suppress(ActorDeadError, Timeout):
                guardian.tell(WindDown())
                # The rest of the time is for what does not depend on a core that is stuck.
                self._root.guardian_down.get(timeout=TEARDOWN_SECONDS / 2)
        self._stop_what_is_left()
        backends.let_go(error)
        # Not earlier: a backend that was being added is among them only now.
        slots = self.tree.roster.slots
        for slot in slots.values():
            slot.workers.close()
        workers = self.tree.system.workers
        closing = close_all({name: slot.transport for name, slot in slots.items()}, workers)
        pools = (self.machine.callbacks, self.machine.finalizers)
        for pool in pools:
            pool.close()
        # What may hang for ever is waited for last.
        hanging = self.machine.stop(left)
        for pool in (*pools, closing, *(slot.workers for slot in slots.values())):
            hanging += pool.join(left())
        if hanging:
            THREADS_LEFT.say(hanging)

    def _stop_what_is_left(self) -> None:
        """The actors that an orderly stop did not reach, because the guardian died or one of them hangs."""
        slots = [slot.child for slot in self.tree.roster.slots.values()]
        for child in [*self.tree.children.values(), *slots]:
            ref = None if child is None else child.address.ref
            if ref is not None:
                with contextlib.suppress(ActorDeadError):
                    ref.tell(_ActorStop())
