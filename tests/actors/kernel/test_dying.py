"""However an actor dies, its parent hears of it exactly once, and nobody waits for an answer in vain."""

from __future__ import annotations

import threading

import pykka
import pytest
from pykka._envelope import Envelope

from showcaller.actors.kernel.actor import KernelActor
from showcaller.actors.kernel.cell import Cell
from showcaller.actors.kernel.errors import ActorCrashedError
from showcaller.actors.kernel.mailbox import Mailbox
from showcaller.actors.kernel.reply import ReplyFuture

BOUND = 10.0


class PanicError(BaseException):
    """As the panics of some extension modules: not an Exception."""


ANY_ERROR = pytest.mark.parametrize("error", [ValueError, SystemExit, KeyboardInterrupt, PanicError])


def crowd(host, ref):
    """Two tells and an ask that wait behind what is in hand."""
    ref.tell(host.Note("first"))
    waiting = ref.ask(host.Note("asked"), block=False)
    ref.tell(host.Note("second"))
    return waiting


@ANY_ERROR
def test_a_raising_tell_is_death_with_message_in_hand_and_salvaged_tells(host, error):
    """The message that killed it and the tells behind it are in the Down; the ask behind it gets an error."""
    ref = host.spawn()
    gate = host.Gate(ref)
    boom = host.Boom(error("x"))
    ref.tell(boom)
    waiting = crowd(host, ref)
    gate.open()
    with pytest.raises(pykka.ActorDeadError):
        waiting.get(timeout=BOUND)
    down = host.only_down()
    assert (down.slot, down.generation) == ("slot", 1)
    assert down.crash.phase == "on_boom"
    assert down.crash.error is boom.error
    assert down.in_hand is boom
    assert [note.text for note in down.salvaged] == ["first", "second"]
    assert not ref.is_alive()


@ANY_ERROR
def test_a_raising_ask_is_death_too_and_its_asker_gets_the_reason(host, error):
    """An ask kills as a tell does; a BaseException reaches the asker as an error it can handle."""
    ref = host.spawn()
    gate = host.Gate(ref)
    boom = host.Boom(error("x"))
    asked = ref.ask(boom, block=False)
    waiting = crowd(host, ref)
    gate.open()
    with pytest.raises(error if issubclass(error, Exception) else ActorCrashedError):
        asked.get(timeout=BOUND)
    with pytest.raises(pykka.ActorDeadError):
        waiting.get(timeout=BOUND)
    down = host.only_down()
    assert down.crash.error is boom.error
    assert down.in_hand is boom
    assert [note.text for note in down.salvaged] == ["first", "second"]


@ANY_ERROR
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_raising_init_is_one_down(host, error, when):
    """Before and after Pykka's own __init__; what was told meanwhile is salvaged."""
    refs = []

    class Stillborn(KernelActor):
        def __init__(self):
            if when == "after":
                super().__init__()
                refs.append(self.actor_ref)
                self.actor_ref.tell(host.Note("early"))
                refs.append(self.actor_ref.ask(host.Note("asked"), block=False))
            raise error("x")

    if issubclass(error, Exception):
        assert host.spawn(Stillborn) is None
    else:
        with pytest.raises(error):
            host.spawn(Stillborn)
    down = host.only_down()
    assert down.crash.phase == "__init__"
    assert isinstance(down.crash.error, error)
    assert [note.text for note in down.salvaged] == ["early"] * (when == "after")
    if when == "after":
        ref, asked = refs
        assert not ref.is_alive()
        with pytest.raises(pykka.ActorDeadError):
            asked.get(timeout=BOUND)


def test_an_init_that_forgets_the_base_is_one_down(host):
    """It dies of it, and not who spawns it."""

    class Forgetful(KernelActor):
        def __init__(self):
            pass

    assert host.spawn(Forgetful) is None
    assert isinstance(host.only_down().crash.error, AttributeError)


