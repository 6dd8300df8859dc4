"""A stop that races with senders loses no reply: each ask is answered or refused."""

from __future__ import annotations

import threading

import pykka
import pytest

from showcaller.actors.kernel.errors import MailboxFullError

BOUND = 10.0
ROUNDS = 40
ASKERS = 3


def test_every_ask_that_races_with_a_stop_gets_its_reply(host, often):
    """Stock Pykka leaves some of them waiting for ever."""
    for number in range(ROUNDS):
        ref = host.spawn(slot=f"slot-{number}")
        futures = [[] for _ in range(ASKERS)]
        begun = threading.Barrier(ASKERS + 1)

        def ask(mine, ref=ref, begun=begun):
            begun.wait(BOUND)
            while ref.is_alive() and len(mine) < 500:
                mine.append(ref.ask(host.Note(len(mine)), block=False))
            mine.append(ref.ask(host.Note(len(mine)), block=False))

        askers = [threading.Thread(target=ask, args=(mine,), daemon=True) for mine in futures]
        for asker in askers:
            asker.start()
        begun.wait(BOUND)
        assert ref.stop(timeout=BOUND)
        for asker in askers:
            asker.join(BOUND)
            assert not asker.is_alive()
        for mine in futures:
            outcomes = [_outcome(future) for future in mine]
            answered = [outcome for outcome in outcomes if outcome is not None]
            assert answered == list(range(len(answered)))
            assert outcomes[len(answered) :] == [None] * (len(outcomes) - len(answered))
    assert len(host.parent.wait(ROUNDS)) == ROUNDS


def _outcome(future):
    try:
        return future.get(timeout=BOUND)
    except pykka.ActorDeadError:
        return None


def test_every_ask_that_races_with_a_crash_gets_its_reply(host, often):
    """And every tell is handled, in hand, salvaged or refused: none vanishes."""
    for number in range(ROUNDS):
        seen, sent, refused = [], [], []
        ref = host.spawn(slot=f"slot-{number}", seen=seen)

        def send(ref=ref, sent=sent, refused=refused):
            for n in range(300):
                try:
                    ref.tell(host.Note(n))
                except pykka.ActorDeadError:
                    refused.append(n)
                sent.append(n)

        sender = threading.Thread(target=send, daemon=True)
        sender.start()
        boom = ref.ask(host.Boom(ValueError("x")), block=False)
        future = ref.ask(host.Note("asked"), block=False)
        sender.join(BOUND)
        with pytest.raises(ValueError, match="x"):
            boom.get(timeout=BOUND)
        assert _outcome(future) is None
        down = host.parent.wait(number + 1)[number]
        assert seen + [note.text for note in down.salvaged] + refused == sent


def test_a_stop_does_not_wait_behind_the_backlog(host):
    """It is the next thing the actor does; what waits is salvaged."""
    seen = []
    ref = host.spawn(seen=seen)
    gate = host.Gate(ref)
    for number in range(1000):
        ref.tell(host.Note(number))
    stopping = ref.stop(block=False)
    gate.open()
    assert stopping.get(timeout=BOUND)
    assert seen == []
    assert len(host.only_down().salvaged) == 1000


def test_many_stops_at_once_are_all_answered(host, often):
    """Each says whether it found the actor alive; at least one did."""
    for number in range(20):
        ref = host.spawn(slot=f"slot-{number}")
        results = []
        stoppers = [
            threading.Thread(target=lambda r=ref, o=results: o.append(r.stop(timeout=BOUND)), daemon=True)
            for _ in range(4)
        ]
        for stopper in stoppers:
            stopper.start()
        for stopper in stoppers:
            stopper.join(BOUND)
        assert len(results) == 4
        assert True in results
    assert len(host.parent.wait(20)) == 20


def test_a_full_mailbox_answers_at_once_and_can_be_stopped(host):
    """No sender waits for room, not even the actor itself."""
    ref = host.spawn(capacity=1)
    gate = host.Gate(ref)
    ref.tell(host.Chatter("fits"))
    refused = ref.ask(host.Chatter("does not"), block=False)
    taken = ref.ask(host.Note("must be taken"), block=False)
    stopping = ref.stop(block=False)
    with pytest.raises(MailboxFullError):
        refused.get(timeout=BOUND)
    gate.open()
    assert stopping.get(timeout=BOUND)
    with pytest.raises(pykka.ActorDeadError):
        taken.get(timeout=BOUND)
    assert [note.text for note in host.only_down().salvaged] == ["fits"]
