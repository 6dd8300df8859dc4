"""Requests: each accepted one gets one outcome by its deadline, and what it gets is an answer to it."""

from __future__ import annotations

import heapq
from collections import Counter, defaultdict

from showcaller.actors.enums import Source
from showcaller.actors.errors import (
    BackendCrashedError,
    DeadlineExceededError,
    RequestCancelledError,
    RuntimeStoppedError,
    ShowcallerError,
    StreamInterruptedError,
)
from showcaller.actors.messages import AttemptFinished
from showcaller.actors.models import Answered
from showcaller.runtime.testing.backend import Served
from showcaller.runtime.testing.client import Sent
from showcaller.runtime.testing.invariants.findings import Findings
from showcaller.runtime.testing.invariants.validation import ValidationChecks
from showcaller.runtime.testing.invariants.view import View

CRASHES = 2
"""After so many deaths of backends' actors that held it a request is not tried any more."""
AFTER_A_CHUNK = (
    StreamInterruptedError,
    RequestCancelledError,
    DeadlineExceededError,
    RuntimeStoppedError,
    BackendCrashedError,
)
"""What a stream may fail of when its caller has read some of it; the last, when the runtime gave the request up."""


class RequestChecks:
    """Watches the requests."""

    def __init__(self, view: View, findings: Findings) -> None:
        self._view = view
        self._findings = findings
        self._checks = ValidationChecks(findings)
        self._deadlines: list[tuple[float, int, Sent]] = []
        self._unjudged: list[Sent] = []
        self._known = 0

    def at_rest(self) -> None:
        """Nobody is open past its deadline."""
        requests = self._view.simulation.door.requests
        while self._known < len(requests):
            sent = requests[self._known]
            self._known += 1
            if sent.request_id:
                heapq.heappush(self._deadlines, (sent.deadline, self._known, sent))
                self._unjudged.append(sent)
        now = self._view.clock.now()
        while self._deadlines and self._deadlines[0][0] <= now:
            sent = heapq.heappop(self._deadlines)[2]
            if sent.completed is None:
                self._say("deadline", sent, "has no outcome at its deadline")

    def before_finished(self, message: AttemptFinished) -> None:
        """An AttemptFinished is about to be handled."""
        self._checks.finished(message)

    def look(self) -> None:
        """The account adds up, and what was answered since the last look is right."""
        edge = self._view.edge
        if edge._accepted != edge._answered + edge._failed + len(edge._open):
            self._findings.say(
                "account",
                "the edge",
                f"accepted {edge._accepted}, and that is not answered {edge._answered} + failed {edge._failed} "
                f"+ open {len(edge._open)}",
            )
        still = []
        for sent in self._unjudged:
            if sent.completed is None:
                still.append(sent)
                self._judge_waiting(sent)
            else:
                self._judge(sent)
        self._unjudged = still

    def at_end(self) -> None:
        """Everybody has one outcome, and nobody was tried too often."""
        for sent in self._view.simulation.door.requests:
            if not sent.request_id:
                continue
            if sent.completed is None:
                self._say("no outcome", sent, "has no outcome at the end")
            elif len(sent.outcomes) != 1:
                self._say("outcomes", sent, f"has {len(sent.outcomes)} outcomes")
            self._judge_stream(sent, over=True)
        self._judge_calls()

    def _say(self, kind: str, sent: Sent, text: str) -> None:
        self._findings.say(kind, f"request {sent.request_id}", text)

    # --- what it gets ---

    def _judge_waiting(self, sent: Sent) -> None:
        tree, flight = self._view.tree, sent.flight
        assert tree is not None
        known = flight is not None and flight.order in tree.flights._flights
        if flight is None or not known or flight.done or sent.ticket not in flight.tickets:
            self._say("adrift", sent, "waits for a call that is over")

    def _judge(self, sent: Sent) -> None:
        outcome = sent.decided
        if outcome is None:
            return
        if outcome.request_id != sent.request_id:
            self._say("whose", sent, f"has the outcome of {outcome.request_id}")
        if isinstance(outcome, Answered):
            if sent.cancelled:
                self._say("cancelled", sent, "was cancelled, and has an answer")
            self._judge_text(sent, outcome.response.message["content"], "answer")
            if sent.request is not None:
                self._checks.answered(sent.request, outcome.response)
            if outcome.response.source is Source.COALESCED:
                self._judge_shared(sent)
        elif sent.cancelled and not isinstance(outcome.error, RequestCancelledError):
            self._say("cancelled", sent, f"was cancelled, and failed of {type(outcome.error).__name__}")
        self._judge_stream(sent, over=False)

    def _judge_shared(self, sent: Sent) -> None:
        request, flight = sent.request, sent.flight
        if request is not None and flight is not None and flight.request.payload != request.payload:
            self._say("shared", sent, f"has the answer to {flight.id}, which asked for something else")

    def _judge_text(self, sent: Sent, text: str, what: str) -> None:
        """It is the beginning of what one attempt of the request's own flight says."""
        head = text.partition(" ")[0].rpartition(".")[0]
        flight_id, _, number = head.rpartition(".")
        record = self._view.executed.get((flight_id, int(number))) if number.isdecimal() else None
        if record is None or record.flight is not sent.flight:
            self._say(
                f"{what} of", sent, f"its {what} begins with {text[:40]!r}, which no attempt of it says"
            )
        elif text != "".join(f"{head}.{place} " for place in range(text.count(" "))):
            self._say(f"{what} text", sent, f"its {what} is not what attempt {number} says, in order")

    def _judge_stream(self, sent: Sent, *, over: bool) -> None:
        if not sent.plan.stream or sent.completed is None:
            return
        read, outcome = "".join(sent.chunks), sent.decided
        if read:
            self._judge_text(sent, read, "stream")
        if isinstance(outcome, Answered):
            whole = outcome.response.message["content"]
            complete = over and sent.plan.reads is None and not sent.plan.read_pause
            if not whole.startswith(read) or (complete and read != whole and sent.stream_error is None):
                self._say("chunks", sent, "what it read is not what its answer says")
            if sent.stream_error is not None and not isinstance(sent.stream_error, StreamInterruptedError):
                self._say(
                    "stream error", sent, f"was answered, and its stream broke: {_kind(sent.stream_error)}"
                )
            return
        error = None if outcome is None else outcome.error
        if read and error is not None and not isinstance(error, AFTER_A_CHUNK):
            self._say("after a chunk", sent, f"failed of {_kind(error)} after it had read a chunk")
        if isinstance(error, StreamInterruptedError) and not error.partial.startswith(read):
            self._say("partial", sent, "has read what is not in .partial")

    # --- how often it was tried ---

    def _judge_calls(self) -> None:
        simulation = self._view.simulation
        ids = Counter(sent.request_id for sent in simulation.door.requests)
        calls: defaultdict[str, list[tuple[Served, bool]]] = defaultdict(list)
        for backend in simulation.made:
            for served in backend.served:
                if ids[served.request_id] > 1:
                    # The id was used again, and which of the two it was cannot be told.
                    continue
                record = self._view.executed.get((served.request_id, served.number))
                if record is None:
                    self._findings.say(
                        "unsent",
                        f"request {served.request_id}",
                        f"{backend.config.name} was called for nothing",
                    )
                    continue
                wanted = record.flight.request.idempotent
                calls[served.request_id].append(
                    (served, backend.config.idempotent if wanted is None else wanted)
                )
        for request_id, tries in calls.items():
            first = tries[0][0]
            flight = self._view.executed[first.request_id, first.number].flight
            most = 1 + simulation.config.runtime.num_retries + flight.crashes
            if len(tries) > most:
                self._findings.say(
                    "tries", f"request {request_id}", f"was tried {len(tries)} times; {most} are the most"
                )
            if flight.crashes > CRASHES:
                self._findings.say(
                    "poison",
                    f"request {request_id}",
                    f"was given to a backend after {CRASHES} of them had died of it",
                )
            self._judge_repeats(request_id, tries)

    def _judge_repeats(self, request_id: str, tries: list[tuple[Served, bool]]) -> None:
        tries.sort(key=lambda one: (one[0].started, one[0].number))
        for place, (later, _) in enumerate(tries):
            for earlier, repeatable in tries[:place]:
                if not repeatable and _may_be_executed(earlier, later.started):
                    self._findings.say(
                        "repeated",
                        f"request {request_id}",
                        f"is not idempotent, and attempt {later.number} began at {later.backend} although attempt "
                        f"{earlier.number} at {earlier.backend} may have been executed",
                    )


def _may_be_executed(call: Served, at: float) -> bool:
    if call.sent is None or call.sent > at:
        return False
    if call.ended is None or call.ended > at or call.error is None:
        return True
    return call.error.maybe_executed


def _kind(error: ShowcallerError) -> str:
    return type(error).__name__
