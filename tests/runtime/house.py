"""An edge before a core that never answers: the test plays the seats."""

from __future__ import annotations

from showcaller.actors.backend_config import BackendConfig
from showcaller.actors.configuration import RuntimeConfig
from showcaller.actors.errors import RuntimeStoppedError
from showcaller.actors.flight_table import FlightTable
from showcaller.actors.kernel.workers import ThreadWorkers
from showcaller.actors.models import BackendResponse, ChatRequest, RequestContext
from showcaller.actors.outbox import Outbox
from showcaller.actors.roster import Roster
from showcaller.actors.route_config import RouteConfig
from showcaller.actors.settings import RuntimeSettings
from showcaller.runtime.edge import Edge
from tests.hand_clock import HandClock

BOUND = 10.0
STOPPED = RuntimeStoppedError("stopped")
SIZE = len(ChatRequest("x" * 100).payload)


class DeadActor:
    """Takes messages and does nothing, like one whose thread is stuck."""

    def __init__(self):
        self.told = []

    def tell(self, message):
        self.told.append(message)


class House:
    """An edge before a core that never answers; the test plays the seats."""

    def __init__(self, callbacks=None, clock=None, flights=None, **bounds):
        config = RuntimeConfig(
            runtime=RuntimeSettings(model="fast", **bounds),
            backends=[
                BackendConfig(name=name, backend_type="simulated", model=f"model-{name}") for name in "ab"
            ],
            routes=[RouteConfig(name="fast", targets=["a", "b"]), RouteConfig(name="slow", targets=["a"])],
        )
        self.clock = clock or HandClock()
        self.flights = FlightTable() if flights is None else flights
        self.deduplicator, self.supervisor = DeadActor(), DeadActor()
        self.roster = Roster(config, [], self.flights, Outbox(DeadActor(), []))
        self.edge = Edge(
            config.runtime,
            clock=self.clock,
            roster=self.roster,
            flights=self.flights,
            deduplicator=self.deduplicator,
            supervisor=self.supervisor,
            callbacks=callbacks or ThreadWorkers("callbacks", 1),
            name="test",
        )

    def accept(self, prompt="Hello", *, stream=False, share=True, on_outcome=None, **options):
        return self.edge.accept(
            ChatRequest(prompt, **options), stream=stream, share=share, on_outcome=on_outcome
        )

    def flight_of(self, prompt="Hello", *, stream=False, share=True, **options):
        return self.accept(prompt, stream=stream, share=share, **options)[0].flight


def open_bytes(house):
    return sum(house.edge._room._bytes.values())


def named(request_id, **fields):
    return RequestContext(request_id=request_id, **fields)


def answer(flight):
    """Let the flight's call be carried out and answer; was it in time?"""
    attempt = flight.next_attempt("a", generation=1, epoch=1, tokens=1, deadline=1e9)
    if attempt is None or not flight.dispatched(attempt, 1e9) or not flight.claim(attempt):
        return False
    return flight.answer(attempt, respond)


def respond(ticket, source):
    return BackendResponse(
        content="Hi",
        message={"role": "assistant", "content": "Hi"},
        backend="a",
        model="m",
        source=source,
        request_id=ticket.request_id,
    )


def kinds(actor):
    return [type(message) for message in actor.told]
