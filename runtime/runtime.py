"""The runtime: builds the tree, takes the calls of its users, and stops everything in reverse."""

from __future__ import annotations

import atexit
import threading
import weakref
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import pykka

from showcaller.actors.analytics import UsageTable
from showcaller.actors.backend_config import BackendConfig
from showcaller.actors.configuration import RuntimeConfig
from showcaller.actors.errors import ConfigurationError, RuntimeStoppedError
from showcaller.actors.escalation import Escalation, OnFailed
from showcaller.actors.health_monitor import HealthBoard
from showcaller.actors.kernel import fork
from showcaller.actors.kernel.clock import SystemClock
from showcaller.actors.kernel.context import forbid_waiting
from showcaller.actors.kernel.workers import ThreadWorkers
from showcaller.actors.log import CALLBACK_LOST, RUNTIME_FAILED, RUNTIME_STARTED, RUNTIME_STOPPED
from showcaller.actors.recorder import Recordings
from showcaller.actors.transport import Transport
from showcaller.actors.validators import nearest
from showcaller.runtime.backends import Backends
from showcaller.runtime.batchers import Batchers
from showcaller.runtime.calls import Calls
from showcaller.runtime.closing import close_all
from showcaller.runtime.edge import Edge
from showcaller.runtime.engine import TEARDOWN_SECONDS, Engine
from showcaller.runtime.logging import set_up_logging
from showcaller.runtime.machine import Machine, ThreadMachine
from showcaller.runtime.pending import Callback
from showcaller.runtime.prompt import as_request
from showcaller.runtime.search_path import resolve_config
from showcaller.runtime.status import RuntimeStatus, take_status
from showcaller.runtime.supervisor_ref import SupervisorRef
from showcaller.runtime.transports.factory import TransportFactory

if TYPE_CHECKING:
    from showcaller.runtime.control import Control

LONGEST_STOP = 1e6
"""Seconds; longer times, and infinity, are more than a lock can wait for."""


_running: weakref.WeakSet[Runtime] = weakref.WeakSet()


@atexit.register
def _stop_at_exit() -> None:
    """What its user forgot to stop."""
    for runtime in list(_running):
        runtime.stop(0.0)


