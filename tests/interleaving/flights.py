"""Flights for the explorer: worlds in which they are, and what threads do to them."""

from __future__ import annotations

from attrs import define, field

from showcaller.actors.attempt import AttemptRecord, AttemptState
from showcaller.actors.enums import RequestPriority
from showcaller.actors.errors import RequestCancelledError, ServerError, StreamInterruptedError
from showcaller.actors.flight import Flight
from showcaller.actors.models import Answered, BackendResponse, ChatRequest, Errored, StreamChunk
from showcaller.actors.stream_buffer import StreamReader
from showcaller.actors.ticket import Ticket

REQUEST = ChatRequest("Hello")
GONE = RequestCancelledError("gone")
BROKEN = ServerError("broken")


class Client:
    """One who waits for an outcome; keeps every one that is delivered, and what was read of a stream."""

    def __init__(self, request_id):
        self.outcomes = []
        self.read = []
        self.ticket = Ticket(
            request_id,
            priority=RequestPriority.NORMAL,
            created=0.0,
            deadline=9.0,
            deliver=lambda outcome: self.outcomes.append(outcome),
        )

    @property
    def answered(self):
        (outcome,) = self.outcomes
        return isinstance(outcome, Answered)

    def give_up(self):
        """As the edge does it for a cancel or a deadline."""
        if not self.ticket.complete(Errored(self.ticket.request_id, GONE)):
            return None
        return self.ticket.flight.detach(self.ticket, GONE)


@define
class World:
    """A flight with its client and two attempts, two other clients with a flight of theirs; what each call said."""

    flight: Flight
    client: Client
    first: AttemptRecord
    second: AttemptRecord | None = None
    guest: Client = field(factory=lambda: Client("guest"))
    friend: Client = field(factory=lambda: Client("friend"))
    other: Flight | None = None
    landed: list = field(factory=list)
    said: dict = field(factory=dict)
    reader: StreamReader | None = None


def flight_of(client, landed, *, order=1, stream=False):
    return Flight(
        client.ticket, REQUEST, order=order, lane="lane", key=b"key", stream=stream, on_done=landed.append
    )


def world(*states, stream=False):
    """A world whose attempts have come so far."""
    client, landed = Client("client"), []
    mine = flight_of(client, landed, stream=stream)
    attempts = []
    for slot, state in enumerate(states):
        attempt = mine.next_attempt(f"slot {slot}", generation=1, epoch=1, tokens=1, deadline=9.0)
        attempts.append(attempt)
        if state is not AttemptState.RESERVING:
            assert mine.dispatched(attempt, 9.0)
        if state is AttemptState.CLAIMED:
            assert mine.claim(attempt)
    return World(mine, client, *attempts, landed=landed)


def reserving():
    return world(AttemptState.RESERVING)


def dispatched():
    return world(AttemptState.DISPATCHED)


def claimed():
    return world(AttemptState.CLAIMED)


def hedged():
    return world(AttemptState.CLAIMED, AttemptState.CLAIMED)


def streaming():
    return world(AttemptState.CLAIMED, stream=True)


def coalescing(*, stream=False):
    made = world(AttemptState.CLAIMED, stream=stream)
    made.other = flight_of(made.guest, made.landed, order=2, stream=stream)
    return made


def coalescing_streams():
    return coalescing(stream=True)


def coalescing_two():
    made = coalescing()
    assert made.other.attach(made.friend.ticket)
    return made


def say(name):
    """A body that keeps what it said under its name."""

    def decorate(body):
        def saying(world):
            world.said[name] = body(world)

        saying.__name__ = body.__name__
        return saying

    return decorate


def response(client_ticket, source):
    return BackendResponse(
        content="Hi",
        message={"role": "assistant", "content": "Hi"},
        backend="b",
        model="m",
        source=source,
        request_id=client_ticket.request_id,
    )


@say("attach")
def attach(world):
    return world.flight.attach(world.guest.ticket)


@say("first")
def answer(world):
    return world.flight.answer(world.first, response)


@say("second")
def answer_too(world):
    return world.flight.answer(world.second, response)


@say("fail")
def fail(world):
    return world.flight.fail(BROKEN)


@say("give up")
def give_up(world):
    return world.client.give_up()


@say("guest")
def guest_gives_up(world):
    return world.guest.give_up()


@say("claim")
def claim(world):
    return world.flight.claim(world.first)


@say("commit")
def commit(world):
    return world.flight.commit(world.first)


@say("commit too")
def commit_too(world):
    return world.flight.commit(world.second)


@say("revoke")
def revoke(world):
    return world.flight.revoke(world.first)


@say("revoke")
def revoke_unclaimed(world):
    return world.flight.revoke_unclaimed(world.first)


@say("dispatch")
def dispatch(world):
    return world.flight.dispatched(world.first, 9.0)


def hedge(world):
    world.second = world.flight.next_attempt("slot 1", generation=1, epoch=1, tokens=1, deadline=9.0)


@say("answer")
def fly(world):
    """A seat's whole way."""
    return (
        world.flight.claim(world.first)
        and world.flight.commit(world.first)
        and world.flight.answer(world.first, response)
    )


@say("answer")
def stream(world):
    if not world.flight.commit(world.first):
        return False
    world.flight.stream.offer(StreamChunk("0"))
    return world.flight.answer(world.first, response)


@say("interrupt")
def interrupt(world):
    return world.flight.interrupt(lambda partial: StreamInterruptedError("broke", partial=partial))


@say("go on")
def go_on(world):
    for text in ("0", "1"):
        world.flight.stream.offer(StreamChunk(text))
    return world.flight.answer(world.first, response)


def begun_stream():
    made = streaming()
    made.reader = made.client.ticket.reader
    assert made.flight.commit(made.first)
    return made


def read_as_guest(world):
    while (chunk := world.guest.ticket.take_chunk(None)) is not None:
        world.guest.read.append(chunk.text)
    world.guest.read.append("end")


def attach_and_read(world):
    attach(world)
    if world.said["attach"]:
        read_as_guest(world)


@say("take in")
def take_in(world):
    return world.flight.take_in(world.other)


def take_in_and_fly(world):
    """As the deduplicator does it: what cannot be taken in flies itself."""
    take_in(world)
    if not world.said["take in"]:
        stream = world.other.stream
        attempt = world.other.next_attempt("slot 2", generation=1, epoch=1, tokens=1, deadline=9.0)
        assert world.other.dispatched(attempt, 9.0)
        assert world.other.claim(attempt)
        if stream is not None:
            assert world.other.commit(attempt)
            stream.offer(StreamChunk("0"))
        assert world.other.answer(attempt, response)
