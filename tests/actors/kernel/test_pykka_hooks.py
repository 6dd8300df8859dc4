"""Canaries for the private hooks of Pykka on which the kernel stands: a failure names the hook."""

from __future__ import annotations

import inspect
import threading

import pykka
import pytest
from pykka._envelope import Envelope
from pykka.messages import _ActorStop


class Inbox(list):
    """The least that Pykka takes for an inbox."""

    put = list.append

    def get(self):
        return self.pop(0)

    def empty(self):
        return not self


class Bare(pykka.Actor):
    """Pykka's actor as the kernel uses it, without the kernel."""

    def __init__(self):
        self.inbox, self.calls = Inbox(), []
        super().__init__()

    def _create_actor_inbox(self):
        self.calls.append("_create_actor_inbox")
        return self.inbox

    @staticmethod
    def _create_future():
        return pykka.ThreadingFuture()

    def _start_actor_loop(self):
        raise AssertionError

    def on_start(self):
        self.calls.append("on_start")
        if "fail on_start" in self.calls:
            raise ValueError("x")

    def on_stop(self):
        self.calls.append("on_stop")
        if "fail on_stop" in self.calls:
            raise ValueError("x")

    def on_failure(self, exception_type, exception_value, traceback):
        self.calls.append("on_failure")

    def on_receive(self, message):
        self.calls.append(message)
        if message == "fail":
            raise ValueError("x")
        return message


class Stepped:
    """Stands in for the stopped event: true after so many looks."""

    def __init__(self, left):
        self.left = left

    def is_set(self):
        self.left -= 1
        return self.left < 0

    def set(self):
        self.left = 0


def test_hook_create_actor_inbox():
    """It is called on the instance, inside super().__init__()."""
    actor = Bare()
    assert actor.calls == ["_create_actor_inbox"], "Actor._create_actor_inbox is not called as a method once"
    assert actor.actor_inbox is actor.inbox, "Actor._create_actor_inbox does not give the actor its inbox"
    assert actor.actor_ref.actor_inbox is actor.inbox, "the inbox of _create_actor_inbox is not the ref's"


def test_hook_create_future():
    """It is static: the ref calls it on the class, in ask, before anything is put into the inbox."""
    actor = Bare()
    static = inspect.getattr_static(pykka.Actor, "_create_future")
    assert isinstance(static, staticmethod), "Actor._create_future is not static any more"
    future = actor.actor_ref.ask("x", block=False)
    assert isinstance(future, pykka.ThreadingFuture), "ActorRef.ask does not use Actor._create_future"
    assert actor.inbox[0].reply_to is future, "ActorRef.ask does not put what _create_future made"


def test_hook_start_actor_loop():
    """Only start() calls it, and it is what must be implemented; we never start."""
    assert "_start_actor_loop" in pykka.Actor.__abstractmethods__, "Actor._start_actor_loop is not abstract"
    with pytest.raises(AssertionError):
        Bare.start()
    pykka.ActorRegistry.unregister(pykka.ActorRegistry.get_all()[-1])


def test_hook_actor_loop_setup():
    """It runs on_start and nothing else; an Exception goes to _handle_failure."""
    actor = Bare()
    actor.inbox.put(Envelope("x"))
    actor._actor_loop_setup()
    assert actor.calls[1:] == ["on_start"], "Actor._actor_loop_setup does more than on_start"
    failing = Bare()
    failing.calls.append("fail on_start")
    handled = []
    failing._handle_failure = lambda *exc_info: handled.append(exc_info[0])
    failing._actor_loop_setup()
    assert handled == [ValueError], "Actor._actor_loop_setup does not call _handle_failure"


def test_hook_actor_loop_running():
    """It looks at self.actor_stopped before each message: replacing that steps the loop."""
    actor = Bare()
    for text in "abc":
        actor.inbox.put(Envelope(text))
    actor.actor_stopped = Stepped(2)
    actor._actor_loop_running()
    assert actor.calls[1:] == ["a", "b"], (
        "Actor._actor_loop_running cannot be stepped by actor_stopped.is_set()"
    )
    assert len(actor.inbox) == 1, "Actor._actor_loop_running takes more than it handles"


def test_hook_actor_loop_running_lets_the_inbox_raise():
    """inbox.get() stands outside of the loop's try."""
    actor = Bare()
    with pytest.raises(IndexError):
        actor._actor_loop_running()
    assert "on_failure" not in actor.calls, "Actor._actor_loop_running catches what inbox.get() raises"


