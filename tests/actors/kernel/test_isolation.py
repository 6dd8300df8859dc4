"""What happens in our actors stays there: no foreign actor, log, memory or process pays for it."""

from __future__ import annotations

import gc
import logging
import subprocess
import sys
import textwrap
import threading
import types
import weakref
from contextlib import suppress

import pykka
import pytest

from showcaller.actors.kernel import fork
from showcaller.actors.kernel.errors import ForkedProcessError

BOUND = 10.0


class PanicError(BaseException):
    """As the panics of some extension modules: not an Exception."""


@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt, PanicError])
@pytest.mark.parametrize("phase", ["on_start", "on_boom", "on_failure", "on_stop"])
def test_no_death_of_ours_stops_a_foreign_actor(host, bystander, error, phase):
    """Pykka answers a BaseException by stopping every actor of the process."""
    raising = {} if phase == "on_boom" else {phase: error("x")}
    ref = host.spawn(raising=raising)
    if phase in ("on_boom", "on_failure"):
        ref.tell(host.Boom(error("x") if phase == "on_boom" else ValueError("x")))
    elif phase == "on_stop":
        ref.stop(timeout=BOUND)
    host.parent.wait()
    assert bystander.ask("are you there?", timeout=BOUND) == ["are you there?"]
    assert pykka.ActorRegistry.get_all() == [bystander]


def test_the_host_neither_sees_nor_stops_nor_floods_our_actors(host, bystander):
    """Pykka's registry does not know them, even one that hangs."""
    seen = []
    ref = host.spawn(seen=seen)
    gate = host.Gate(ref)
    assert pykka.ActorRegistry.get_all() == [bystander]
    pykka.ActorRegistry.broadcast(host.Note("broadcast"))
    assert pykka.ActorRegistry.stop_all(timeout=BOUND) == [True]
    gate.open()
    assert ref.ask(host.Note("alive"), timeout=BOUND) == "alive"
    assert seen == ["alive"]
    assert host.parent.told == []


def test_no_log_shows_the_content_of_a_message(host, caplog):
    """Not one record of any logger at any level, whatever the way of dying."""
    caplog.set_level(logging.DEBUG)
    caplog.set_level(logging.DEBUG, logger="pykka")
    secret = ValueError("CANARY")
    asks = [host.Note("CANARY"), host.Unheard(), "CANARY", {"key": "CANARY"}, host.Boom(secret)]
    for number, message in enumerate(asks):
        ref = host.spawn(slot=f"asked-{number}")
        future = ref.ask(message, block=False)
        with suppress(ValueError, TypeError):
            future.get(timeout=BOUND)
        told = host.spawn(slot=f"told-{number}")
        told.tell(host.Note("CANARY"))
        told.tell(message)
        told.tell(host.Note("CANARY"))
        told.stop(timeout=BOUND)
    for phase in ("on_start", "on_failure", "on_stop"):
        ref = host.spawn(slot=phase, raising={phase: SystemExit("CANARY")})
        try:
            ref.tell(host.Boom(secret) if phase == "on_failure" else host.Note("CANARY"))
        except pykka.ActorDeadError:
            assert phase == "on_start"
        ref.stop(timeout=BOUND)
    host.close()
    host.clock.call_later(0.0, ref, host.Note("CANARY"))
    host.clock.advance(1.0)
    assert caplog.records
    for record in caplog.records:
        assert record.name != "pykka"
        assert record.exc_info is None
        assert "CANARY" not in f"{record.getMessage()} {record.args!r} {record.__dict__!r}"
    for down in host.parent.told:
        assert "CANARY" not in f"{down!r} {down}"


def test_the_logs_of_foreign_actors_are_left_alone(bystander, caplog):
    """The filter on Pykka's logger drops only what is about ours."""
    caplog.set_level(logging.DEBUG, logger="pykka")
    bystander.stop(timeout=BOUND)
    assert any(record.name == "pykka" for record in caplog.records)


def test_ten_thousand_refusals_keep_no_traceback(host):
    """An exception that is made once and raised often keeps every frame it has passed."""
    ref = host.spawn()
    futures = [ref.ask(host.Unheard(), block=False) for _ in range(10)]
    _drop(futures)
    before = _tracebacks()
    for _ in range(20):
        futures = [ref.ask(host.Unheard(), block=False) for _ in range(500)]
        _drop(futures)
    del futures
    assert _tracebacks() - before < 20


def _drop(futures):
    while futures:
        with pytest.raises(TypeError):
            futures.pop().get(timeout=BOUND)


def _tracebacks():
    gc.collect()
    return sum(isinstance(thing, types.TracebackType) for thing in gc.get_objects())


class Thing:
    """Something of which it can be seen that it is gone."""


@pytest.mark.parametrize("told", [True, False])
def test_a_crash_keeps_nothing_alive_but_its_down(host, told):
    """Not the message, not the actor, not the locals of the handler: not even while a ref of it is held."""
    watched = []

    class Keeper(host.Player):
        def on_note(self, message):
            local = Thing()
            watched.extend([weakref.ref(local), weakref.ref(self)])
            raise ValueError(local)

    thing = Thing()
    watched.append(weakref.ref(thing))
    ref = host.spawn(Keeper)
    if told:
        ref.tell(host.Note(thing))
    else:
        with pytest.raises(ValueError):  # noqa: PT011 - its content is what must not stay
            ref.ask(host.Note(thing), timeout=BOUND)
    host.parent.wait()
    del thing
    host.spawn(slot="next").ask(host.Note(), timeout=BOUND)
    assert not ref.is_alive()
    host.parent.told.clear()

    def gone():
        gc.collect()
        return not any(reference() for reference in watched)

    # A thread of its own has told its parent before it has left its last frame.
    _settle(gone)


