"""A simulation of two steady backends, and what is asked of it where faults are tried."""

from __future__ import annotations

from showcaller.actors.backend_config import BackendConfig
from showcaller.actors.configuration import RuntimeConfig
from showcaller.actors.route_config import RouteConfig
from showcaller.actors.settings import RuntimeSettings
from showcaller.runtime.testing.behaviour import Behaviour
from showcaller.runtime.testing.client import Plan
from showcaller.runtime.testing.distributions import Constant
from showcaller.runtime.testing.tree_faults import ACTORS

STEADY = Behaviour(
    connect=Constant(0.0),
    first_token=Constant(1.0),
    token_interval=Constant(0.1),
    answer_tokens=(10, 10),
    most_chunks=10,
)
"""Two seconds for an answer, the first of them in silence."""

EVERYBODY = (*ACTORS, "a")


def backend(name, **options):
    return BackendConfig(
        name=name,
        backend_type="openai_compatible",
        base_url="http://127.0.0.1:9/v1",
        model=f"model-of-{name}",
        **options,
    )


def config(**options):
    return RuntimeConfig(
        runtime=RuntimeSettings(model="fast", timeout=30.0),
        backends=[backend(name, **options) for name in "ab"],
        routes=[RouteConfig(name="fast", routing_strategy="failover", targets=["a", "b"])],
    )


class Seen:
    """Notes what arrives in mailboxes."""

    def __init__(self):
        self.messages = []

    def sent(self, owner, message):
        self.messages.append(message)

    def taken(self, cell, message):
        return

    def handled(self, cell):
        return

    def at_rest(self):
        return

    def of(self, kind):
        return [message for message in self.messages if isinstance(message, kind)]


def send(sim, **plan):
    """A request that is sent now."""
    return sim.send(Plan(prompt=f"prompt {len(sim.clients)}", **plan)).sent


def ask(sim, **options):
    """Seconds until there is an answer."""
    began = sim.now
    sim.runtime.ask(f"ask at {began}", **options)
    return sim.now - began


def slot(sim, name):
    return sim.runtime._tree.roster.slots[name]


def child(sim, actor):
    tree = sim.runtime._tree
    return tree.children[actor] if actor in ACTORS else slot(sim, actor).child


def notes(sim):
    return [moment.what for moment in sim.timeline]
