"""A slot's address: nothing that must not be refused is lost between two incarnations, and order is kept."""

from __future__ import annotations

import threading

import pykka
import pytest

from showcaller.actors.kernel import fork
from showcaller.actors.kernel.address import Address
from showcaller.actors.kernel.errors import ForkedProcessError

BOUND = 10.0


def test_it_parks_while_there_is_no_incarnation(host):
    """The next one gets what was salvaged, then what was parked, then what comes."""
    address, seen = Address("slot"), []
    assert address.ref is None
    address.tell(host.Note("parked 1"))
    address.tell(host.Note("parked 2"))
    ref = host.spawn(seen=seen)
    address.occupy(ref, [host.Note("salvaged 1"), host.Note("salvaged 2")])
    assert address.ref is ref
    address.tell(host.Note("direct"))
    ref.ask(host.Note("end"), timeout=BOUND)
    assert seen == ["salvaged 1", "salvaged 2", "parked 1", "parked 2", "direct", "end"]
    assert address.lost == 0


def test_it_parks_again_when_the_incarnation_has_died(host):
    """A tell to a dead actor is no error of the sender's."""
    address, seen = Address("slot"), []
    first = host.spawn()
    address.occupy(first)
    first.stop(timeout=BOUND)
    address.tell(host.Note("kept"))
    assert address.ref is None
    second = host.spawn(seen=seen, generation=2)
    address.occupy(second)
    second.ask(host.Note("end"), timeout=BOUND)
    assert seen == ["kept", "end"]


def test_an_incarnation_that_is_dead_on_arrival_loses_nothing(host):
    """What it would have got waits for the next, in the same order."""
    address, seen = Address("slot"), []
    address.tell(host.Note("parked"))
    dead = host.spawn()
    dead.stop(timeout=BOUND)
    address.occupy(dead, [host.Note("salvaged")])
    assert address.ref is None
    alive = host.spawn(seen=seen, generation=2)
    address.occupy(alive)
    alive.ask(host.Note("end"), timeout=BOUND)
    assert seen == ["salvaged", "parked", "end"]


def test_what_may_be_refused_is_dropped_and_counted(host):
    """Without an incarnation, after its death, with a full mailbox, after the close: by offer and by tell."""
    address = Address("slot")
    assert not address.offer(host.Chatter("nobody there"))
    address.tell(host.Chatter("nobody there"))
    assert address.lost == 2
    ref = host.spawn(capacity=1)
    gate = host.Gate(ref)
    address.occupy(ref, [host.Chatter("fits"), host.Chatter("does not")])
    assert address.lost == 3
    assert not address.offer(host.Chatter("full"))
    address.tell(host.Chatter("full"))
    address.tell(host.Note("is never refused"))
    assert address.lost == 5
    gate.open()
    ref.ask(host.Note("end"), timeout=BOUND)
    assert address.offer(host.Chatter("room again"))
    ref.stop(timeout=BOUND)
    assert not address.offer(host.Chatter("dead"))
    assert address.lost == 6


def test_a_closed_address_returns_what_was_parked_and_counts_the_rest(host):
    """No incarnation will come any more."""
    address = Address("slot")
    note = host.Note("parked")
    address.tell(note)
    assert address.close() == [note]
    assert address.close() == []
    address.tell(note)
    assert not address.offer(host.Chatter())
    assert address.lost == 2


def test_a_closed_address_does_not_reach_the_last_incarnation(host):
    """Even while that one is still running."""
    address, seen = Address("slot"), []
    ref = host.spawn(seen=seen)
    address.occupy(ref)
    assert address.close() == []
    assert address.ref is None
    address.tell(host.Note("too late"))
    ref.ask(host.Note("end"), timeout=BOUND)
    assert (seen, address.lost) == (["end"], 1)


