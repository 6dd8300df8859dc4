"""A model loaded into this process by llama.cpp, and the few threads on which it answers.

Backends with the same file and parameters share one model: loaded with the first request, freed with the
last user. No thread may be left inside llama.cpp when the interpreter goes, or the process would crash.
"""

from __future__ import annotations

import atexit
import enum
import os
import queue
import secrets
import threading
import time
from pathlib import Path
from typing import Any, Final

from attrs import field, frozen

from showcaller.actors.errors import BackendUnreachableError, ConfigurationError
from showcaller.actors.kernel import fork
from showcaller.runtime.transports.model_store import require_gguf

PROMPT_BATCH: Final = 128
"""Tokens of a prompt that llama.cpp works through before it calls back: how soon a cancel is heard."""

CLOSE_TIMEOUT: Final = 2.0
"""Seconds that closing waits for the threads; an answer under way hears of it at its next token."""

EXIT_TIMEOUT: Final = 10.0
"""Seconds that the end of the interpreter waits for the threads."""

_SILENT: Final = -1

MISSING_PACKAGE: Final = (
    "the embedded model needs the package xllamacpp, which is not installed: "
    "pip install 'showcaller[embedded]'"
)


def default_threads() -> int:
    """One less than the processors this process may use: llama.cpp crawls when all of them are busy."""
    if hasattr(os, "sched_getaffinity"):
        return max(1, len(os.sched_getaffinity(0)) - 1)
    return max(1, (os.cpu_count() or 2) - 1)


@frozen(kw_only=True)
class ModelParameters:
    """What a model is loaded with; equal parameters share one model.

    Attributes:
        path: of the GGUF, resolved.
        n_ctx: tokens of context, for all slots together.
        n_parallel: slots, that is answers made at once.
        n_threads: threads that compute.
    """

    path: Path
    n_ctx: int
    n_parallel: int
    n_threads: int = field(factory=default_threads)


class Signal(enum.Enum):
    """What a generation tells besides the pieces of its answer."""

    STARTED = "the model has begun"
    ENDED = "nothing more is to come"
    WOKEN = "look at your flags"


class Generation:
    """One answer in the making: pieces are put in by a thread of the model and taken out by whoever reads it.

    The queue needs no bound of its own: an answer ends with the model's context.

    Attributes:
        body: the chat completion request, JSON.
        events: bytes of a streamed chunk, a Signal, or the exception that ended it.
        stopped: nobody wants the rest.
    """

    __slots__ = ("body", "events", "stopped")

    def __init__(self, body: bytes) -> None:
        self.body = body
        self.events: queue.SimpleQueue[bytes | Signal | Exception] = queue.SimpleQueue()
        self.stopped = False

    def wake(self) -> None:
        """Make the reader look at its flags; never blocks."""
        self.events.put(Signal.WOKEN)

    def stop(self) -> None:
        """Give the rest up; the model's slot is free again at its next token or batch of the prompt."""
        self.stopped = True


