"""The mailbox: bounded where it may refuse, in order, closed without a race, and it never blocks a sender."""

from __future__ import annotations

import threading
from collections import deque

import pykka
import pytest
from attrs import frozen
from hypothesis import given
from hypothesis import strategies as st
from pykka._envelope import Envelope
from pykka.messages import _ActorStop

from showcaller.actors.kernel import fork
from showcaller.actors.kernel.errors import ForkedProcessError, MailboxFullError
from showcaller.actors.kernel.mailbox import Mailbox
from showcaller.actors.kernel.message import Message
from showcaller.actors.kernel.reply import ReplyFuture

BOUND = 10.0


@frozen
class Work(Message):
    """Is never refused."""

    number: int = 0


@frozen
class Gossip(Message):
    """May be refused."""

    refusable = True
    number: int = 0


def drain(mailbox):
    return [mailbox.get().message for _ in range(len(mailbox))]


def test_a_full_mailbox_refuses_a_tell_at_once():
    """The sender is told, and not made to wait."""
    mailbox = Mailbox("actor", 2)
    mailbox.put(Envelope(Gossip(1)))
    mailbox.put(Envelope(Gossip(2)))
    with pytest.raises(MailboxFullError, match="the mailbox of actor holds 2 messages"):
        mailbox.put(Envelope(Gossip(3)))
    assert drain(mailbox) == [Gossip(1), Gossip(2)]
    mailbox.put(Envelope(Gossip(4)))
    assert drain(mailbox) == [Gossip(4)]


def test_a_full_mailbox_answers_an_ask_with_the_refusal():
    """An ask never raises at the place of asking."""
    mailbox = Mailbox("actor", 0)
    future = ReplyFuture()
    mailbox.put(Envelope(Gossip(), future))
    with pytest.raises(MailboxFullError):
        future.get(timeout=0)


def test_a_full_mailbox_takes_what_must_not_be_refused():
    """Messages about accepted work, and the stop, which overtakes them."""
    mailbox = Mailbox("actor", 0)
    mailbox.put(Envelope(Work(1)))
    mailbox.put(Envelope(Work(2)))
    mailbox.put(Envelope(_ActorStop()))
    assert drain(mailbox) == [_ActorStop(), Work(1), Work(2)]


def test_what_is_no_message_of_ours_may_be_refused():
    """A foreign object has no claim to a place."""
    with pytest.raises(MailboxFullError):
        Mailbox("actor", 0).put(Envelope("text"))


def test_an_offer_that_finds_no_room_is_dropped_and_counted():
    """Telemetry hears no error."""
    mailbox = Mailbox("actor", 1)
    assert mailbox.offer(Gossip(1))
    assert not mailbox.offer(Gossip(2))
    assert not mailbox.offer(Gossip(3))
    assert mailbox.dropped == 2
    mailbox.close()
    assert not mailbox.offer(Gossip(4))
    assert mailbox.dropped == 3


def test_a_closed_mailbox_gives_back_what_was_left_and_takes_nothing():
    """A second close returns nothing; an ask gets the refusal as its reply."""
    mailbox = Mailbox("actor", 1)
    mailbox.put(Envelope(Gossip(1)))
    mailbox.put(Envelope(Work(2)))
    assert [envelope.message for envelope in mailbox.close()] == [Gossip(1), Work(2)]
    assert mailbox.close() == []
    with pytest.raises(pykka.ActorDeadError):
        mailbox.put(Envelope(Work(3)))
    future = ReplyFuture()
    mailbox.put(Envelope(Work(4), future))
    with pytest.raises(pykka.ActorDeadError):
        future.get(timeout=0)
    assert mailbox.empty()


def test_an_empty_mailbox_says_so_instead_of_waiting():
    """A dispatcher that steps an actor with nothing to do is wrong, and must not hang."""
    with pytest.raises(IndexError):
        Mailbox("actor", 1).get()


def test_it_wakes_its_consumer_once_and_only_when_that_sleeps():
    """A message that arrives before park() is seen by park(); one that arrives after it wakes."""
    mailbox = Mailbox("actor", 10)
    woken = []
    mailbox.on_ready = lambda: woken.append(1)
    mailbox.put(Envelope(Work(1)))
    assert not mailbox.park()
    assert woken == []
    mailbox.get()
    assert mailbox.park()
    mailbox.put(Envelope(Work(2)))
    mailbox.put(Envelope(Work(3)))
    assert woken == [1]


