"""A host that uses Pykka itself and this runtime: neither reaches the other's actors."""

from __future__ import annotations

import pykka

from tests.runtime.live import PATIENCE, Gate, Peer, ready, running


class HostActor(pykka.ThreadingActor):
    """An actor of the host's."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[object] = []

    def on_receive(self, message: object) -> object:
        if message == "what have you seen?":
            return list(self.seen)
        self.seen.append(message)
        return None


def test_our_actors_are_not_in_the_registry() -> None:
    """All that is there is the host's."""
    host = HostActor.start()
    try:
        with running({"a": Peer(ready)}) as runtime:
            assert runtime.ask("q", timeout=PATIENCE).content == "hi"
            assert pykka.ActorRegistry.get_all() == [host]
    finally:
        host.stop(timeout=PATIENCE)


def test_the_hosts_stop_all_leaves_the_runtime_working() -> None:
    """With a request under way."""
    gate = Gate()
    peer = Peer(gate.waiting)
    host = HostActor.start()
    with running({"a": peer}) as runtime:
        pending = runtime.submit("q")
        assert peer.arrived.acquire(timeout=PATIENCE)
        assert pykka.ActorRegistry.stop_all(timeout=PATIENCE) == [True]
        assert not host.is_alive()
        gate.open()
        assert pending.result(PATIENCE).content == "hi"
        assert runtime.ask("q", timeout=PATIENCE).content == "hi"


def test_a_broadcast_reaches_the_host_and_not_us() -> None:
    """And our stop leaves the host's actors alone."""
    host = HostActor.start()
    try:
        with running({"a": Peer(ready)}) as runtime:
            runtime.ask("q", timeout=PATIENCE)
            pykka.ActorRegistry.broadcast("all hands")
            assert runtime.ask("q", timeout=PATIENCE).content == "hi"
            assert all(actor.restarts == 0 for actor in runtime.status().actors)
        assert host.ask("what have you seen?", timeout=PATIENCE) == ["all hands"]
    finally:
        host.stop(timeout=PATIENCE)


def test_actors_of_the_host_may_use_the_runtime() -> None:
    """They may wait on their own threads."""
    with running({"a": Peer(ready)}) as runtime:

        class Asking(pykka.ThreadingActor):
            def on_receive(self, message: object) -> str:
                return runtime.ask(str(message), timeout=PATIENCE).content

        asking = Asking.start()
        try:
            assert asking.ask("q", timeout=PATIENCE) == "hi"
        finally:
            asking.stop(timeout=PATIENCE)
