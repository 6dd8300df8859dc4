"""The stream of a flight: what its readers see of its end."""

from __future__ import annotations

import pytest

from showcaller.actors.enums import Source
from showcaller.actors.errors import RequestCancelledError, ServerError, StreamInterruptedError
from showcaller.actors.models import Answered, StreamChunk
from tests.actors.flights import GONE, Client, act, begin, flight_of, respond


def test_an_answer_ends_the_stream_and_a_failure_ends_it_with_its_error():
    """After all chunks."""
    for step, end in (("answer", None), ("fail", ServerError)):
        client = Client("1")
        flight = flight_of(client, stream=True)
        attempt = begin(flight, "dispatched", "claim", "commit")
        flight.stream.offer(StreamChunk("a"))
        assert act(flight, attempt, step)
        assert client.ticket.take_chunk(0.0) == StreamChunk("a")
        if end is None:
            assert client.ticket.take_chunk(0.0) is None
        else:
            with pytest.raises(end):
                client.ticket.take_chunk(0.0)


@pytest.mark.parametrize("step", ["answer", "fail"])
def test_the_outcome_is_there_before_the_stream_ends(step):
    """Who has read to the end leaves, which cancels: that must come too late."""
    client, cancelled = Client("1"), []
    flight = flight_of(client, stream=True)

    def leave():
        cancelled.append(client.ticket.complete(Answered("1", respond(client.ticket, Source.CACHE))))

    client.ticket.reader.waker = leave
    assert act(flight, begin(flight, "dispatched", "claim", "commit"), step)
    assert cancelled == [False]


def test_who_goes_hears_why_when_it_reads_on():
    """And the stream of the others goes on."""
    first, second = Client("1"), Client("2")
    flight = flight_of(first, stream=True)
    flight.attach(second.ticket)
    flight.detach(first.ticket, GONE)
    flight.stream.offer(StreamChunk("a"))
    with pytest.raises(RequestCancelledError, match="gone"):
        first.ticket.take_chunk(0.0)
    assert second.ticket.take_chunk(0.0) == StreamChunk("a")


def test_a_timeout_of_a_read_is_the_reader_s_own_matter():
    """Nothing is cancelled, and the next read goes on."""
    client = Client("1")
    flight = flight_of(client, stream=True)
    with pytest.raises(TimeoutError):
        client.ticket.take_chunk(0.0)
    flight.stream.offer(StreamChunk("a"))
    assert client.ticket.take_chunk(0.0) == StreamChunk("a")


def test_the_stream_of_a_broken_answer_ends_with_the_text_so_far():
    """What a reader sees of a committed attempt that failed."""
    client = Client("1")
    flight = flight_of(client, stream=True)
    begin(flight, "dispatched", "claim", "commit")
    flight.stream.offer(StreamChunk("half"))
    flight.fail(StreamInterruptedError("broke", partial=flight.stream.text))
    assert client.ticket.take_chunk(0.0).text == "half"
    with pytest.raises(StreamInterruptedError) as raised:
        client.ticket.take_chunk(0.0)
    assert raised.value.partial == "half"
    assert client.outcome.error.partial == "half"
