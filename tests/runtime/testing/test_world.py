"""The simulated machine: any order that threads could make, virtual time, and nothing that hangs."""

from __future__ import annotations

import random
import threading
import time

import pytest
from attrs import frozen
from hypothesis import find, given
from hypothesis import strategies as st
from hypothesis.errors import StopTest

from showcaller.actors.kernel.actor import KernelActor
from showcaller.actors.kernel.context import paced_by
from showcaller.actors.kernel.errors import BlockingCallError
from showcaller.actors.kernel.message import Down, Message
from showcaller.actors.kernel.reply import ReplyFuture
from showcaller.runtime.testing.errors import DeadlockError, SimulationError
from showcaller.runtime.testing.saboteur import Saboteur
from showcaller.runtime.testing.schedule import DrawnSchedule, SeededSchedule
from showcaller.runtime.testing.world import World


@frozen
class Say(Message):
    text: str


@frozen
class Pass(Message):
    """Tell these to those, in this order."""

    on: tuple


@frozen
class Question(Message):
    to: object


@frozen
class Raise(Message):
    error: BaseException


class Actor(KernelActor):
    def __init__(self, heard):
        super().__init__()
        self.heard = heard

    def on_say(self, message):
        self.heard.append(message.text)

    def on_pass(self, message):
        for ref, told in message.on:
            ref.tell(told)

    def on_question(self, message):
        return message.to.ask(Say("question"))

    def on_raise(self, message):
        raise message.error


class Parent:
    def __init__(self):
        self.told = []

    def tell(self, message):
        self.told.append(message)


class Machine:
    """A world with a parent for its actors."""

    def __init__(self, schedule=None, seed=0):
        self.world = World(schedule or SeededSchedule(random.Random(seed)), random.Random(seed), Saboteur())
        self.parent = Parent()
        self.heard = []

    def spawn(self, slot):
        return self.world.system.spawn(Actor, self.heard, slot=slot, parent=self.parent)

    def run(self):
        self.world.run_until(self.world.clock.time)


def orders(act, seeds=range(60)):
    """Every order of what is heard that some seed makes."""
    seen = set()
    for seed in seeds:
        machine = Machine(seed=seed)
        act(machine)
        machine.run()
        seen.add(tuple(machine.heard))
    return seen


def test_messages_of_different_senders_come_in_any_order():
    """As on threads, where nothing decides but the scheduler."""

    def act(machine):
        receiver, one, other = (machine.spawn(name) for name in ("receiver", "one", "other"))
        one.tell(Pass(((receiver, Say("one")),)))
        other.tell(Pass(((receiver, Say("other")),)))

    assert orders(act) == {("one", "other"), ("other", "one")}


def test_messages_of_one_sender_never_overtake_each_other():
    """Whoever else speaks in between."""

    def act(machine):
        receiver, one, other = (machine.spawn(name) for name in ("receiver", "one", "other"))
        one.tell(Pass(tuple((receiver, Say(text)) for text in "abc")))
        other.tell(Pass(((receiver, Say("x")),)))

    seen = orders(act)
    assert {tuple(text for text in heard if text != "x") for heard in seen} == {("a", "b", "c")}
    # Also between two messages of one handler: that is where a thread may be held up.
    assert {heard.index("x") for heard in seen} == {0, 1, 2, 3}


def test_nothing_overtakes_its_own_cause():
    """Who speaks because it heard of a message cannot be heard before it."""

    def act(machine):
        receiver, one, other = (machine.spawn(name) for name in ("receiver", "one", "other"))
        answer = Pass(((receiver, Say("consequence")),))
        one.tell(Pass(((receiver, Say("cause")), (other, answer))))

    assert orders(act) == {("cause", "consequence")}


def test_time_stands_still_until_there_is_nothing_else_to_do():
    """Then it jumps to the next timer; timers of different times come in their order."""
    machine = Machine()
    receiver = machine.spawn("receiver")
    start = machine.world.clock.now()
    began = time.monotonic()
    machine.world.clock.call_later(7200.0, receiver, Say("late"))
    machine.world.clock.call_later(3600.0, receiver, Say("early"))
    machine.run()
    assert machine.heard == []
    machine.world.run_until(start + 3600.0)
    assert machine.heard == ["early"]
    machine.world.run_until(start + 10_000.0)
    assert machine.heard == ["early", "late"]
    assert machine.world.clock.now() == start + 10_000.0
    assert time.monotonic() - began < 3600.0


def test_an_actor_that_waits_is_an_error_that_names_the_cycle():
    """Not a hang, and not a mere crash of the actor."""
    machine = Machine()
    one = machine.spawn("one")
    with paced_by(machine.world), pytest.raises(DeadlockError, match=r"one#1 -> showcaller:one#1"):
        one.ask(Question(one))
    two, three = machine.spawn("two"), machine.spawn("three")
    with paced_by(machine.world), pytest.raises(DeadlockError, match=r"two#1 -> showcaller:three#1 -> ") as e:
        two.ask(Question(three))
    assert isinstance(e.value.__cause__, BlockingCallError)