def test_hook_handle_receive():
    """Each message goes through it; what it returns or raises is the reply of an ask."""
    actor = Bare()
    actor._handle_receive = lambda message: message * 2
    future = pykka.ThreadingFuture()
    actor.inbox.put(Envelope("x", future))
    actor.actor_stopped = Stepped(1)
    actor._actor_loop_running()
    assert future.get(timeout=0) == "xx", "Actor._handle_receive does not make the reply"

    def fail(message):
        raise ValueError("x")

    actor._handle_receive = fail
    failed = pykka.ThreadingFuture()
    actor.inbox.put(Envelope("x", failed))
    actor.actor_stopped = Stepped(1)
    actor._actor_loop_running()
    with pytest.raises(ValueError, match="x"):
        failed.get(timeout=0)


def test_hook_handle_failure():
    """A raising tell goes to _handle_failure and then to on_failure, with the exception."""
    actor = Bare()
    actor._handle_failure = lambda *exc_info: actor.calls.append(exc_info[0])
    actor.inbox.put(Envelope("fail"))
    actor.actor_stopped = Stepped(1)
    actor._actor_loop_running()
    assert actor.calls[1:] == ["fail", ValueError, "on_failure"], "Actor._handle_failure is not called first"


def test_hook_stop():
    """It sets self.actor_stopped, then runs on_stop; an Exception there goes to _handle_failure."""
    actor = Bare()
    handled = []
    actor._handle_failure = lambda *exc_info: handled.append(exc_info[0])
    actor.calls.append("fail on_stop")
    actor._stop()
    assert actor.actor_stopped.is_set(), "Actor._stop does not set actor_stopped"
    assert actor.calls[-1] == "on_stop", "Actor._stop does not call on_stop"
    assert handled == [ValueError], "Actor._stop does not call _handle_failure"


def test_hook_actor_ref():
    """actor_ref reads _actor_ref, and a ref made anew takes urn, inbox and stopped event from the actor."""
    actor = Bare()
    actor.actor_urn, actor.actor_stopped = "our name", threading.Event()
    actor._actor_ref = ref = pykka.ActorRef(actor)
    assert actor.actor_ref is ref, "Actor.actor_ref does not return _actor_ref"
    assert ref.actor_urn == "our name", "ActorRef does not take actor_urn from the actor"
    assert ref.actor_stopped is actor.actor_stopped, "ActorRef does not take actor_stopped from the actor"
    assert "our name" in str(ref), "ActorRef does not show actor_urn"
    actor.actor_stopped.set()
    assert not ref.is_alive(), "ActorRef.is_alive() does not look at actor_stopped"


def test_hook_actor_stop():
    """ActorRef.stop asks _ActorStop; its answer is made by a future of the same class, without arguments."""
    actor = Bare()
    stopping = actor.actor_ref.stop(block=False)
    envelope = actor.inbox[0]
    assert isinstance(envelope.message, _ActorStop), "ActorRef.stop does not send messages._ActorStop"
    envelope.reply_to.set(None)
    assert type(stopping) is type(envelope.reply_to), (
        "ActorRef.stop does not derive its future from the ask's"
    )
    assert stopping.get(timeout=0) is True, "ActorRef.stop does not take any reply for a stop"
    actor.stop()
    assert isinstance(actor.inbox[1].message, _ActorStop), "Actor.stop does not tell messages._ActorStop"
    assert actor.inbox[1].reply_to is None, "Actor.stop waits for a reply"


def test_hook_envelope():
    """Two fields, message and reply_to; None for a tell."""
    future = pykka.ThreadingFuture()
    told, asked = Envelope("x"), Envelope("y", reply_to=future)
    assert (told.message, told.reply_to) == ("x", None), "Envelope.message or .reply_to has changed"
    assert (asked.message, asked.reply_to) == ("y", future), "Envelope.message or .reply_to has changed"


def test_hook_get_hook():
    """A derived future has _get_hook, and Future.get calls it; ours hands over to it."""
    future = pykka.Future()
    assert future._get_hook is None, "Future._get_hook is not None at first"
    future.set_get_hook(lambda timeout: timeout)
    assert future._get_hook is not None, "Future.set_get_hook does not set _get_hook"
    assert future.get(timeout=7) == 7, "Future.get does not call _get_hook"


def test_hook_logger(caplog):
    """Pykka logs its actors by name, formatted into the message, on the logger `pykka`."""
    caplog.set_level("DEBUG", logger="pykka")
    actor = Bare()
    actor._stop()
    (record, *_) = caplog.records
    assert record.name == "pykka", "Pykka's logger is not named pykka"
    assert actor.actor_urn in str(record.msg), "Pykka does not format the actor's name into the message"
