"""A backend: gives the attempts it is sent to its seats. One actor for one endpoint, credential and model."""

from __future__ import annotations

from showcaller.actors.attempt import AttemptRecord
from showcaller.actors.errors import BackendUnreachableError
from showcaller.actors.kernel.clock import Clock
from showcaller.actors.kernel.message import Recipient
from showcaller.actors.messages import AttemptFinished, Execute
from showcaller.actors.seat import Seat
from showcaller.actors.slot import BackendSlot
from showcaller.actors.tree_actor import TreeActor


class Backend(TreeActor):
    """One incarnation of a backend. Its transport and its seats belong to the slot and outlive it."""

    def __init__(
        self, slot: BackendSlot, *, clock: Clock, supervisor: Recipient, reader_timeout: float
    ) -> None:
        super().__init__()
        self._slot = slot
        self._clock = clock
        self._supervisor = supervisor
        self._reader_timeout = reader_timeout

    def on_execute(self, message: Execute) -> None:
        """Give the attempt to a seat."""
        seat = Seat(
            message.record,
            message.attempt,
            self._slot.transport,
            clock=self._clock,
            supervisor=self._supervisor,
            reader_timeout=self._reader_timeout,
        )
        message.record.seat = seat
        try:
            self._slot.workers.run(seat)
        except RuntimeError:
            self._supervisor.tell(self._no_seat(message.record))

    def _no_seat(self, record: AttemptRecord) -> AttemptFinished:
        error = BackendUnreachableError(
            f"{self._slot.name}: no thread could be started for the attempt; lower max_parallel_requests",
            backend=self._slot.name,
        )
        return AttemptFinished(record=record, error=error, begun=True, ended=self._clock.now())