def test_a_wake_that_is_interrupted_is_made_up_for() -> None:
    """Ctrl-C strikes a sender anywhere; its receiver must not sleep for ever over what it got."""
    mailbox, woken = Mailbox("one", 8), []

    def interrupted() -> None:
        woken.append("lost")
        raise KeyboardInterrupt

    mailbox.on_ready = interrupted
    assert mailbox.park()
    with pytest.raises(KeyboardInterrupt):
        mailbox.put(Envelope("a"))
    mailbox.on_ready = lambda: woken.append("made up for")
    mailbox.put(Envelope("b"))
    mailbox.put(Envelope("c"))
    assert woken == ["lost", "made up for"]


def test_it_needs_nobody_to_wake():
    """Messages may come before a dispatcher is there."""
    mailbox = Mailbox("actor", 10)
    assert mailbox.park()
    mailbox.put(Envelope(Work(1)))
    assert drain(mailbox) == [Work(1)]


def test_a_finalizer_that_sends_while_its_thread_is_inside_does_not_deadlock():
    """The garbage collector may run anything at any place, and its send is neither stuck nor lost."""
    mailbox = Mailbox("actor", 10)

    class Untimely(Message):
        @property
        def refusable(self):
            mailbox.put(Envelope(Work(1)))
            return False

    sender = threading.Thread(target=mailbox.put, args=(Envelope(Untimely()),), daemon=True)
    sender.start()
    sender.join(BOUND)
    assert not sender.is_alive()
    assert len(mailbox) == 2


def test_a_finalizer_that_sends_while_the_consumer_parks_wakes_it():
    """Whatever the moment, the message is either seen by park() or wakes."""

    class Watched(Mailbox):
        def empty(self):
            was_empty = super().empty()
            self.put(Envelope(Work(1)))
            return was_empty

    woken = []
    mailbox = Watched("actor", 10)
    mailbox.on_ready = lambda: woken.append(1)
    mailbox.park()
    assert woken == [1]


def test_after_a_fork_it_refuses_before_any_lock(monkeypatch):
    """The lock may have been copied locked."""
    mailbox = Mailbox("actor", 10)
    monkeypatch.setattr(fork, "_generation", fork.generation())
    mailbox._lock.acquire()
    fork._in_child()
    with pytest.raises(ForkedProcessError, match="before a fork"):
        mailbox.put(Envelope(Work(1)))
    with pytest.raises(ForkedProcessError):
        mailbox.offer(Gossip(1))


@given(st.lists(st.sampled_from(["work", "gossip", "stop", "get"])), st.integers(0, 4))
def test_it_behaves_as_two_queues(steps, capacity):
    """First in, first out, but a stop comes first; the bound counts exactly what may be refused."""
    mailbox, stops, queue = Mailbox("actor", capacity), deque(), deque()
    for number, step in enumerate(steps):
        if step == "get":
            expected = stops or queue
            assert mailbox.empty() == (not expected)
            if expected:
                assert mailbox.get().message == expected.popleft()
            continue
        message = {"work": Work(number), "gossip": Gossip(number), "stop": _ActorStop()}[step]
        full = step == "gossip" and sum(isinstance(m, Gossip) for m in queue) >= capacity
        if full:
            with pytest.raises(MailboxFullError):
                mailbox.put(Envelope(message))
        else:
            mailbox.put(Envelope(message))
            (stops if step == "stop" else queue).append(message)
    assert len(mailbox) == len(stops) + len(queue)
    assert [envelope.message for envelope in mailbox.close()] == [*stops, *queue]


def test_no_wakeup_is_lost_and_each_sender_stays_in_order(often):
    """Four senders and a consumer that parks whenever it can, switching threads all the time."""
    mailbox = Mailbox("actor", 10)
    ready = threading.Semaphore(0)
    mailbox.on_ready = ready.release
    each = 1500

    def send(sender):
        for number in range(each):
            mailbox.put(Envelope(Work((sender, number))))

    senders = [threading.Thread(target=send, args=(sender,), daemon=True) for sender in range(4)]
    for sender in senders:
        sender.start()
    got = {sender: [] for sender in range(4)}
    while sum(map(len, got.values())) < 4 * each:
        if mailbox.park():
            assert ready.acquire(timeout=BOUND), "a message lies there and nobody was woken"
        for message in drain(mailbox):
            sender, number = message.number
            got[sender].append(number)
    for sender in senders:
        sender.join(BOUND)
    assert all(numbers == list(range(each)) for numbers in got.values())