class Runtime(Calls):
    """A running Showcaller. Start it once, send every model call through it, stop it at the end.

    Thread-safe. After a fork its calls fail at once in the child; start a Runtime of the child's own.
    """

    def __init__(
        self,
        config: RuntimeConfig,
        transports: Mapping[str, Transport],
        make_transport: Callable[[BackendConfig], Transport],
        machine: Machine,
        on_failed: OnFailed | None = None,
    ) -> None:
        """Use `Runtime.start`."""
        self._on_failed = on_failed
        self._engine = Engine(config, transports, machine, self._fail, self._escalate)
        self._tree = self._engine.tree
        edge = Edge(
            config.runtime,
            clock=machine.system.clock,
            roster=self._tree.roster,
            flights=self._tree.flights,
            deduplicator=self._tree.address("deduplicator"),
            supervisor=self._tree.address("supervisor"),
            callbacks=machine.callbacks,
            name=machine.name,
        )
        super().__init__(edge, Batchers(edge, self._engine), machine.finalizers)
        self._stop_timeout = config.runtime.stop_timeout
        self._born = fork.generation()
        # Reentrant: a signal handler may stop what its own thread is just stopping.
        self._stopping = threading.RLock()
        self._stopped = threading.Event()
        self._control: Control | None = None
        self.backends = Backends(self._tree, make_transport)
        self.supervisor: pykka.ActorRef[Any] = SupervisorRef(
            self._tree.address("supervisor"), lambda request: edge.accept(as_request(request, {}))[1]
        )

    @classmethod
    def start(
        cls,
        config: RuntimeConfig | str | Path | None = None,
        *,
        transports: Mapping[str, Transport] | Callable[[BackendConfig], Transport] | None = None,
        progress: Any = None,
        on_failed: OnFailed | None = None,
        machine: Machine | None = None,
    ) -> Self:
        """Start a runtime.

        Args:
            config: a RuntimeConfig, or the path of a TOML file. None takes the file that is found where
                `showcaller` says that it looks, and without one what this machine offers.
            transports: for backends named here, what carries out their attempts, instead of their type's own;
                or what makes that for every backend.
            progress: shows the download of an embedded model; see model_store.Progress.
            on_failed: called with an Escalation, on a callback thread, each time an actor has crashed too often.
            machine: what it runs on; threads when left out.

        Raises:
            ConfigurationError: the configuration or another argument is wrong, or there is no configuration and
                nothing to use.
        """
        set_up_logging()
        resolved = resolve_config(config)
        made = _given(transports, [backend.name for backend in resolved.backends])
        if on_failed is not None and not callable(on_failed):
            raise ConfigurationError(f"on_failed = {on_failed!r}: give a function of an Escalation, or None")
        runs_on = machine or ThreadMachine(SystemClock())
        make = transports if callable(transports) else TransportFactory(runs_on.system.clock, progress).make
        try:
            for backend in resolved.backends:
                if backend.name not in made:
                    made[backend.name] = make(backend)
            runtime = cls(resolved, made, make, runs_on, on_failed)
        except BaseException:
            close_all(made, ThreadWorkers).join(TEARDOWN_SECONDS)
            raise
        try:
            if machine is None:
                _running.add(runtime)
            runtime._begin()
            if machine is None and resolved.runtime.control:
                runtime._open_control()
        except BaseException:
            runtime.stop(0.0)
            raise
        return runtime

    def _begin(self) -> None:
        self._engine.begin()
        RUNTIME_STARTED.say(len(self.backends), len(self._tree.config.routes))

    def _open_control(self) -> None:
        from showcaller.runtime.control import Control  # a simulation has no use for sockets

        self._control = Control(self._engine.machine.name, self.status)
        self._control.open()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop(None if kind is None else 0.0)

    # --- what is known ---

    def status(self) -> RuntimeStatus:
        """A snapshot of the tree; answers even when the core is stuck."""
        fork.refuse_if_forked(self._born)
        return take_status(self._tree, self._edge.account, self._engine.machine.stuck)

    @property
    def health(self) -> HealthBoard:
        """What the health monitor believes of each backend."""
        return self._tree.health

    @property
    def recorder(self) -> Recordings:
        """The last attempts, with prompt and answer."""
        return self._tree.recordings

    @property
    def analytics(self) -> UsageTable:
        """Attempts, failures, tokens and time by backend."""
        return self._tree.usage

    # --- the end ---

    def stop(self, timeout: float | None = None) -> None:
        """Stop: refuse what is new, wait for what is open, then end every actor, thread and connection.

        Safe to call twice, and from several threads; each returns when it is done, and the one that gives
        the least time decides. In a forked child it does nothing: the runtime is the parent's.

        Args:
            timeout: seconds that open requests get; what is open then fails with RuntimeStoppedError. None
                takes `stop_timeout` of the configuration.
        """
        forbid_waiting("Runtime.stop()")
        if self._born != fork.generation():
            return
        seconds = min(max(0.0, self._stop_timeout if timeout is None else timeout), LONGEST_STOP)
        error = RuntimeStoppedError("the runtime has stopped; start a new one with Runtime.start()")
        self._accept_no_more(error)
        if not self._stopping.acquire(timeout=seconds):
            self._edge.fail_all(error)
            self._stopping.acquire()
        try:
            self._edge.wait_until_empty(seconds)
        finally:
            try:
                if not self._stopped.is_set():
                    RUNTIME_STOPPED.say(self._edge.account.open)
                    self._edge.fail_all(error)
                    if self._control is not None:
                        self._control.close()
                    self._engine.end(self.backends, error)
                    _running.discard(self)
                    self._stopped.set()
            finally:
                self._stopping.release()

    def _escalate(self, escalation: Escalation) -> None:
        if self._on_failed is not None:
            try:
                self._engine.machine.callbacks.run(Callback(self._on_failed, escalation))
            except RuntimeError:
                # Not here: this thread is everybody's.
                CALLBACK_LOST.say("on_failed")

    def _fail(self, reason: str) -> None:
        RUNTIME_FAILED.say(reason)
        error = RuntimeStoppedError(
            f"the runtime cannot go on: {reason}; the log has the place, start a new one"
        )
        self._accept_no_more(error)
        self._edge.fail_all(error)
        self.backends.close(error)
        self.backends.let_go(error)

    def _accept_no_more(self, error: RuntimeStoppedError) -> None:
        self._edge.close(error)
        self._batchers.fail(error)


def _given(transports: object, names: Sequence[str]) -> dict[str, Transport]:
    """The transports of the user's own, each for a backend that there is."""
    if transports is None or callable(transports):
        return {}
    if not isinstance(transports, Mapping):
        raise ConfigurationError(
            f"transports = {transports!r}: give a mapping of names to transports, or a function that makes one"
        )
    for name, transport in transports.items():
        if name not in names:
            raise ConfigurationError(f"transports: no backend is named {name!r}{nearest(str(name), names)}")
        if not callable(getattr(transport, "attempt", None)):
            raise ConfigurationError(
                f"transports[{name!r}] = {transport!r}: give a Transport: it has attempt() and close()"
            )
    return dict(transports)
