"""A slot under supervision: what follows a Down, and what of the dead incarnation the next one gets."""

from __future__ import annotations

import pytest

from showcaller.actors.kernel.child import Child, ChildState, RestartDue
from showcaller.actors.kernel.message import Down
from showcaller.actors.kernel.restart import GiveUp, Restart, RestartIntensity

BOUND = 10.0


class Slot:
    """A Child, and the supervisor's part of it."""

    def __init__(self, host, **intensity):
        self.host, self.seen, self.started, self.failing = host, [], [], False
        self.child = Child(
            host.system, "slot", self._start, host.parent, RestartIntensity(jitter=0.0, **intensity)
        )
        self.handled = 0

    def _start(self, generation):
        self.started.append(generation)
        raising = {"on_start": OSError("x")} if self.failing == "on_start" else {}
        dispatcher = _Refuses() if self.failing == "thread" else None
        return self.host.spawn(generation=generation, seen=self.seen, raising=raising, dispatcher=dispatcher)

    def pass_on(self, keep=lambda down: down.salvaged):
        """Pass the next Down or RestartDue to the child, as a supervisor does."""
        message = self.host.parent.wait(self.handled + 1)[self.handled]
        self.handled += 1
        if isinstance(message, Down):
            return self.child.on_down(message, keep)
        return self.child.on_restart_due(message)

    def crash(self):
        self.child.address.tell(self.host.Boom(ValueError("CANARY")))
        return self.pass_on()

    def flush(self):
        self.child.address.ref.ask(self.host.Note("end"), timeout=BOUND)
        return self.seen


class _Refuses:
    def attach(self, cell):
        raise RuntimeError("can't start new thread")


@pytest.fixture
def slot(host):
    slot = Slot(host)
    slot.child.start()
    return slot


def test_a_crash_is_followed_by_a_restart_after_the_backoff(host, slot):
    """With the salvaged messages first, then those that came meanwhile."""
    gate = host.Gate(slot.child.address.ref)
    slot.child.address.tell(host.Boom(ValueError("CANARY")))
    slot.child.address.tell(host.Note("salvaged"))
    gate.open()
    assert slot.pass_on() == Restart(0.2)
    assert slot.child.state is ChildState.RESTARTING
    assert slot.child.last_crash.startswith("ValueError in on_boom at conftest.py:")
    slot.child.address.tell(host.Note("meanwhile"))
    host.clock.advance(0.19)
    assert len(host.parent.told) == 1
    host.clock.advance(0.02)
    assert slot.pass_on() is True
    assert slot.child.state is ChildState.RUNNING
    assert (slot.child.generation, slot.child.restarts) == (2, 1)
    assert slot.flush() == ["salvaged", "meanwhile", "end"]


def test_by_default_nothing_of_the_dead_incarnation_is_carried_over(host, slot):
    """What it left may be what killed it."""
    gate = host.Gate(slot.child.address.ref)
    slot.child.address.tell(host.Boom(ValueError("x")))
    slot.child.address.tell(host.Note("poison"))
    gate.open()
    slot.child.on_down(host.parent.wait()[0])
    host.clock.advance(1.0)
    slot.handled = 1
    slot.pass_on()
    assert slot.flush() == ["end"]


def test_a_stop_from_outside_is_followed_by_a_restart(host, slot):
    """Nobody but the supervisor decides that a slot shall be empty."""
    slot.child.address.ref.stop(timeout=BOUND)
    assert slot.pass_on() == Restart(0.2)
    assert slot.child.last_crash == "stopped from outside"
    host.clock.advance(1.0)
    assert slot.pass_on() is True


def test_a_stale_down_is_ignored(host, slot):
    """Of an earlier generation, or told twice."""
    slot.crash()
    down = host.parent.told[0]
    assert slot.child.on_down(down) is None
    assert slot.child.state is ChildState.RESTARTING
    host.clock.advance(1.0)
    slot.pass_on()
    assert slot.child.on_down(down) is None
    assert slot.child.state is ChildState.RUNNING
    assert slot.started == [1, 2]


