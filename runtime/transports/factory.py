"""Makes the transport of a backend; each kind is imported only when the first backend needs it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from showcaller.actors.enums import BackendType
from showcaller.actors.errors import ConfigurationError
from showcaller.actors.kernel.clock import Clock
from showcaller.actors.settings import BackendConfig
from showcaller.actors.transport import Transport

if TYPE_CHECKING:
    from showcaller.runtime.transports.http import HttpTransport
    from showcaller.runtime.transports.model_store import Progress

_HTTP = (BackendType.OPENAI_COMPATIBLE, BackendType.GITHUB_MODELS)


class TransportFactory:
    """Makes transports; the backends of one configuration entry share their connections.

    Args:
        clock: the runtime's clock.
        progress: shows the download of an embedded model.
    """

    def __init__(self, clock: Clock, progress: Progress | None = None) -> None:
        self._clock = clock
        self._progress = progress
        self._entries: dict[str, HttpTransport] = {}

    def make(self, backend: BackendConfig) -> Transport:
        """The transport of a backend.

        Raises:
            ConfigurationError: it cannot be made; the text says what to change.
        """
        if backend.backend_type in _HTTP:
            return self._http(backend)
        if backend.backend_type is BackendType.EMBEDDED:
            return self._embedded(backend)
        raise ConfigurationError(
            f"backends.{backend.entry}.type = {backend.backend_type.value!r} is not driven by this version; "
            "use openai or embedded"
        )

    def _http(self, backend: BackendConfig) -> Transport:
        from showcaller.runtime.transports.http import HttpTransport

        assert backend.model is not None
        assert backend.base_url is not None
        first = self._entries.get(backend.entry)
        if first is not None and not first.closed:
            return first.for_model(backend.model)
        secret = backend.api_key
        transport = HttpTransport(
            base_url=backend.base_url,
            model=backend.model,
            now=self._clock.now,
            wall=self._clock.wall,
            api_key=(lambda: None) if secret is None else secret.reveal,
            auth_header=backend.auth_header,
            auth_scheme=backend.auth_scheme,
            headers=backend.headers,
            pool_size=backend.max_parallel_requests,
        )
        self._entries[backend.entry] = transport
        return transport

    def _embedded(self, backend: BackendConfig) -> Transport:
        from showcaller.runtime.transports.embedded import EmbeddedTransport
        from showcaller.runtime.transports.model_store import ensure_model

        model = backend.model or "smollm2"
        path = ensure_model(model, progress=self._progress)
        return EmbeddedTransport(
            model_path=path, model=Path(model).stem, clock=self._clock.now, **backend.options
        )
