"""`runtime.backends`: the backends by name, and what can be done to them while the runtime runs."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import TypeAlias

from attrs import evolve

from showcaller.actors.backend_config import BackendConfig
from showcaller.actors.errors import ConfigurationError, RuntimeStoppedError, ShowcallerError
from showcaller.actors.kernel import fork
from showcaller.actors.kernel.context import forbid_waiting
from showcaller.actors.kernel.reply import ReplyFuture
from showcaller.actors.messages import AddBackend, DrainBackend, Provoke, ResetBackend
from showcaller.actors.slot import BackendSlot
from showcaller.actors.transport import Transport
from showcaller.actors.validators import is_number
from showcaller.runtime.closing import close_all
from showcaller.runtime.tree import Tree

REPLY_SECONDS = 10.0
"""How long the supervisor may take to answer, beyond a drain's own time."""
CLOSING_SECONDS = 2.0
"""How long a removed backend's transport, and then its threads, may take to end."""

Change: TypeAlias = AddBackend | DrainBackend | ResetBackend
"""What the supervisor is asked for, and gives a reply to."""


class Backends:
    """Thread-safe; every call waits for the supervisor's answer, with a deadline.

    After the runtime's stop they raise RuntimeStoppedError, and after a fork ForkedProcessError.
    """

    def __init__(self, tree: Tree, make_transport: Callable[[BackendConfig], Transport]) -> None:
        self._tree = tree
        self._make_transport = make_transport
        self._lock = threading.Lock()
        self._adding = threading.Lock()
        self._waiting: set[ReplyFuture] = set()
        self._closed: RuntimeStoppedError | None = None
        self._born = fork.generation()

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
            transport: carries out its attempts, and is closed with the backend, or when it is refused; by
                default what its type says.

        Raises:
            ConfigurationError: its name is taken, or its transport cannot be made.
            pykka.Timeout: the supervisor did not answer in time; it may add the backend later.
        """
        self._refuse("add")
        made = transport
        try:
            self._refuse_taken(config)
            if made is None:
                made = self._make_transport(config)
            # One at a time, and the name looked up again: a slot opens its ledger under the name when it is
            # made, which must not be another's.
            with self._adding:
                self._refuse_taken(config)
                slot = self._tree.make_slot(config, made)
                self._ask(AddBackend(slot, ReplyFuture()), REPLY_SECONDS)
        except ShowcallerError:
            if made is not None:
                close_all({config.name: made}, self._tree.system.workers).join(CLOSING_SECONDS)
            raise

    def drain(self, name: str, timeout: float = 30.0) -> int:
        """Give a backend nothing new, and wait until what it has is done; it stays, and takes nothing.

        Args:
            name: which.
            timeout: seconds after which what is still in flight is cancelled.

        Returns:
            how many attempts had to be cancelled.

        Raises:
            ConfigurationError: there is no such backend, or `timeout` is not 0 or more.
        """
        self._refuse("drain")
        return self._drain(name, timeout, remove=False)

    def remove(self, name: str, timeout: float = 30.0) -> int:
        """Drain a backend and take it out; adding the name again makes a new one.

        Returns:
            how many attempts had to be cancelled.

        Raises:
            ConfigurationError: there is no such backend, or `timeout` is not 0 or more.
        """
        self._refuse("remove")
        slot = self._slot(name)
        cancelled = self._drain(name, timeout, remove=True)
        close_all({name: slot.transport}, self._tree.system.workers).join(CLOSING_SECONDS)
        slot.workers.join(CLOSING_SECONDS)
        return cancelled

    def reset(self, name: str) -> None:
        """Give a backend another chance at once.

        Its crashes are forgotten, so its restart intensity starts anew; when it is FAILED or waits for a restart
        it is started; when its circuit breaker is open, the next request is its probe. What it has asked for
        itself (Retry-After), a drain and a retirement stay.

        Raises:
            ConfigurationError: there is no such backend.
            pykka.Timeout: the supervisor did not answer in time; it may do it later.
        """
        self._refuse("reset")
        self._ask(ResetBackend(name, ReplyFuture()), REPLY_SECONDS)

    def crash(self, name: str, reason: str = "a drill") -> None:
        """Let a backend's actor die, as a drill: it is restarted, and what it held is answered all the same.

        Raises:
            ConfigurationError: there is no such backend.
        """
        self._refuse("crash")
        child = self._slot(name).child
        if child is not None:
            child.address.tell(Provoke(reason))

    def close(self, error: RuntimeStoppedError) -> None:
        """Take nothing any more: everyone who comes gets `error`."""
        with self._lock:
            self._closed = error

    def let_go(self, error: RuntimeStoppedError) -> None:
        """Nobody will answer any more: those who still wait get `error`."""
        with self._lock:
            waiting = list(self._waiting)
        for reply in waiting:
            reply.set(error.copy())

    def _refuse(self, call: str) -> None:
        fork.refuse_if_forked(self._born)
        forbid_waiting(f"runtime.backends.{call}()")
        if self._closed is not None:
            raise self._closed.copy()

    def _refuse_taken(self, config: BackendConfig) -> None:
        """Raise what the supervisor would answer to a name that means something else already."""
        known = self._tree.roster.config
        evolve(known, backends=(*known.backends, config))

    def _slot(self, name: str) -> BackendSlot:
        slots = self._tree.roster.slots
        if name not in slots:
            raise ConfigurationError(
                f"backends: there is no backend {name!r}; known are: {', '.join(slots) or 'none'}"
            )
        return slots[name]

    def _drain(self, name: str, timeout: float, *, remove: bool) -> int:
        if not is_number(timeout) or timeout < 0:
            raise ConfigurationError(f"timeout = {timeout!r}: use seconds, 0 or more")
        deadline = self._tree.system.clock.now() + timeout
        cancelled = self._ask(DrainBackend(name, deadline, remove, ReplyFuture()), timeout + REPLY_SECONDS)
        assert isinstance(cancelled, int)
        return cancelled

    def _ask(self, change: Change, timeout: float) -> object:
        self._send(change)
        try:
            answer = change.reply.get(timeout=timeout)
        finally:
            self._forget(change.reply)
        if isinstance(answer, ShowcallerError):
            raise answer
        return answer

    def _send(self, change: Change) -> None:
        """Tell the supervisor; until `_forget`, a stop answers who waits for the reply."""
        # Under the lock, so that after `close` the supervisor is told nothing that its stop would overtake.
        with self._lock:
            if self._closed is not None:
                raise self._closed.copy()
            self._waiting.add(change.reply)
            self._tree.address("supervisor").tell(change)

    def _forget(self, reply: ReplyFuture) -> None:
        with self._lock:
            self._waiting.discard(reply)
