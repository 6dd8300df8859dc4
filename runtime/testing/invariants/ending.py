"""After a stop: no actor, no call and no caller that waits is left."""

from __future__ import annotations

from collections.abc import Iterable

from showcaller.actors.kernel.cell import Cell
from showcaller.runtime.testing.invariants.findings import Findings
from showcaller.runtime.testing.invariants.view import View


def check_ending(view: View, findings: Findings, left: Iterable[Cell], *, orderly: bool) -> None:
    """Look at what is left.

    Args:
        view: of a simulation whose runtime has stopped.
        findings: where it is said.
        left: the incarnations that were not seen to end.
        orderly: was the supervisor there to the end, to stop its backends' actors?
    """
    saboteur, now = view.saboteur, view.clock.now()
    if not saboteur.slow and max(saboteur.stalls.values(), default=0.0) < now - 5.0:
        for cell in left:
            if cell.slot.startswith("backend:") and not orderly:
                continue
            findings.say("left", cell.slot, "was not stopped in order")
    for sent in view.simulation.door.requests:
        if sent.request_id and sent.completed is None:
            findings.say("left", f"request {sent.request_id}", "has no outcome after the stop")
    for reply in view.simulation.replies:
        if not reply._done:
            findings.say("left", "the supervisor", "a question to it has no answer after the stop")
    for backend in view.simulation.made:
        for call in backend._open.values():
            # One that was told to end and does not is a bug of the transport, which is simulated too.
            if call.cut is None and not call.attempt.cancel.cancelled:
                findings.say(
                    "left",
                    f"request {call.attempt.request_id}",
                    f"attempt {call.attempt.number} goes on at {backend.config.name} after the stop",
                )
