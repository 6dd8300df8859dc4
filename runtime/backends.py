"""`runtime.backends`: the backends by name, and what can be done to them while the runtime runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from showcaller.actors.errors import ConfigurationError, ShowcallerError
from showcaller.actors.kernel.address import Address
from showcaller.actors.kernel.reply import ReplyFuture
from showcaller.actors.messages import AddBackend, DrainBackend, Provoke
from showcaller.actors.settings import BackendConfig
from showcaller.actors.slot import BackendSlot
from showcaller.actors.transport import Transport
from showcaller.runtime.tree import Tree

REPLY_SECONDS = 10.0
"""How long the supervisor may take to answer, beyond a drain's own time."""


class Backends:
    """Thread-safe; every call waits for the supervisor's answer, with a deadline."""

    def __init__(self, tree: Tree, make_transport: Callable[[BackendConfig], Transport]) -> None:
        self._tree = tree
        self._make_transport = make_transport

    def __iter__(self) -> Iterator[str]:
        return iter(self._tree.roster.slots)

    def __len__(self) -> int:
        return len(self._tree.roster.slots)

    def __contains__(self, name: object) -> bool:
        return name in self._tree.roster.slots

    def add(self, config: BackendConfig, transport: Transport | None = None) -> None:
        """Add a backend; requests may reach it from now on.

        Args:
            config: what it is.
            transport: carries out its attempts; by default what its type says.

        Raises:
            ConfigurationError: its name is taken, or its transport cannot be made.
            pykka.Timeout: the supervisor did not answer in time.
        """
        made = self._make_transport(config) if transport is None else transport
        slot = self._tree.make_slot(config, made)
        try:
            self._ask(lambda reply: AddBackend(slot, reply), REPLY_SECONDS)
        except BaseException:
            made.close()
            slot.workers.close()
            raise

    def drain(self, name: str, timeout: float = 30.0) -> int:
        """Give a backend nothing new, and wait until what it has is done; it stays, and takes nothing.

        Args:
            name: which.
            timeout: seconds after which what is still in flight is cancelled.

        Returns:
            how many attempts had to be cancelled.

        Raises:
            ConfigurationError: there is no such backend.
        """
        return self._drain(name, timeout, remove=False)

    def remove(self, name: str, timeout: float = 30.0) -> int:
        """Drain a backend and take it out; adding the name again makes a new one.

        Returns:
            how many attempts had to be cancelled.

        Raises:
            ConfigurationError: there is no such backend.
        """
        slot = self._slot(name)
        cancelled = self._drain(name, timeout, remove=True)
        slot.transport.close()
        slot.workers.join(REPLY_SECONDS)
        return cancelled

    def crash(self, name: str, reason: str = "a drill") -> None:
        """Let a backend's actor die, as a drill: it is restarted, and what it held is answered all the same.

        Raises:
            ConfigurationError: there is no such backend.
        """
        child = self._slot(name).child
        if child is not None:
            child.address.tell(Provoke(reason))

    def _slot(self, name: str) -> BackendSlot:
        slots = self._tree.roster.slots
        if name not in slots:
            raise ConfigurationError(
                f"backends: there is no backend {name!r}; known are: {', '.join(slots) or 'none'}"
            )
        return slots[name]

    def _drain(self, name: str, timeout: float, *, remove: bool) -> int:
        deadline = self._tree.system.clock.now() + timeout
        cancelled = self._ask(
            lambda reply: DrainBackend(name, deadline, remove, reply), timeout + REPLY_SECONDS
        )
        assert isinstance(cancelled, int)
        return cancelled

    def _ask(self, message_with: Callable[[ReplyFuture], Any], timeout: float) -> object:
        reply = ReplyFuture()
        address: Address = self._tree.address("supervisor")
        address.tell(message_with(reply))
        answer = reply.get(timeout=timeout)
        if isinstance(answer, ShowcallerError):
            raise answer
        return answer