class EmbeddedModel:
    """One loaded model. Get it by `shared`, and call `release` once for each time."""

    def __init__(self, parameters: ModelParameters) -> None:
        self.parameters = parameters
        self.users = 0
        self._born = fork.generation()
        self._lock = threading.Lock()
        self._loading = threading.Lock()
        self._waiting: queue.SimpleQueue[Generation | None] = queue.SimpleQueue()
        self._workers: list[threading.Thread] = []
        self._server: Any = None
        self._stopping = False

    @classmethod
    def shared(cls, parameters: ModelParameters) -> EmbeddedModel:
        """The model with these parameters, with one user more; nothing is loaded yet."""
        with _registry.lock:
            model = _registry.models.get(parameters)
            if model is None:
                model = _registry.models[parameters] = cls(parameters)
            model.users += 1
            return model

    def release(self) -> None:
        """Have one user less; the last one frees the model, waiting CLOSE_TIMEOUT at most."""
        if self._born != fork.generation():
            return
        with _registry.lock:
            self.users -= 1
            if self.users > 0:
                return
            del _registry.models[self.parameters]
        self.stop(CLOSE_TIMEOUT)

    def generate(self, body: bytes) -> Generation:
        """Queue a request for the next free slot.

        Raises:
            BackendUnreachableError: the model is closed or the parent process's, or no thread can be started.
        """
        if self._born != fork.generation():
            raise BackendUnreachableError("the embedded model belongs to the process before the fork")
        generation = Generation(body)
        with self._lock:
            if self._stopping:
                raise BackendUnreachableError(f"the embedded model {self.parameters.path.name} is closed")
            self._start_workers()
            self._waiting.put(generation)
        return generation

    def stop(self, timeout: float) -> None:
        """End every generation and free the model; safe to call twice.

        Args:
            timeout: seconds to wait for the threads; one that is late frees the model when it ends.
        """
        ends = time.monotonic() + timeout
        with self._lock:
            if not self._stopping:
                self._stopping = True
                for _ in self._workers:
                    self._waiting.put(None)
            self._server = None  # the workers hold it while they use it
        for worker in self._workers:
            if worker is not threading.current_thread():
                worker.join(max(0.0, ends - time.monotonic()))
        if not any(worker.is_alive() for worker in self._workers):
            with _registry.lock:
                _registry.running.discard(self)

    # --- on the model's threads --------------------------------------------------------------------

    def _start_workers(self) -> None:
        if self._workers:
            return
        with _registry.lock:
            _registry.running.add(self)
        for number in range(self.parameters.n_parallel):
            name = f"showcaller-embedded-{self.parameters.path.stem}-{number}"
            worker = threading.Thread(target=self._work, name=name, daemon=True)
            try:
                worker.start()
            except RuntimeError as error:
                if not self._workers:
                    raise BackendUnreachableError(f"the embedded model gets no thread: {error}") from error
                return
            self._workers.append(worker)

    def _work(self) -> None:
        while (generation := self._waiting.get()) is not None:
            ending: Signal | Exception = Signal.ENDED
            try:
                if not (generation.stopped or self._stopping):
                    self._answer(generation)
            except Exception as error:  # noqa: BLE001 - the reader must hear of it, and the thread live
                ending = error
            generation.events.put(ending)

    def _answer(self, generation: Generation) -> None:
        server = self._loaded()

        def take(piece: bytes) -> bool:
            if generation.stopped or self._stopping:
                return True
            generation.events.put(piece)
            return False

        generation.events.put(Signal.STARTED)
        server.handle_chat_completions(generation.body, take)

    def _loaded(self) -> Any:
        with self._loading:
            server = self._server
            if server is None:
                server = _load(self.parameters)
                with self._lock:
                    if not self._stopping:
                        self._server = server
            return server


def _load(parameters: ModelParameters) -> Any:
    """A llama.cpp server over the model; holds the interpreter's lock for some tenths of a second.

    Raises:
        BackendUnreachableError: the package is missing, or the file cannot be loaded.
    """
    try:
        import xllamacpp
    except ImportError as error:
        raise BackendUnreachableError(MISSING_PACKAGE) from error
    try:
        require_gguf(parameters.path)
    except ConfigurationError as error:
        raise BackendUnreachableError(error.message) from error
    params = xllamacpp.CommonParams()
    params.model.path = str(parameters.path)
    params.n_ctx = parameters.n_ctx
    params.n_parallel = parameters.n_parallel
    params.kv_unified = True
    params.n_batch = params.n_ubatch = PROMPT_BATCH
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = parameters.n_threads
    params.cache_ram_mib = 0  # its default is 8 GiB of old prompts
    params.fit_params = False
    params.verbosity = _SILENT
    # It opens a loopback port whether we want it or not: no page or process may use it.
    params.port = 0
    params.api_keys = [secrets.token_urlsafe(32)]
    params.model_alias = {parameters.path.stem}  # else answers carry the path
    params.ui = False
    params.endpoint_slots = params.endpoint_props = params.endpoint_metrics = False
    params.n_threads_http = 1
    try:
        return xllamacpp.Server(params)
    except RuntimeError as error:
        raise BackendUnreachableError(
            f"llama.cpp cannot load {parameters.path}: the model is of a kind that it does not know, or "
            f"memory is short for n_ctx = {parameters.n_ctx}. Fix: choose another .gguf file or a lower n_ctx"
        ) from error


# --- all the models of this process ----------------------------------------------------------------


class _Registry:
    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.models: dict[ModelParameters, EmbeddedModel] = {}
        self.running: set[EmbeddedModel] = set()

    def stop_all(self) -> None:
        """Before the interpreter goes: a thread that leaves llama.cpp later would crash the process."""
        ends = time.monotonic() + EXIT_TIMEOUT
        with self.lock:
            running = list(self.running)
        for model in running:
            model.stop(max(0.0, ends - time.monotonic()))

    def forget_all(self) -> None:
        """In the child of a fork: the parent's models are not ours, and the lock may have been held."""
        self.lock = threading.Lock()
        self.models = {}
        self.running = set()


_registry = _Registry()
atexit.register(_registry.stop_all)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_registry.forget_all)
