"""Where actors run: each gets its turn, none waits on a thread that steps, a stop leaves nothing open."""

from __future__ import annotations

import threading

import pykka
import pytest
from attrs import frozen

from showcaller.actors.kernel.dispatcher import TURN, PinnedDispatcher, SharedDispatcher
from showcaller.actors.kernel.errors import BlockingCallError
from showcaller.actors.kernel.message import Message
from showcaller.actors.kernel.reply import ReplyFuture

BOUND = 10.0


@frozen
class AskOther(Message):
    """Makes the actor wait for another one, which it must not."""

    ref: object
    message: object = None


@frozen
class Again(Message):
    """Is told on and on."""


@frozen
class Read(Message):
    """Makes the actor read a future."""

    future: object


def test_a_shared_dispatcher_runs_all_on_one_daemon_thread(shared_host):
    """Including on_start; without an actor there is no thread."""
    assert shared_host.dispatcher.thread is None
    threads = []

    class Witness(shared_host.Player):
        def on_start(self):
            threads.append(threading.current_thread())

        def on_note(self, message):
            threads.append(threading.current_thread())

    for slot in "ab":
        shared_host.spawn(Witness, slot=slot).ask(shared_host.Note(), timeout=BOUND)
    assert set(threads) == {shared_host.dispatcher.thread}
    assert len(threads) == 4
    assert threads[0].daemon


def test_a_flood_for_one_actor_does_not_starve_another(shared_host):
    """After TURN messages the next actor has its turn."""
    seen = []
    flooded, other = shared_host.spawn(seen=seen), shared_host.spawn(slot="other", seen=seen)
    gate = shared_host.Gate(shared_host.spawn(slot="first"))
    for _ in range(10 * TURN):
        flooded.tell(shared_host.Note("flood"))
    other.tell(shared_host.Note("other"))
    gate.open()
    flooded.ask(shared_host.Note("end"), timeout=BOUND)
    assert seen.index("other") <= TURN
    assert seen.count("flood") == 10 * TURN


def test_an_actor_that_is_never_done_does_not_starve_another(host):
    """It tells itself for ever, and still others answer, and it can be stopped."""

    class Endless(host.Player):
        def on_again(self, message):
            self.actor_ref.tell(message)

    ref, other = host.spawn(Endless), host.spawn(slot="other")
    ref.tell(Again())
    assert [other.ask(host.Note(n), timeout=BOUND) for n in range(20)] == list(range(20))
    assert ref.stop(timeout=BOUND)


def test_each_sender_stays_in_order(host, often):
    """Whatever the interleaving."""
    seen, each = [], 300
    ref = host.spawn(seen=seen)

    def send(sender):
        for number in range(each):
            ref.tell(host.Note((sender, number)))

    senders = [threading.Thread(target=send, args=(sender,), daemon=True) for sender in range(3)]
    for sender in senders:
        sender.start()
    for sender in senders:
        sender.join(BOUND)
    ref.ask(host.Note("end"), timeout=BOUND)
    for sender in range(3):
        assert [number for who, number in seen[:-1] if who == sender] == list(range(each))


class Waiter:
    def on_ask_other(self, message):
        (message.ref or self.actor_ref).ask(message.message)

    def on_read(self, message):
        return message.future.get(timeout=BOUND)


def test_an_actor_that_asks_itself_gets_an_error_instead_of_a_deadlock(host):
    """It dies of it, with a text that says what to do."""

    class Narcissus(Waiter, host.Player):
        pass

    ref = host.spawn(Narcissus)
    with pytest.raises(BlockingCallError, match="an actor sends tells"):
        ref.ask(AskOther(None, host.Note()), timeout=BOUND)
    assert isinstance(host.only_down().crash.error, BlockingCallError)


def test_a_cycle_of_asks_gets_an_error_instead_of_a_deadlock(host):
    """Neither of the two waits for the other."""

    class Partner(Waiter, host.Player):
        pass

    first, second = host.spawn(Partner, slot="first"), host.spawn(Partner, slot="second")
    with pytest.raises(BlockingCallError):
        first.ask(AskOther(second, AskOther(first)), timeout=BOUND)
    assert len(host.parent.wait(1)) >= 1