@ANY_ERROR
def test_a_raising_on_start_is_one_down(host, error):
    """What was told before it ran is salvaged, what was asked is answered."""
    entered, release = threading.Event(), threading.Event()

    class Stumbler(host.Player):
        def on_start(self):
            entered.set()
            assert release.wait(BOUND)
            raise error("x")

    ref = host.spawn(Stumbler)
    assert entered.wait(BOUND)
    waiting = crowd(host, ref)
    release.set()
    with pytest.raises(pykka.ActorDeadError):
        waiting.get(timeout=BOUND)
    down = host.only_down()
    assert down.crash.phase == "on_start"
    assert isinstance(down.crash.error, error)
    assert down.in_hand is None
    assert [note.text for note in down.salvaged] == ["first", "second"]


@ANY_ERROR
def test_a_raising_on_failure_leaves_the_first_reason(host, error):
    """on_failure is called once, and what it raises changes nothing."""
    failures = []
    ref = host.spawn(raising={"on_failure": error("x")}, failures=failures)
    ref.tell(host.Boom(LookupError("y")))
    down = host.only_down()
    assert isinstance(down.crash.error, LookupError)
    assert down.crash.phase == "on_boom"
    assert failures == [LookupError]


@ANY_ERROR
def test_a_raising_on_stop_is_a_crash_and_who_stops_it_gets_its_answer(host, error):
    """The stop is no message to carry out again, and the actor is stopped all the same."""
    ref = host.spawn(raising={"on_stop": error("x")})
    gate = host.Gate(ref)
    waiting = crowd(host, ref)
    stopping = ref.stop(block=False)
    gate.open()
    assert stopping.get(timeout=BOUND)
    with pytest.raises(pykka.ActorDeadError):
        waiting.get(timeout=BOUND)
    down = host.only_down()
    assert down.crash.phase == "on_stop"
    assert isinstance(down.crash.error, error)
    assert down.in_hand is None
    assert [note.text for note in down.salvaged] == ["first", "second"]


@ANY_ERROR
def test_a_stop_that_an_actor_tells_itself_ends_it_once(host, error):
    """Also when on_stop raises, and when it is told twice."""

    class Suicide(host.Player):
        def on_note(self, message):
            self.stop()
            self.stop()

    ref = host.spawn(Suicide, raising={"on_stop": error("x")})
    ref.tell(host.Note())
    down = host.only_down()
    assert (down.crash.phase, down.in_hand, down.salvaged) == ("on_stop", None, ())


def test_a_thread_that_cannot_start_is_one_down(host, no_threads):
    """The spawner gets None and the parent the reason."""
    refs = []

    class Eager(host.Player):
        def __init__(self):
            super().__init__()
            refs.append(self.actor_ref)

    assert host.spawn(Eager) is None
    down = host.only_down()
    assert down.crash.phase == "start of its thread"
    assert isinstance(down.crash.error, RuntimeError)
    assert not refs[0].is_alive()


def test_a_thread_whose_start_fails_when_it_runs_already_is_one_down(pinned_host, monkeypatch):
    """A Ctrl-C can come at any place of Thread.start; the actor then ends from two sides."""
    entered, release = threading.Event(), threading.Event()

    class Slow(pinned_host.Player):
        def on_start(self):
            entered.set()
            assert release.wait(BOUND)

    original, started = threading.Thread.start, []

    def start(thread):
        started.append(thread)
        original(thread)
        assert entered.wait(BOUND)
        raise RuntimeError("interrupted")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", start)
        assert pinned_host.spawn(Slow) is None
    release.set()
    started[0].join(BOUND)
    assert not started[0].is_alive()
    assert pinned_host.only_down().crash.phase == "start of its thread"


def test_what_interrupts_the_start_of_the_thread_goes_on_after_the_down(host, monkeypatch):
    """A Ctrl-C is the host's, not ours to keep."""

    def interrupt(thread):
        raise KeyboardInterrupt

    monkeypatch.setattr(threading.Thread, "start", interrupt)
    with pytest.raises(KeyboardInterrupt):
        host.spawn()
    monkeypatch.undo()
    assert isinstance(host.only_down().crash.error, KeyboardInterrupt)