def test_after_a_fork_it_refuses_before_any_lock(monkeypatch, host):
    """The lock may have been copied locked."""
    address = Address("slot")
    monkeypatch.setattr(fork, "_generation", fork.generation())
    fork._in_child()
    with address._lock:
        for call in (address.tell, address.offer):
            raised = []

            def attempt(call=call, raised=raised):
                try:
                    call(host.Chatter())
                except ForkedProcessError as error:
                    raised.append(error)

            thread = threading.Thread(target=attempt, daemon=True)
            thread.start()
            thread.join(BOUND)
            assert len(raised) == 1
    monkeypatch.undo()


def test_a_finalizer_inside_the_mailbox_can_tell_its_address(host, monkeypatch):
    """Even while another thread, on its way into the mailbox, waits for it."""
    address, seen = Address("slot"), []
    ref = host.spawn(seen=seen)
    address.occupy(ref)
    mailbox, waiting = ref.actor_inbox, threading.Event()
    original = mailbox._take

    def take(envelope):
        waiting.set()
        return original(envelope)

    monkeypatch.setattr(mailbox, "_take", take)
    sender = threading.Thread(target=address.tell, args=(host.Note("sender"),), daemon=True)

    def collect_garbage():
        with mailbox._lock:
            sender.start()
            assert waiting.wait(BOUND)
            address.tell(host.Note("finalizer"))

    collector = threading.Thread(target=collect_garbage, daemon=True)
    collector.start()
    collector.join(BOUND)
    assert not collector.is_alive()
    sender.join(BOUND)
    ref.ask(host.Note("end"), timeout=BOUND)
    assert seen == ["finalizer", "sender", "end"]


def test_a_tell_that_finds_its_incarnation_dead_goes_to_the_next(host):
    """It came between the look and the tell."""
    address, seen = Address("slot"), []
    address.occupy(host.spawn())

    class Late:
        """The first incarnation, seen by a sender that is slow."""

        def tell(self, message):
            address.occupy(host.spawn(seen=seen, generation=2))
            raise pykka.ActorDeadError

    address._ref = Late()
    address.tell(host.Note("late"))
    host.refs[-1].ask(host.Note("end"), timeout=BOUND)
    assert seen == ["late", "end"]


def test_no_message_is_lost_while_incarnations_come_and_go(host, often):
    """Senders go on while the slot is emptied and filled; each sender's messages arrive once, in order."""
    address, seen, each = Address("slot"), [], 400
    address.occupy(host.spawn(seen=seen))

    def send(sender):
        for number in range(each):
            address.tell(host.Note((sender, number)))

    senders = [threading.Thread(target=send, args=(sender,), daemon=True) for sender in range(3)]
    for sender in senders:
        sender.start()
    for generation in range(2, 12):
        host.refs[-1].stop(timeout=BOUND)
        down = host.parent.wait(generation - 1)[-1]
        address.occupy(host.spawn(seen=seen, generation=generation), down.salvaged)
    for sender in senders:
        sender.join(BOUND)
        assert not sender.is_alive()
    host.refs[-1].ask(host.Note("end"), timeout=BOUND)
    assert seen.pop() == "end"
    for sender in range(3):
        assert [number for who, number in seen if who == sender] == list(range(each))


@pytest.mark.parametrize("clean", [True, False])
def test_the_messages_of_a_dead_incarnation_come_before_those_that_were_sent_later(host, clean):
    """Whether it crashed or was stopped."""
    address, seen = Address("slot"), []
    ref = host.spawn()
    address.occupy(ref)
    gate = host.Gate(ref)
    if clean:
        address.tell(host.Note("queued"))
        stopping = ref.stop(block=False)
        gate.open()
        stopping.get(timeout=BOUND)
    else:
        address.tell(host.Boom(ValueError("x")))
        address.tell(host.Note("queued"))
        gate.open()
    down = host.parent.wait()[0]
    address.tell(host.Note("later"))
    second = host.spawn(seen=seen, generation=2)
    address.occupy(second, down.salvaged)
    second.ask(host.Note("end"), timeout=BOUND)
    assert seen == ["queued", "later", "end"]