def test_a_stale_timer_starts_nothing(host, slot):
    """Of an earlier generation, told twice, or while it runs."""
    assert not slot.child.on_restart_due(RestartDue("slot", 1))
    slot.crash()
    host.clock.advance(1.0)
    slot.pass_on()
    assert not slot.child.on_restart_due(host.parent.told[1])
    assert slot.started == [1, 2]


def test_it_gives_up_after_too_many_restarts_and_tries_again_later(host):
    """MaxR restarts, then FAILED; after 300 s once more, with a fresh history."""
    slot = Slot(host, max_restarts=2)
    slot.child.start()
    for generation in (1, 2):
        assert isinstance(slot.crash(), Restart)
        host.clock.advance(1.0)
        assert slot.pass_on() is True
        assert slot.child.generation == generation + 1
    assert slot.crash() == GiveUp(300.0)
    assert slot.child.state is ChildState.FAILED
    slot.child.address.tell(host.Note("patient"))
    host.clock.advance(299.0)
    assert len(host.parent.told) == 5
    host.clock.advance(1.5)
    assert slot.pass_on() is True
    assert slot.child.state is ChildState.RUNNING
    assert slot.flush() == ["patient", "end"]
    assert isinstance(slot.crash(), Restart)


def test_a_wanted_stop_is_not_followed_by_a_restart(host, slot):
    """Its Down is expected, whether it stops or crashes meanwhile."""
    slot.child.stop()
    assert slot.child.state is ChildState.STOPPING
    assert slot.pass_on() is None
    assert slot.child.state is ChildState.STOPPED
    host.clock.advance(1000.0)
    assert slot.started == [1]


def test_a_farewell_is_told_instead_of_a_stop(host, slot):
    """To an actor that ends by itself; the crash of one that is leaving is no reason to restart it."""
    slot.child.stop(farewell=host.Boom(ValueError("x")))
    assert slot.child.state is ChildState.STOPPING
    assert slot.pass_on() is None
    assert slot.child.state is ChildState.STOPPED


def test_a_stop_during_the_backoff_holds(host, slot):
    """The timer that comes later starts nothing."""
    slot.crash()
    slot.child.stop()
    assert slot.child.state is ChildState.STOPPED
    host.clock.advance(1.0)
    assert slot.pass_on() is False
    assert slot.started == [1]


@pytest.mark.parametrize("failing", ["on_start", "thread"])
def test_what_was_salvaged_survives_an_incarnation_that_cannot_start(host, slot, failing):
    """It waits for the one that can."""
    gate = host.Gate(slot.child.address.ref)
    slot.child.address.tell(host.Boom(ValueError("x")))
    slot.child.address.tell(host.Note("salvaged"))
    gate.open()
    slot.pass_on()
    slot.failing = failing
    host.clock.advance(0.3)
    assert slot.pass_on() is True
    assert isinstance(slot.pass_on(), Restart)
    slot.failing = None
    host.clock.advance(1.0)
    assert slot.pass_on() is True
    assert slot.child.restarts == 2
    assert slot.flush() == ["salvaged", "end"]


def test_an_incarnation_that_never_ran_can_be_stopped(host):
    """Its Down comes late and changes nothing."""
    slot = Slot(host)
    slot.failing = "thread"
    slot.child.start()
    slot.child.stop()
    assert slot.child.state is ChildState.STOPPED
    assert slot.pass_on() is None
    assert slot.child.state is ChildState.STOPPED


def test_a_new_supervisor_adopts_what_runs(host, slot):
    """A living incarnation goes on, a stopped slot stays stopped."""
    slot.child.adopt()
    assert slot.flush() == ["end"]
    slot.child.stop()
    slot.pass_on()
    slot.child.adopt()
    host.clock.advance(1000.0)
    assert slot.started == [1]


def test_a_new_supervisor_restarts_what_died_unnoticed(host, slot):
    """The Down went to its predecessor; when it comes after all it is counted once."""
    slot.child.address.ref.stop(timeout=BOUND)
    slot.child.adopt()
    assert slot.child.state is ChildState.RESTARTING
    assert slot.pass_on() is None
    host.clock.advance(1.0)
    assert slot.pass_on() is True
    assert slot.started == [1, 2]


