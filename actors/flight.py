r"""A flight: one upstream call, the requests that wait for it, and its attempts.

It lives outside all actors, so that no crash of an actor loses it. Whatever actors tell each other about
it is a hint; what may happen next is decided here, under one lock:

    RESERVING --dispatched--> DISPATCHED --claim--> CLAIMED --commit--> COMMITTED
         \________________________\__________________\__revoke--> REVOKED

`claim` comes before the first byte is sent, `commit` before the first chunk reaches a caller. Only a
claimed or committed attempt can answer; a revoked one changes nothing any more.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable

from showcaller.actors.attempt import LIVE, AttemptRecord, AttemptState
from showcaller.actors.cancel import CancelScope
from showcaller.actors.enums import Source
from showcaller.actors.errors import RequestCancelledError, ShowcallerError
from showcaller.actors.models import Answered, BackendResponse, ChatRequest, Errored
from showcaller.actors.needs import Needs
from showcaller.actors.stream_buffer import StreamBuffer, StreamReader
from showcaller.actors.ticket import Ticket


class Flight:
    """See the module's text.

    The fields below are facts that do not change, or belong to the supervisor alone; everything else goes
    through the methods.

    Attributes:
        id: the request id of its first ticket.
        order: when it was accepted: the smaller, the earlier.
        request: what is asked.
        since: when it was accepted, in seconds of the clock.
        lane: the name it is routed by.
        lanes: where it may go now, the preferred first: that lane and its fallbacks, as causes have it.
        needs: what a backend must have for it.
        key: identical requests have the same; None when it is not to be shared.
        stream: the buffer of its chunks, or None for a plain answer.
        dispatches: how many attempts were given to a backend.
        admitted: has the supervisor seen it? queued: does it wait in a lane's queue?
        tries: attempts that failed, by backend.
        barred: the ids of slots that it must not be given to any more.
        errors: of what its attempts failed, in order. crashes: how often its backend died.
        repeatable: may it be tried again? Not once an attempt may have been executed that must not be repeated.
    """

    def __init__(
        self,
        ticket: Ticket,
        request: ChatRequest,
        *,
        order: int,
        lane: str,
        key: bytes | None,
        stream: bool,
        on_done: Callable[[Flight], None],
        lanes: tuple[str, ...] = (),
        needs: Needs | None = None,
    ) -> None:
        self.id = ticket.request_id
        self.order = order
        self.since = ticket.created
        self.request = request
        self.lane = lane
        self.lanes = lanes or (lane,)
        self.needs = Needs.of(request) if needs is None else needs
        self.key = key
        self.stream = StreamBuffer(replay=key is not None) if stream else None
        self.done = False
        self.priority = ticket.priority
        self.deadline = ticket.deadline
        self.dispatches = 0
        self.admitted = False
        self.queued = False
        self.tries: Counter[str] = Counter()
        self.barred: frozenset[str] = frozenset()
        self.errors: list[ShowcallerError] = []
        self.crashes = 0
        self.repeatable = True
        self._on_done = on_done
        self._lock = threading.Lock()
        self._tickets: list[Ticket] = []
        self._readers: dict[Ticket, StreamReader] = {}
        self._attempts: dict[int, AttemptRecord] = {}
        self._numbers = 0
        self.attach(ticket)

    # --- the requests that wait for it ---

    def attach(self, ticket: Ticket) -> bool:
        """Let a request wait for this flight; False when it is done, or its stream cannot be read from the start."""
        with self._lock:
            if self.done:
                return False
            if self.stream is not None:
                reader = self.stream.open_reader()
                if reader is None:
                    return False
                if ticket.reader is not None:
                    reader.waker = ticket.reader.waker
                ticket.reader = self._readers[ticket] = reader
            self._tickets.append(ticket)
            ticket.flight = self
            self.priority = max(self.priority, ticket.priority)
            self.deadline = max(self.deadline, ticket.deadline)
            return True

    def take_in(self, other: Flight) -> bool:
        """Let the requests of another flight wait for this one instead; False when that is not possible any more."""
        for ticket in other.tickets:
            if not self.attach(ticket):
                return False
            moved = RequestCancelledError(f"request {ticket.request_id} waits for an identical one")
            other.detach(ticket, moved)
            if ticket.done:
                self.detach(ticket, moved)
        return True

    @property
    def tickets(self) -> tuple[Ticket, ...]:
        """The requests that wait."""
        with self._lock:
            return tuple(self._tickets)

    def detach(self, ticket: Ticket, error: ShowcallerError) -> bool:
        """A request waits no more, because of `error`; True when it was the last, and the flight is cancelled."""
        with self._lock:
            if self.done or ticket not in self._tickets:
                return False
            self._tickets.remove(ticket)
            reader = self._readers.pop(ticket, None)
            if reader is not None:
                reader.leave(error)
            if self._tickets:
                # Looked for only when it was the greatest: thousands may leave one after the other.
                if not any(other.priority == self.priority for other in self._tickets):
                    self.priority = max(other.priority for other in self._tickets)
                if ticket.deadline == self.deadline:
                    self.deadline = max(other.deadline for other in self._tickets)
                return False
            scopes = self._land()
        self._clean_up(scopes, error)
        return True

    # --- its attempts ---

    @property
    def live(self) -> list[AttemptRecord]:
        """The attempts that may still answer."""
        with self._lock:
            return [attempt for attempt in self._attempts.values() if attempt.state in LIVE]

    def next_attempt(
        self,
        slot: str,
        *,
        generation: int,
        epoch: int,
        tokens: int,
        deadline: float,
        lane: str | None = None,
    ) -> AttemptRecord | None:
        """Begin a new attempt, to be reserved by `deadline`; None when the flight is done or its stream has begun.

        Without a `lane` it is of the flight's own.
        """
        with self._lock:
            if self.done or any(other.state is AttemptState.COMMITTED for other in self._attempts.values()):
                return None
            self._numbers += 1
            attempt = AttemptRecord(
                self,
                self._numbers,
                slot,
                generation=generation,
                epoch=epoch,
                tokens=tokens,
                deadline=deadline,
                lane=lane,
            )
            self._attempts[attempt.number] = attempt
            return attempt

    def dispatched(self, attempt: AttemptRecord, deadline: float) -> bool:
        """The attempt goes to its backend; False when it is not wanted any more."""
        with self._lock:
            if self.done or attempt.state is not AttemptState.RESERVING:
                return False
            attempt.state = AttemptState.DISPATCHED
            attempt.dispatched = True
            attempt.deadline = deadline
            self.dispatches += 1
            return True

    def claim(self, attempt: AttemptRecord) -> bool:
        """The attempt is about to send its first byte; False: it must not."""
        with self._lock:
            if self.done or attempt.state is not AttemptState.DISPATCHED:
                return False
            attempt.state = AttemptState.CLAIMED
            return True

    def commit(self, attempt: AttemptRecord) -> bool:
        """The attempt is about to hand over its first chunk; False: another one was first, or it is not wanted."""
        with self._lock:
            if self.done or attempt.state is not AttemptState.CLAIMED:
                return False
            attempt.state = AttemptState.COMMITTED
            scopes = self._revoke_all_but(attempt)
        for scope in scopes:
            scope.cancel()
        return True

    def revoke(self, attempt: AttemptRecord) -> bool:
        """Take an attempt back; False when it is too late: committed, ended, or revoked before."""
        with self._lock:
            if attempt.state not in LIVE or attempt.state is AttemptState.COMMITTED:
                return False
            attempt.state = AttemptState.REVOKED
            self._attempts.pop(attempt.number, None)
        attempt.scope.cancel()
        return True

    def revoke_unclaimed(self, attempt: AttemptRecord) -> bool:
        """Take an attempt back if it has not been claimed; nothing was sent then."""
        with self._lock:
            if attempt.state not in (AttemptState.RESERVING, AttemptState.DISPATCHED):
                return False
            attempt.state = AttemptState.REVOKED
            self._attempts.pop(attempt.number, None)
        return True

    def ended(self, attempt: AttemptRecord) -> None:
        """The attempt has failed and will not answer."""
        with self._lock:
            if attempt.state in LIVE:
                attempt.state = AttemptState.ENDED
            self._attempts.pop(attempt.number, None)

    # --- its outcome ---

    def answer(self, attempt: AttemptRecord, make: Callable[[Ticket, Source], BackendResponse]) -> bool:
        """Give every request that waits its answer; False when the attempt's word does not count any more.

        Args:
            attempt: who answers.
            make: the response for one of the tickets.
        """
        with self._lock:
            if self.done or attempt.state not in (AttemptState.CLAIMED, AttemptState.COMMITTED):
                return False
            # Made before anything changes: what `make` raises leaves the flight as it was.
            sources = [Source.LIVE] + [Source.COALESCED] * (len(self._tickets) - 1)
            answers = [(t, make(t, source)) for t, source in zip(self._tickets, sources, strict=True)]
            attempt.state = AttemptState.ENDED
            scopes = self._land()
        for ticket, response in answers:
            ticket.complete(Answered(ticket.request_id, response))
        self._clean_up(scopes, None)
        return True

    def fail(self, error: ShowcallerError, *, expired_by: float | None = None) -> bool:
        """Give every request that waits this error; False when the flight is done already.

        Args:
            error: what each gets a copy of.
            expired_by: only when its deadline has passed by then: a request that has just joined may have moved it.
        """
        with self._lock:
            if self.done or (expired_by is not None and expired_by < self.deadline):
                return False
            tickets = self._tickets
            scopes = self._land()
        self._tell_all(tickets, scopes, error)
        return True

    def interrupt(self, make: Callable[[str], ShowcallerError]) -> bool:
        """Fail it because its stream has broken; False when it is done already.

        Args:
            make: the error, from the text that its readers have had or will still have.
        """
        with self._lock:
            if self.done:
                return False
            tickets = self._tickets
            scopes = self._land()
        # Not earlier: until it had landed a seat could still answer, and say more before that.
        partial = ""
        if self.stream is not None:
            self.stream.seal()
            partial = self.stream.text
        self._tell_all(tickets, scopes, make(partial))
        return True

    def _tell_all(self, tickets: list[Ticket], scopes: list[CancelScope], error: ShowcallerError) -> None:
        for ticket in tickets:
            ticket.complete(Errored(ticket.request_id, error.copy()))
        self._clean_up(scopes, error)

    def _land(self) -> list[CancelScope]:
        self.done = True
        self._tickets = []
        self._readers = {}
        scopes = self._revoke_all_but(None)
        self._attempts.clear()
        return scopes

    def _revoke_all_but(self, winner: AttemptRecord | None) -> list[CancelScope]:
        losers = [a for a in self._attempts.values() if a is not winner and a.state in LIVE]
        for loser in losers:
            loser.state = AttemptState.REVOKED
            del self._attempts[loser.number]
        return [loser.scope for loser in losers]

    def _clean_up(self, scopes: list[CancelScope], error: ShowcallerError | None) -> None:
        # After the outcomes: who has read a stream to its end leaves it, and must not cancel what was answered.
        if self.stream is not None:
            self.stream.finish(error)
        self._on_done(self)
        for scope in scopes:
            scope.cancel()