def test_a_caller_that_waits_lets_time_pass():
    """An ask from outside gets its reply; a wait with a bound ends at the bound, in virtual time."""
    machine = Machine()
    ref = machine.spawn("one")
    with paced_by(machine.world):
        assert ref.ask(Say("hello")) is None
        before = machine.world.clock.now()
        with pytest.raises(Exception, match="30"):
            ReplyFuture().get(timeout=30.0)
        assert machine.world.clock.now() == before + 30.0


def test_a_wait_for_what_can_never_come_is_an_error():
    """Nobody is left who could bring it."""
    machine = Machine()
    with paced_by(machine.world), pytest.raises(SimulationError, match="nothing can happen"):
        ReplyFuture().get()


@pytest.mark.parametrize(
    "error", [KeyboardInterrupt(), pytest.fail.Exception("failed"), pytest.skip.Exception("no"), StopTest(1)]
)
def test_what_steers_tests_and_programs_passes_through_untouched(error):
    """It is not the actor's, and nobody logs it as its death."""
    machine = Machine()
    machine.spawn("one").tell(Raise(error))
    with pytest.raises(type(error)) as caught:
        machine.run()
    assert caught.value is error


def test_an_exception_is_the_death_of_its_actor_alone():
    """The parent gets its Down, the others go on."""
    machine = Machine()
    one, other = machine.spawn("one"), machine.spawn("other")
    one.tell(Raise(ValueError("no")))
    other.tell(Say("alive"))
    machine.run()
    (down,) = machine.parent.told
    assert isinstance(down, Down)
    assert (down.slot, type(down.crash.error)) == ("one", ValueError)
    assert machine.heard == ["alive"]


def test_no_thread_is_started():
    """Neither for actors, nor for jobs, nor for timers."""
    before = threading.active_count()
    machine = Machine()

    class Job:
        steps = 0

        def step(self):
            self.steps += 1
            return 5.0 if self.steps < 3 else None

    job = Job()
    machine.spawn("one").tell(Say("hello"))
    machine.world.system.workers("pool", 1).run(job)
    machine.world.run_until(machine.world.clock.now() + 60.0)
    assert job.steps == 3
    assert threading.active_count() == before


def test_jobs_beyond_the_limit_wait_for_a_place():
    """And one that is abandoned gives its place away."""
    machine = Machine()
    running = []

    class Job:
        def __init__(self, name, seconds):
            self.name, self.seconds = name, seconds

        def step(self):
            if self.name not in running:
                running.append(self.name)
                return self.seconds
            return None

    workers = machine.world.system.workers("pool", 1)
    hanging = Job("hanging", 1e9)
    workers.run(hanging)
    workers.run(Job("next", 1.0))
    machine.run()
    assert running == ["hanging"]
    workers.abandon(hanging)
    machine.run()
    assert running == ["hanging", "next"]
    workers.close()
    with paced_by(machine.world):
        assert workers.join(10.0) == 1
    with pytest.raises(RuntimeError, match="pool"):
        workers.run(Job("late", 1.0))


def test_the_same_seed_gives_the_same_trace_and_another_seed_another():
    """The trace is all that happened, in order."""

    def digest(seed):
        machine = Machine(seed=seed)
        receiver = machine.spawn("receiver")
        for number in range(8):
            machine.spawn(f"sender {number}").tell(Pass(((receiver, Say(str(number))),)))
        machine.run()
        return machine.world.trace.digest

    assert digest(1) == digest(1)
    assert len({digest(seed) for seed in range(20)}) == 20


def test_hypothesis_can_choose_the_order_and_shrinks_it():
    """What is left of a schedule that is wrong is the plain one with few exceptions."""

    class Recorded:
        def __init__(self, data):
            self.schedule = DrawnSchedule(data)
            self.chosen = []

        def choose(self, candidates):
            self.chosen.append(self.schedule.choose(candidates))
            return self.chosen[-1]

    @st.composite
    def runs(draw):
        schedule = Recorded(draw(st.data()))
        machine = Machine(schedule)
        receiver = machine.spawn("receiver")
        for name in ("first", "second", "third"):
            machine.spawn(name).tell(Pass(((receiver, Say(name)),)))
        machine.run()
        return machine.heard, schedule.chosen

    heard, chosen = find(
        runs(), lambda run: run[0].index("third") < run[0].index("first"), random=random.Random(0)
    )
    assert heard.index("third") < heard.index("first")
    assert sum(1 for choice in chosen if choice) <= 6


@given(st.data())
def test_a_drawn_schedule_ends_with_the_first_candidate(data):
    """After its last choice, so that a long run does not use up what Hypothesis may draw."""
    schedule = DrawnSchedule(data, limit=2)
    for _ in range(2):
        assert 0 <= schedule.choose(3) < 3
    assert [schedule.choose(3) for _ in range(5)] == [0] * 5
