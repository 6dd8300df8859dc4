"""What the tests of the kernel share: time moved by hand, a parent that remembers, a host of actors."""

from __future__ import annotations

import random
import sys
import threading

import pykka
import pytest
from attrs import frozen

from showcaller.actors.kernel.actor import KernelActor
from showcaller.actors.kernel.clock import TimerHeap
from showcaller.actors.kernel.dispatcher import PinnedDispatcher, SharedDispatcher
from showcaller.actors.kernel.message import Message
from showcaller.actors.kernel.system import ActorSystem
from showcaller.actors.kernel.workers import ThreadWorkers

BOUND = 10.0
"""Seconds after which a wait has failed; what is waited for takes milliseconds."""


class ManualClock:
    """A clock that a test moves; timers fire in `advance`, on the test's thread."""

    def __init__(self):
        self.timers = TimerHeap()
        self.time = 1000.0

    def now(self):
        return self.time

    def wall(self):
        return 1_700_000_000.0 + self.time

    def call_later(self, delay, recipient, message):
        return self.timers.push(self.time + delay, recipient, message)

    def advance(self, seconds):
        until = self.time + seconds
        while (timer := self.timers.pop_due(until)) is not None:
            self.time = max(self.time, timer.at)
            timer.fire()
        self.time = until


class Keeper:
    """A recipient that keeps what it is told."""

    def __init__(self):
        self.told = []
        self._changed = threading.Condition()

    def tell(self, message):
        with self._changed:
            self.told.append(message)
            self._changed.notify_all()

    def wait(self, count=1):
        """What was told, as soon as it is `count` messages."""
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.told) >= count, BOUND), self.told
            return list(self.told)


@frozen
class Note(Message):
    """Is remembered and given back."""

    text: object = ""


@frozen
class Chatter(Message):
    """A note that a full mailbox refuses."""

    refusable = True
    text: object = ""


@frozen
class Hold(Message):
    """Keeps the actor's thread busy until it is let go."""

    entered: threading.Event
    release: threading.Event


@frozen
class Boom(Message):
    """Raises."""

    error: object


@frozen
class Unheard(Message):
    """Nobody has a handler for it."""


class Player(KernelActor):
    """Does what its messages say; a phase that is named in `raising` raises that error."""

    def __init__(self, raising=None, seen=None, failures=None):
        super().__init__()
        self.raising = raising or {}
        self.seen = [] if seen is None else seen
        self.failures = [] if failures is None else failures

    def on_start(self):
        self._raise("on_start")

    def on_stop(self):
        self._raise("on_stop")

    def on_failure(self, exception_type, exception_value, traceback):
        self.failures.append(exception_type)
        self._raise("on_failure")

    def _raise(self, phase):
        if phase in self.raising:
            raise self.raising[phase]

    def on_note(self, message):
        self.seen.append(message.text)
        return message.text

    on_chatter = on_note

    def on_hold(self, message):
        message.entered.set()
        assert message.release.wait(BOUND)

    def on_boom(self, message):
        raise message.error


class Gate:
    """Holds an actor in a handler while the test fills its mailbox."""

    def __init__(self, ref):
        self.entered, self.release = threading.Event(), threading.Event()
        ref.tell(Hold(self.entered, self.release))
        assert self.entered.wait(BOUND)

    def open(self):
        self.release.set()


class Host:
    """An ActorSystem on one dispatcher, and the parent of everything on it."""

    Player, Note, Chatter, Boom, Unheard, Gate = Player, Note, Chatter, Boom, Unheard, Gate

    def __init__(self, dispatcher):
        self.clock = ManualClock()
        self.parent = Keeper()
        self.dispatcher = dispatcher
        self.refs = []
        self.system = ActorSystem(
            clock=self.clock,
            rng=random.Random(1),
            shared=dispatcher,
            pinned=dispatcher,
            workers=ThreadWorkers,
        )

    def spawn(self, actor_class=Player, *args, slot="slot", **kwargs):
        ref = self.system.spawn(actor_class, *args, slot=slot, parent=self.parent, **kwargs)
        if ref is not None:
            self.refs.append(ref)
        return ref

    def only_down(self):
        """The one Down that there is, also after everything has been stopped."""
        down = self.parent.wait()[0]
        self.close()
        assert self.parent.told == [down]
        return down

    def close(self):
        for ref in self.refs:
            ref.stop(timeout=BOUND)
        assert self.dispatcher.stop(BOUND)


def _make(kind):
    return SharedDispatcher("test", lambda: 0.0) if kind == "shared" else PinnedDispatcher()


@pytest.fixture(params=["shared", "pinned"])
def host(request):
    host = Host(_make(request.param))
    yield host
    host.close()


@pytest.fixture
def shared_host():
    host = Host(_make("shared"))
    yield host
    host.close()


@pytest.fixture
def pinned_host():
    host = Host(_make("pinned"))
    yield host
    host.close()


@pytest.fixture
def keeper():
    return Keeper()


@pytest.fixture
def clock():
    return ManualClock()


@pytest.fixture
def often():
    """Lets the interpreter switch threads as often as it can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@pytest.fixture
def no_threads(monkeypatch):
    """No thread can be started."""

    def refuse(thread):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)


@pytest.fixture
def bystander():
    """An actor of the host program, which knows nothing of ours."""

    class Bystander(pykka.ThreadingActor):
        def __init__(self):
            super().__init__()
            self.seen = []

        def on_receive(self, message):
            self.seen.append(message)
            return list(self.seen)

    ref = Bystander.start()
    yield ref
    ref.stop(timeout=BOUND)


@pytest.fixture
def pool():
    pools = []

    def make(limit):
        pools.append(ThreadWorkers("pool", limit))
        return pools[-1]

    yield make
    for made in pools:
        made.close()
        assert made.join(BOUND) == 0
