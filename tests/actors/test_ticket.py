"""A ticket: the first outcome is the only one, whoever else comes."""

from __future__ import annotations

import contextlib
import sys
import threading

import pytest

from showcaller.actors.enums import RequestPriority
from showcaller.actors.errors import RequestCancelledError, ServerError
from showcaller.actors.models import Errored, StreamChunk
from showcaller.actors.stream_buffer import StreamBuffer
from showcaller.actors.ticket import Ticket

BOUND = 10.0
MOVED = RequestCancelledError("moved")


def ticket_of(outcomes):
    return Ticket("1", priority=RequestPriority.NORMAL, created=0.0, deadline=1.0, deliver=outcomes.append)


def errored(text):
    return Errored("1", ServerError(text))


def test_the_first_outcome_is_delivered_and_no_other():
    """What comes later is refused and changes nothing."""
    outcomes = []
    ticket = ticket_of(outcomes)
    first = errored("first")
    assert not ticket.done
    assert ticket.complete(first) is True
    assert ticket.complete(errored("second")) is False
    assert ticket.done
    assert outcomes == [first]


def test_a_ticket_is_done_before_its_outcome_is_delivered():
    """Who is told can rely on it; and may ask the ticket anything without waiting for itself."""
    seen = []
    ticket = Ticket(
        "1",
        priority=RequestPriority.NORMAL,
        created=0.0,
        deadline=1.0,
        deliver=lambda outcome: seen.append((ticket.done, ticket.complete(outcome))),
    )
    assert ticket.complete(errored("once"))
    assert seen == [(True, False)]


def test_of_many_completions_at_once_one_wins():
    """However the threads are switched."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for _ in range(100):
            outcomes, won, start = [], [], threading.Barrier(4)
            ticket = ticket_of(outcomes)

            def complete(ticket=ticket, start=start, won=won):
                start.wait(BOUND)
                won.append(ticket.complete(errored("one")))

            threads = [threading.Thread(target=complete) for _ in range(4)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(BOUND)
            assert sorted(won) == [False, False, False, True]
            assert len(outcomes) == 1
    finally:
        sys.setswitchinterval(before)


def test_two_completions_that_find_it_open_do_not_both_win():
    """The second waits for the first to have looked and written."""
    both = threading.Barrier(2)

    class Slow(Ticket):
        """Between its look and its word another completion gets its chance."""

        given = False

        @property
        def done(self):
            seen = self.given
            with contextlib.suppress(threading.BrokenBarrierError):
                both.wait(0.2)
            return seen

        @done.setter
        def done(self, value):
            self.given = value

    outcomes = []
    ticket = Slow("1", priority=RequestPriority.NORMAL, created=0.0, deadline=1.0, deliver=outcomes.append)
    threads = [threading.Thread(target=ticket.complete, args=(errored("one"),)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(BOUND)
    assert len(outcomes) == 1


def test_a_read_follows_the_ticket_to_its_new_reader():
    """A chunk, an end or an error of the stream that it has left is not its own."""
    for old_end in (None, "chunk", "error"):
        old, new = StreamBuffer(replay=True), StreamBuffer(replay=True)
        ticket = ticket_of([])
        left, ticket.reader = old.open_reader(), new.open_reader()
        taken = []

        class Moving:
            """The old reader, through which the ticket is moved while it reads."""

            def take(self, timeout, ticket=ticket, left=left, reader=ticket.reader, taken=taken):
                taken.append(timeout)
                ticket.reader = reader
                return left.take(timeout)

        if old_end == "chunk":
            old.offer(StreamChunk("old"))
        elif old_end == "error":
            left.leave(MOVED)
        old.finish(None)
        new.offer(StreamChunk("new"))
        ticket.reader = Moving()
        assert ticket.take_chunk(0.0) == StreamChunk("new")
        assert taken == [0.0]


def test_the_error_of_its_own_stream_is_raised():
    """After the chunks that came before it."""
    stream, ticket = StreamBuffer(replay=False), ticket_of([])
    ticket.reader = stream.open_reader()
    stream.offer(StreamChunk("a"))
    stream.finish(ServerError("broke"))
    assert ticket.take_chunk(None) == StreamChunk("a")
    with pytest.raises(ServerError, match="broke"):
        ticket.take_chunk(None)