def test_a_new_supervisor_restarts_what_its_predecessor_was_about_to(host, slot):
    """At once; the old timer then finds nothing to do."""
    slot.crash()
    slot.child.adopt()
    host.clock.advance(0.0)
    assert slot.pass_on() is True
    host.clock.advance(1.0)
    assert slot.pass_on() is False
    assert slot.started == [1, 2]


def test_an_old_timer_does_not_shorten_a_later_backoff(host, slot):
    """It belongs to an earlier generation."""
    slot.crash()
    slot.child.adopt()
    host.clock.advance(0.0)
    slot.pass_on()
    assert slot.crash() == Restart(0.4)
    host.clock.advance(0.3)
    assert slot.pass_on() is False
    assert slot.started == [1, 2]
    host.clock.advance(0.2)
    assert slot.pass_on() is True
    assert slot.started == [1, 2, 3]


def test_a_new_supervisor_goes_on_waiting_for_what_failed(host):
    """A slot that was given up is tried after the same time."""
    slot = Slot(host, max_restarts=0)
    slot.child.start()
    assert isinstance(slot.crash(), GiveUp)
    slot.child.adopt()
    host.clock.advance(299.0)
    assert slot.started == [1]
    host.clock.advance(1.0)
    assert slot.pass_on() is True
    assert slot.started == [1, 2]


def test_a_new_supervisor_says_what_it_decided_of_a_death_nobody_took_note_of(host):
    """As for any other death, so that it can be reported."""
    slot = Slot(host, max_restarts=0)
    slot.child.start()
    assert slot.child.adopt() is None
    slot.child.address.ref.stop(timeout=BOUND)
    assert slot.child.adopt() == GiveUp(300.0)
    assert slot.child.adopt() is None


def test_a_new_supervisor_keeps_the_time_that_was_promised(host):
    """What failed 200 s ago is tried in 100 s, and not in 300."""
    slot = Slot(host, max_restarts=0)
    slot.child.start()
    slot.crash()
    host.clock.advance(200.0)
    slot.child.adopt()
    assert slot.child.next_start == pytest.approx(host.clock.now() + 100.0)


def test_when_it_is_started_again_is_known_while_it_waits_for_that(host, slot):
    """And at no other time."""
    assert slot.child.next_start is None
    slot.crash()
    assert slot.child.next_start == pytest.approx(host.clock.now() + 0.2)
    host.clock.advance(0.3)
    slot.pass_on()
    assert slot.child.next_start is None
    slot.crash()
    slot.child.stop()
    assert slot.child.next_start is None


def test_a_reset_starts_what_was_given_up_at_once(host):
    """With what it was told meanwhile; the timer that comes later starts nothing."""
    slot = Slot(host, max_restarts=0)
    slot.child.start()
    slot.crash()
    slot.child.address.tell(host.Note("patient"))
    assert slot.child.reset()
    assert (slot.child.state, slot.child.generation, slot.child.restarts) == (ChildState.RUNNING, 2, 1)
    assert slot.flush() == ["patient", "end"]
    host.clock.advance(301.0)
    assert slot.pass_on() is False
    assert slot.started == [1, 2]


def test_a_reset_ends_a_backoff(host, slot):
    """Nobody waits longer than he must."""
    slot.crash()
    assert slot.child.reset()
    assert slot.child.state is ChildState.RUNNING


def test_a_reset_forgets_the_crashes_of_what_runs(host):
    """As many restarts are allowed as from the beginning."""
    slot = Slot(host, max_restarts=2)
    slot.child.start()
    for _ in range(2):
        assert isinstance(slot.crash(), Restart)
        host.clock.advance(1.0)
        slot.pass_on()
    assert not slot.child.reset()
    assert slot.started == [1, 2, 3]
    assert slot.crash() == Restart(0.2)


def test_a_reset_does_not_start_what_was_stopped(host, slot):
    """That was wanted."""
    slot.child.stop()
    slot.pass_on()
    assert not slot.child.reset()
    assert slot.started == [1]
