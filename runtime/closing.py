"""Closes transports side by side: one that hangs or raises holds up none of the others."""

from __future__ import annotations

from collections.abc import Mapping

from showcaller.actors.kernel.workers import Workers, WorkersFactory
from showcaller.actors.log import TRANSPORT_RAISED
from showcaller.actors.transport import Transport

THREADS = 8


class _Close:
    """A job that closes one transport."""

    def __init__(self, name: str, transport: Transport) -> None:
        self._name = name
        self._transport = transport

    def step(self) -> None:
        try:
            self._transport.close()
        except Exception as error:  # noqa: BLE001 - it may be the user's own, and the rest must still be closed
            TRANSPORT_RAISED.say(self._name, error=error)

    def wait(self, seconds: float) -> None:
        """Never called: a close has no pauses."""


def close_all(transports: Mapping[str, Transport], make_workers: WorkersFactory) -> Workers:
    """Begin to close every transport on workers of their own; join what is returned to wait for that."""
    workers = make_workers("closing", THREADS)
    for name, transport in transports.items():
        job = _Close(name, transport)
        try:
            workers.run(job)
        except RuntimeError:
            # At the end of the interpreter no thread can be started any more.
            job.step()
    workers.close()
    return workers
