"""One request of a batcher: from its adding to its outcome."""

from __future__ import annotations

from attrs import define

from showcaller.actors.errors import DeadlineExceededError
from showcaller.actors.kernel.clock import Timer
from showcaller.actors.models import ChatRequest, Errored
from showcaller.runtime.pending import Pending


@define(eq=False)
class BatchItem:
    """Changed by its batcher alone, under the batcher's lock.

    Attributes:
        request: what is asked, with the timeout that its caller gave it.
        request_id: its name.
        deadline: in seconds of the clock; `timeout` after its adding.
        timer: fires at the deadline, until it is sent.
        pending: what its caller has of it.
        sent: what the edge has given for it, once it was sent.
        settled: it has its outcome, or is just being given it.
    """

    request: ChatRequest
    request_id: str
    deadline: float
    timeout: float
    timer: Timer | None = None
    pending: Pending | None = None
    sent: Pending | None = None
    settled: bool = False

    def too_late(self) -> Errored:
        """Its outcome when its deadline comes before its turn."""
        error = DeadlineExceededError(
            f"request {self.request_id} was still waiting for its batch after {self.timeout:g} s; raise its timeout "
            "or max_concurrency, or lower max_wait"
        )
        return Errored(self.request_id, error)
