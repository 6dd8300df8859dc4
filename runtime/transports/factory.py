"""Makes the transport of a backend; each kind is imported only when the first backend needs it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from showcaller.actors.backend_config import BackendConfig
from showcaller.actors.enums import BackendType
from showcaller.actors.errors import BackendRetiredError, ConfigurationError
from showcaller.actors.kernel.clock import Clock
from showcaller.actors.transport import Attempt, Failed, Transport, TransportEvent
from showcaller.actors.validators import nearest

if TYPE_CHECKING:
    from showcaller.runtime.transports.http import HttpTransport
    from showcaller.runtime.transports.model_store import Progress

_HTTP = (BackendType.OPENAI_COMPATIBLE, BackendType.GITHUB_MODELS)
_EMBEDDED_OPTIONS = ("n_ctx", "n_parallel", "n_threads")


class TransportFactory:
    """Makes transports; the backends of one configuration entry share their connections. Thread-safe.

    Args:
        clock: the runtime's clock.
        progress: shows the download of an embedded model.
    """

    def __init__(self, clock: Clock, progress: Progress | None = None) -> None:
        self._clock = clock
        self._progress = progress
        self._lock = threading.Lock()
        self._made: list[tuple[BackendConfig, HttpTransport]] = []

    def make(self, backend: BackendConfig) -> Transport:
        """The transport of a backend; of one that is disabled nothing is looked up, loaded or opened.

        Raises:
            ConfigurationError: it cannot be made; the text says what to change.
        """
        if not backend.enabled:
            return DisabledTransport()
        if backend.backend_type in _HTTP:
            _check_options(backend, ())
            with self._lock:
                return self._http(backend)
        if backend.backend_type is BackendType.EMBEDDED:
            _check_options(backend, _EMBEDDED_OPTIONS)
            return self._embedded(backend)
        raise ConfigurationError(
            f"backends.{backend.entry}.type = {backend.backend_type.value!r} is not driven by this version; "
            "use openai or embedded"
        )

    def _http(self, backend: BackendConfig) -> HttpTransport:
        from showcaller.runtime.transports.http import HttpTransport

        assert backend.model is not None
        assert backend.base_url is not None
        transport = self._sibling(backend, backend.model)
        if transport is None:
            secret = backend.api_key
            transport = HttpTransport(
                base_url=backend.base_url,
                model=backend.model,
                now=self._clock.now,
                wall=self._clock.wall,
                api_key=secret or (lambda: None),
                auth_header=backend.auth_header,
                auth_scheme=backend.auth_scheme,
                headers=backend.headers,
                pool_size=backend.max_parallel_requests,
            )
        self._made = [(config, made) for config, made in self._made if not made.closed]
        self._made.append((backend, transport))
        return transport

    def _sibling(self, backend: BackendConfig, model: str) -> HttpTransport | None:
        """A transport on the connections of the same entry's others, when there are any."""
        for other, transport in self._made:
            if _same_endpoint(other, backend):
                try:
                    return transport.for_model(model, pool_size=backend.max_parallel_requests)
                except ConnectionError:
                    continue
        return None

    def _embedded(self, backend: BackendConfig) -> Transport:
        from showcaller.runtime.transports.embedded import EmbeddedTransport
        from showcaller.runtime.transports.model_store import ensure_model

        model = backend.model or "smollm2"
        path = ensure_model(model, progress=self._progress)
        return EmbeddedTransport(
            model_path=path, model=Path(model).stem, clock=self._clock.now, **backend.options
        )


def _same_endpoint(one: BackendConfig, other: BackendConfig) -> bool:
    """Built by hand, two backends may name the same entry and mean different endpoints or credentials."""
    return (
        one.entry == other.entry
        and one.base_url == other.base_url
        and one.api_key == other.api_key
        and one.auth_header == other.auth_header
        and one.auth_scheme == other.auth_scheme
        and one.headers == other.headers
    )


def _check_options(backend: BackendConfig, known: tuple[str, ...]) -> None:
    for name in backend.options:
        if name not in known:
            fix = nearest(name, known) or f"; a backend of type {backend.backend_type.value} has none"
            raise ConfigurationError(f"backends.{backend.entry}.options.{name}: there is no such option{fix}")


class DisabledTransport:
    """Of a backend that is known and gets no requests."""

    def attempt(self, attempt: Attempt) -> Iterator[TransportEvent]:
        """Refuse."""
        yield Failed(BackendRetiredError(f"backend {attempt.backend!r} is disabled", backend=attempt.backend))

    def close(self) -> None:
        """Nothing to free."""
