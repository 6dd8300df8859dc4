"""A ticket under every schedule: of all who complete it one delivers, and its stream is read to its end once."""

from __future__ import annotations

from attrs import define, field

from showcaller.actors import stream_buffer, ticket
from showcaller.actors.enums import RequestPriority
from showcaller.actors.errors import RequestCancelledError, ServerError, ShowcallerError
from showcaller.actors.models import Errored, StreamChunk
from showcaller.actors.stream_buffer import StreamBuffer
from showcaller.actors.ticket import Ticket

GONE = RequestCancelledError("gone")
BROKEN = ServerError("broken")


@define
class World:
    """A streaming ticket that two wish to complete, what they were told, and what was delivered and read."""

    ticket: Ticket = field(init=False)
    streams: tuple = field(factory=lambda: (StreamBuffer(replay=True), StreamBuffer(replay=True)))
    delivered: list = field(factory=list)
    said: list = field(factory=list)
    read: list = field(factory=list)

    def __attrs_post_init__(self):
        self.ticket = Ticket(
            "id",
            priority=RequestPriority.NORMAL,
            created=0.0,
            deadline=1.0,
            deliver=lambda outcome: self.delivered.append(outcome.error.message),
        )
        self.ticket.reader = self.streams[0].open_reader()

    def complete(self, error):
        self.said.append((error.message, self.ticket.complete(Errored("id", error))))


def cancel(world):
    world.complete(GONE)
    world.ticket.reader.leave(GONE)


def fail(world):
    world.streams[0].offer(StreamChunk("0"))
    world.complete(BROKEN)
    world.streams[0].finish(BROKEN)


def move(world):
    """As a flight that takes in another does it: the new place first, then the old one is left."""
    old = world.ticket.reader
    world.ticket.reader = world.streams[1].open_reader()
    old.leave(GONE)


def write(world):
    world.streams[1].offer(StreamChunk("0"))
    world.streams[1].finish(None)


def read(world):
    try:
        while (chunk := world.ticket.take_chunk(None)) is not None:
            world.read.append(chunk.text)
        world.read.append("end")
    except ShowcallerError as error:
        world.read.append(error.message)


def one_delivered(world):
    (winner,) = world.delivered
    assert sorted(world.said) == [("broken", winner == "broken"), ("gone", winner == "gone")]


def one_delivered_and_read(world):
    one_delivered(world)
    *chunks, last = world.read
    assert chunks == ["0"][: len(chunks)]
    assert last in ("gone", "broken")


def all_read(world):
    assert world.read == ["0", "end"]


def test_the_first_completion_wins(explore):
    """The other one is told so, and changes nothing."""
    explore(World, [cancel, fail], one_delivered, lines=[ticket], locks=[stream_buffer])


def test_a_reader_sees_its_end_whoever_completes(explore):
    """Nobody leaves it waiting for a chunk that will not come."""
    explore(
        World,
        [cancel, fail, read],
        one_delivered_and_read,
        lines=[ticket],
        locks=[stream_buffer],
        at_locks=1,
        at_lines=1,
    )


def test_a_reader_that_is_moved_reads_the_other_stream_whole(explore):
    """That its old place was left is no end of its stream."""
    explore(
        World, [move, write, read], all_read, lines=[ticket], locks=[stream_buffer], at_locks=2, at_lines=1
    )


def test_a_planted_completion_without_the_lock_is_found(find, plant):
    """Both look before either has marked it done, and both deliver."""
    plant(Ticket.complete, {"with self._lock:": "if True:"})
    find(World, [cancel, fail], one_delivered, lines=[ticket], locks=[stream_buffer])


def test_a_planted_move_that_is_taken_for_the_end_is_found(find, plant):
    """A reader that does not look whether it was moved hears the error of the place it has left."""
    plant(
        Ticket.take_chunk, {"self.reader:\n                    raise": "reader:\n                    raise"}
    )
    find(World, [move, write, read], all_read, lines=[ticket], locks=[stream_buffer], preemptions=1)