def test_an_actor_may_read_a_reply_that_is_there(host):
    """What does not wait is not refused; what is derived from an open one is."""

    class Reader(Waiter, host.Player):
        pass

    ref, future = host.spawn(Reader), ReplyFuture()
    future.set("there")
    assert ref.ask(Read(future), timeout=BOUND) == "there"
    with pytest.raises(BlockingCallError):
        ref.ask(Read(ReplyFuture().map(str)), timeout=BOUND)


def test_a_shared_dispatcher_forgets_who_has_ended(shared_host):
    """A slot that crashes for months leaves nothing behind."""
    for number in range(20):
        shared_host.spawn(slot=str(number)).stop(timeout=BOUND)
    shared_host.parent.wait(20)
    alive = shared_host.spawn(slot="alive")
    alive.ask(shared_host.Note(), timeout=BOUND)
    assert [cell.slot for cell in shared_host.dispatcher._cells] == ["alive"]


@pytest.mark.parametrize("make", [lambda: SharedDispatcher("unused", lambda: 0.0), PinnedDispatcher])
def test_a_dispatcher_without_actors_can_be_stopped(make):
    """There is nothing to wait for."""
    assert make().stop(0.0)


def test_a_stopped_shared_dispatcher_takes_no_actor(shared_host):
    """A spawn after the stop is a Down, and not an actor that never runs."""
    shared_host.spawn().stop(timeout=BOUND)
    shared_host.parent.wait()
    assert shared_host.dispatcher.stop(BOUND)
    assert shared_host.spawn(slot="late") is None
    down = shared_host.parent.wait(2)[1]
    assert "the dispatcher test is stopped" in str(down.crash.error)


def test_a_stopped_shared_dispatcher_leaves_no_ask_open(shared_host):
    """Actors that nobody had stopped end with it: asks are answered, tells salvaged, the parent told."""
    ref, idle = shared_host.spawn(), shared_host.spawn(slot="idle")
    gate = shared_host.Gate(ref)
    assert not shared_host.dispatcher.stop(0.0)
    for _ in range(2 * TURN):
        ref.tell(shared_host.Note("left"))
    asked = ref.ask(shared_host.Note(), block=False)
    gate.open()
    with pytest.raises(pykka.ActorDeadError):
        asked.get(timeout=BOUND)
    downs = {down.slot: down for down in shared_host.parent.wait(2)}
    assert set(downs) == {"slot", "idle"}
    with pytest.raises(pykka.ActorDeadError):
        idle.ask(shared_host.Note(), timeout=BOUND)
    assert [down.crash for down in downs.values()] == [None, None]
    assert len(downs["slot"].salvaged) == 2 * TURN


def test_a_pinned_dispatcher_waits_for_all_threads_together(pinned_host, monkeypatch):
    """Several that hang cost one timeout, not one each."""
    gates = [pinned_host.Gate(pinned_host.spawn(slot=str(n))) for n in range(3)]
    asked = []

    def join(thread, timeout=None):
        asked.append(timeout)
        return original(thread, 0.0 if asked[1:] else timeout)

    original = threading.Thread.join
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "join", join)
        assert not pinned_host.dispatcher.stop(0.05)
    assert len(asked) == 3
    assert asked[1:] == [0.0, 0.0]
    for gate in gates:
        gate.open()


def test_an_actor_may_stop_its_own_dispatcher(host):
    """A thread does not wait for itself."""
    results = []

    class Last(host.Player):
        def on_note(self, message):
            results.append(host.dispatcher.stop(BOUND))

    host.spawn(Last).ask(host.Note(), timeout=BOUND)
    assert results == [True]


def test_a_turn_after_the_end_does_nothing(host):
    """A dispatcher may have a cell in its queue that has ended meanwhile."""
    ref = host.spawn()
    ref.stop(timeout=BOUND)
    host.parent.wait()
    cell_mailbox = ref.actor_inbox
    cell_mailbox.on_ready()
    assert host.spawn(slot="next").ask(host.Note("alive"), timeout=BOUND) == "alive"
    assert len(host.parent.told) == 1