def test_an_idle_actor_keeps_no_message_alive(host):
    """A prompt may be large, and secret."""
    ref, thing = host.spawn(seen=Forgets()), Thing()
    watched = weakref.ref(thing)
    ref.tell(host.Note(thing))
    del thing
    _settle(lambda: watched() is None)


class Forgets(list):
    """Where a player's notes go to be forgotten."""

    def append(self, thing):
        pass


def _settle(condition):
    pause = threading.Event()
    for _ in range(1000):
        if condition():
            return
        pause.wait(0.01)
    pytest.fail("it never came about")


def test_nothing_is_spawned_in_a_forked_child(host, monkeypatch):
    """Its threads do not exist there."""
    monkeypatch.setattr(fork, "_generation", fork.generation())
    fork._in_child()
    with pytest.raises(ForkedProcessError):
        host.spawn()


PRELUDE = """
import os, random, sys, threading
from attrs import frozen
from showcaller.actors.kernel.actor import KernelActor
from showcaller.actors.kernel.address import Address
from showcaller.actors.kernel.clock import SystemClock
from showcaller.actors.kernel.dispatcher import PinnedDispatcher, SharedDispatcher
from showcaller.actors.kernel.errors import ForkedProcessError
from showcaller.actors.kernel.message import Message
from showcaller.actors.kernel.system import ActorSystem
from showcaller.actors.kernel.watchdog import Watchdog
from showcaller.actors.kernel.workers import ThreadWorkers

@frozen
class Note(Message):
    text: str = "note"

class Player(KernelActor):
    def on_note(self, message):
        return message.text

class Parent:
    def tell(self, message):
        pass

clock = SystemClock()
shared = SharedDispatcher("core", clock.now)
system = ActorSystem(
    clock=clock, rng=random.Random(1), shared=shared, pinned=PinnedDispatcher(), workers=ThreadWorkers
)
refs = [system.spawn(Player, slot="a", parent=Parent(), dispatcher=d) for d in (system.shared, system.pinned)]
assert [ref.ask(Note(), timeout=10) for ref in refs] == ["note", "note"]
"""


def run_script(text):
    return subprocess.run(
        [sys.executable, "-W", "ignore", "-c", PRELUDE + textwrap.dedent(text)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_a_forked_child_is_refused_at_once_even_when_a_lock_was_held():
    """Tell, ask, stop, address and spawn raise in the child; the parent goes on."""
    result = run_script("""
        address = Address("a")
        address.occupy(refs[0])
        calls = [lambda: address.tell(Note()), lambda: address.offer(Note())]
        calls.append(lambda: system.spawn(Player, slot="b", parent=Parent()))
        for ref in refs:
            calls += [lambda r=ref: r.tell(Note()), lambda r=ref: r.ask(Note()), lambda r=ref: r.stop()]

        locks = [address._lock, shared._lock, *(ref.actor_inbox._lock for ref in refs)]
        held, forked = threading.Event(), threading.Event()

        def hold():
            for lock in locks:
                lock.acquire()
            held.set()
            forked.wait(30)
            for lock in locks:
                lock.release()

        holder = threading.Thread(target=hold)
        holder.start()
        held.wait(10)
        child = os.fork()
        if child == 0:
            threading.Timer(20.0, os._exit, [3]).start()
            for call in calls:
                try:
                    call()
                except ForkedProcessError as error:
                    assert "before a fork" in str(error)
                else:
                    os._exit(2)
            os._exit(0)
        forked.set()
        holder.join(10)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
        print([ref.ask(Note(), timeout=10) for ref in refs])
    """)
    assert result.stdout.split("\n")[:2] == ["0", "['note', 'note']"], result.stderr


def test_a_forked_child_can_start_a_system_of_its_own():
    """What is refused is what was started before the fork."""
    result = run_script("""
        child = os.fork()
        if child == 0:
            threading.Timer(20.0, os._exit, [3]).start()
            own = SharedDispatcher("own", clock.now)
            system = ActorSystem(
                clock=clock, rng=random.Random(1), shared=own, pinned=own, workers=ThreadWorkers
            )
            ref = system.spawn(Player, slot="c", parent=Parent())
            os._exit(0 if ref.ask(Note("own"), timeout=10) == "own" else 2)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    """)
    assert result.stdout == "0\n", result.stderr


def test_the_interpreter_exits_when_nothing_was_stopped():
    """Every thread is a daemon: actors, clock, workers that are idle, busy or paused, and a waiting await."""
    result = run_script("""
        import asyncio

        class Job:
            def __init__(self, *pauses):
                self.pauses, self.began = list(pauses), threading.Event()
            def step(self):
                self.began.set()
                return self.pauses.pop() if self.pauses else None
            def wait(self, seconds):
                threading.Event().wait(seconds)

        workers = ThreadWorkers("pool", 3)
        jobs = [Job(), Job(3600.0)]
        for job in jobs:
            workers.run(job)
            assert job.began.wait(10)
        clock.call_later(3600.0, refs[0], Note())
        Watchdog(shared, clock).start()
        future = refs[0].actor_class._create_future().map(str)
        async def give_up():
            try:
                await asyncio.wait_for(asyncio.ensure_future(wait()), 0.01)
            except asyncio.TimeoutError:
                print("end")
        async def wait():
            await future
        asyncio.run(give_up())
    """)
    assert (result.returncode, result.stdout, result.stderr) == (0, "end\n", "")