def test_a_stop_from_outside_is_a_down_without_a_crash(host):
    """It overtakes what waits; that is salvaged, and told from a crash."""
    seen = []
    ref = host.spawn(seen=seen)
    gate = host.Gate(ref)
    waiting = crowd(host, ref)
    stopping = [ref.stop(block=False) for _ in range(3)]
    gate.open()
    assert [future.get(timeout=BOUND) for future in stopping] == [True, True, True]
    with pytest.raises(pykka.ActorDeadError):
        waiting.get(timeout=BOUND)
    down = host.only_down()
    assert (down.crash, down.in_hand) == (None, None)
    assert [note.text for note in down.salvaged] == ["first", "second"]
    assert seen == []


def test_a_stop_while_it_crashes_is_answered_and_the_crash_stays(host):
    """The stop waits in the mailbox while a handler is about to raise."""
    entered, release = threading.Event(), threading.Event()

    class Slow(host.Player):
        def on_note(self, message):
            entered.set()
            assert release.wait(BOUND)
            raise ValueError("x")

    ref = host.spawn(Slow)
    ref.tell(host.Note())
    assert entered.wait(BOUND)
    stopping = ref.stop(block=False)
    release.set()
    assert stopping.get(timeout=BOUND)
    down = host.only_down()
    assert isinstance(down.crash.error, ValueError)
    assert down.salvaged == ()


def test_a_stop_after_death_says_so(host):
    """False, as Pykka's ActorRef promises."""
    ref = host.spawn()
    assert ref.stop(timeout=BOUND) is True
    assert ref.stop(timeout=BOUND) is False
    with pytest.raises(pykka.ActorDeadError):
        ref.tell(host.Note())
    with pytest.raises(pykka.ActorDeadError):
        ref.ask(host.Note(), timeout=BOUND)
    host.only_down()


def test_an_unknown_message_is_refused_and_nobody_dies(host):
    """Messages without a handler, foreign objects and proxies, by tell and by ask."""
    ref = host.spawn()
    proxy = ref.proxy()
    for message in (host.Unheard(), "text", None, pykka.messages.ProxyGetAttr(("seen",))):
        ref.tell(message)
        with pytest.raises(TypeError, match=r"showcaller:slot#1 has no handler for"):
            ref.ask(message, timeout=BOUND)
    with pytest.raises(TypeError, match="ProxyCall"):
        proxy.on_note(host.Note()).get(timeout=BOUND)
    with pytest.raises(TypeError, match="ProxySetAttr"):
        proxy.seen = []
    assert ref.ask(host.Note("alive"), timeout=BOUND) == "alive"
    assert host.parent.told == []


def test_a_parent_that_raises_does_not_take_the_thread_along(host):
    """The next actor on the same dispatcher runs as ever."""

    class BadParent:
        def tell(self, message):
            raise OSError("x")

    ref = host.system.spawn(host.Player, slot="orphan", parent=BadParent())
    assert ref.stop(timeout=BOUND)
    assert host.spawn().ask(host.Note("alive"), timeout=BOUND) == "alive"


def test_a_parent_that_is_dead_is_no_error(host):
    """An orderly stop may end the parent first."""
    parent = host.spawn(slot="parent")
    child = host.system.spawn(host.Player, slot="child", parent=parent)
    parent.stop(timeout=BOUND)
    assert child.stop(timeout=BOUND)
    assert host.spawn().ask(host.Note("alive"), timeout=BOUND) == "alive"


def test_what_is_in_hand_is_answered_even_when_pykka_could_not(keeper):
    """The last net: no asker hangs, whatever the loop died of."""
    cell = Cell("slot", 1, keeper, Mailbox, 10)
    future = ReplyFuture()
    cell.mailbox.put(Envelope("asked", future))
    cell.mailbox.get()
    cell.crashed(MemoryError())
    cell.end()
    with pytest.raises(pykka.ActorDeadError, match="died handling the message"):
        future.get(timeout=0)
    assert keeper.told[0].in_hand == "asked"


def test_an_actor_cannot_be_started_without_a_parent():
    """Pykka's own way in is closed."""
    with pytest.raises(TypeError, match=r"system\.spawn\(KernelActor"):
        KernelActor.start()
    with pytest.raises(AssertionError, match="unreachable"):
        KernelActor._start_actor_loop(None)
