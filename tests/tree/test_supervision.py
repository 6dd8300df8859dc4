"""Crashes of any actor at any moment: no request is lost, none is answered twice, and what died is restarted."""

from __future__ import annotations

import pytest

from showcaller.actors.errors import BackendCrashedError, ServerError
from showcaller.actors.kernel.child import ChildState
from showcaller.actors.messages import Escalated
from showcaller.actors.settings import QuotaConfig
from showcaller.actors.transport import Failed, Sent
from tests.tree.stage import HANG, OK, Script, answer, stage

ACTORS = ["recorder", "analytics", "health_monitor", "quota_manager", "supervisor", "deduplicator"]


@pytest.mark.parametrize("victim", [*ACTORS, "a"])
@pytest.mark.parametrize("moment", range(12))
def test_a_crash_at_any_moment_loses_no_request(victim: str, moment: int) -> None:
    """After any number of steps of the way, the death of any actor leaves every request its one outcome."""
    s = stage(
        {"a": Script([Sent(), 0.3, answer()]), "b": Script([Sent(), 0.3, answer()])}, strategy="round_robin"
    )
    outcomes: list[object] = []
    pendings = [s.submit(f"q{n}", temperature=0, timeout=60) for n in range(4)]
    pendings += [s.submit("q1", temperature=0, timeout=60)]
    for one in pendings:
        one.when_done(lambda: outcomes.append(1))
    for _ in range(moment):
        s.dispatcher.step()
    s.crash(victim)
    s.advance(30)
    assert [one.result(0).content for one in pendings] == ["hi"] * 5
    assert len(outcomes) == 5
    s.at_rest()
    child = s.tree.children.get(victim) or s.tree.roster.slots[victim].child
    assert child is not None
    assert (child.restarts, child.state) == (1, ChildState.RUNNING)


HANDLERS = [
    ("deduplicator", "on_coalesce"),
    ("deduplicator", "on_flight_done"),
    ("supervisor", "on_route"),
    ("supervisor", "on_granted"),
    ("supervisor", "on_attempt_finished"),
    ("supervisor", "on_retry_due"),
    ("supervisor", "on_flush"),
    ("supervisor", "on_sweep"),
    ("supervisor", "on_down"),
    ("supervisor", "on_restart_due"),
    ("quota_manager", "on_reserve"),
    ("quota_manager", "on_settle"),
    ("recorder", "on_observed"),
    ("a", "on_execute"),
]


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize(("victim", "handler"), HANDLERS)
def test_a_crash_in_any_handler_loses_no_request_and_spends_nothing_twice(
    victim: str, handler: str, after: bool
) -> None:
    """Whether the handler has done its work or not, every request gets its one outcome and the account is right."""
    a = Script([Sent(), 0.3, Failed(ServerError("a: HTTP 500", backend="a"))], [Sent(), 0.3, answer()])
    s = stage({"a": a, "b": Script([Sent(), 0.3, answer()])}, quota=QuotaConfig(requests_per_day=100))
    happened = s.sabotage(victim, handler, after=after)
    lone = s.submit("lone", model="a", timeout=60)
    pendings = [lone, *(s.submit(f"q{n}", temperature=0, timeout=60) for n in range(3))]
    s.advance(0.4)
    if handler in ("on_down", "on_restart_due"):
        s.crash("a")
    s.advance(40)
    assert happened
    assert [one.result(0).content for one in pendings] == ["hi"] * 4
    s.at_rest()
    attempts = sum(len(script.attempts) for script in s.transports.values())
    left = s.tree.quotas.remaining(s.clock.wall())["all backends"]["requests_per_day"]
    assert 100 - left <= attempts
    assert 100 - left >= 4
    for slot in s.tree.roster.slots.values():
        assert slot.child is not None
        assert slot.child.state is ChildState.RUNNING


@pytest.mark.parametrize(
    "victims", [["supervisor", "quota_manager"], ["supervisor", "a"], ["deduplicator", "supervisor"]]
)
@pytest.mark.parametrize("moment", [0, 3, 6, 9, 15])
def test_two_crashes_at_once_lose_no_request(victims: list[str], moment: int) -> None:
    """Neither does the death of two."""
    s = stage(
        {"a": Script([Sent(), 0.3, answer()]), "b": Script([Sent(), 0.3, answer()])}, strategy="round_robin"
    )
    pendings = [s.submit(f"q{n}", temperature=0, timeout=60) for n in range(4)]
    for _ in range(moment):
        s.dispatcher.step()
    for victim in victims:
        s.crash(victim)
    s.advance(30)
    assert [one.result(0).content for one in pendings] == ["hi"] * 4
    s.at_rest()


@pytest.mark.parametrize("victim", ["supervisor", "quota_manager", "deduplicator"])
def test_an_essential_actor_that_crashes_too_often_escalates(victim: str) -> None:
    """The runtime is told, so that it can fail what is open instead of letting it wait."""
    s = stage({"a": Script(OK)})
    for _ in range(6):
        s.crash(victim)
        s.advance(5)
    assert [type(message) for message in s.told] == [Escalated]
    assert s.told[0].slot == victim


@pytest.mark.parametrize("victim", ["recorder", "analytics", "health_monitor"])
def test_an_observer_that_crashes_too_often_slows_and_fails_nobody(victim: str) -> None:
    """Requests go on without it."""
    s = stage({"a": Script(OK)})
    for _ in range(6):
        s.crash(victim)
        s.advance(5)
    assert s.tree.children[victim].state is ChildState.FAILED
    pending = s.submit()
    s.advance(1)
    assert pending.result(0).content == "hi"
    assert not s.told


def test_the_message_that_kills_the_supervisor_does_not_kill_it_twice() -> None:
    """What was in hand is given to the next incarnation once at most, and a drill not at all."""
    s = stage({"a": Script(OK)})
    s.crash("supervisor")
    s.advance(5)
    assert s.tree.children["supervisor"].restarts == 1


@pytest.mark.parametrize("seed", range(6))
def test_a_backoff_that_ends_after_a_restart_does_not_start_a_second_attempt(seed: int) -> None:
    """The new supervisor tries at once; the old timer finds an attempt in flight and does nothing."""
    failed = [Sent(), Failed(ServerError("a: HTTP 500", backend="a"))]
    script = Script(failed, failed, HANG)
    s = stage({"a": script}, seed=seed)
    pending = s.submit(timeout=100)
    while len(script.attempts) < 2:
        s.advance(0.01)
    s.crash("supervisor")
    s.advance(10)
    assert len(script.attempts) == 3
    assert not pending.done()


def test_a_death_that_kills_the_supervisor_twice_is_made_good_by_the_third() -> None:
    """A Down that was dropped as poison is found out when the slots are taken over."""
    s = stage({"a": Script(OK)})
    supervisor = s.tree.children["supervisor"]
    assert s.sabotage("supervisor", "on_down", after=False) == []
    s.crash("a")
    while supervisor.generation < 2:
        if not s.dispatcher.step():
            s.clock.time = s.clock.timers.next_at() or s.clock.time
            timer = s.clock.timers.pop_due(s.clock.time)
            assert timer is not None
            timer.fire()
    again = s.sabotage("supervisor", "on_down", after=False)
    pending = s.submit()
    s.advance(10)
    assert again
    assert pending.result(0).content == "hi"
    child = s.tree.roster.slots["a"].child
    assert child is not None
    assert (child.restarts, supervisor.restarts) == (1, 2)


@pytest.mark.parametrize(("victim", "handler"), [("deduplicator", "on_coalesce"), ("supervisor", "on_route")])
def test_a_request_that_kills_an_actor_twice_is_given_up_alone(victim: str, handler: str) -> None:
    """It does not wait for its deadline, and the others are served."""
    s = stage({"a": Script(OK)})
    child = s.tree.children[victim]
    first = s.sabotage(victim, handler, after=False)
    poison = s.submit("poison", temperature=0, timeout=100)
    other = s.submit("other", temperature=0, timeout=100)
    while child.generation < 2:
        if not s.dispatcher.step():
            s.clock.time = s.clock.timers.next_at() or s.clock.time
            timer = s.clock.timers.pop_due(s.clock.time)
            assert timer is not None
            timer.fire()
    second = s.sabotage(victim, handler, after=False)
    s.advance(5)
    assert (first, second) == ([1], [1])
    error = poison.exception(0)
    assert isinstance(error, BackendCrashedError)
    assert victim in str(error)
    assert other.result(0).content == "hi"


def test_crashes_of_the_supervisor_leave_no_timers_behind() -> None:
    """However often it was restarted, one sweep a second is enough."""
    s = stage({"a": Script(HANG)}, max_parallel_requests=1)
    s.submit("first", timeout=1000)
    s.submit("second", timeout=1000)
    for _ in range(4):
        s.crash("supervisor")
        s.advance(5)
    sweeps = [
        entry[2].message
        for entry in s.clock.timers._heap
        if type(entry[2].message).__name__ in ("Sweep", "Wake")
    ]
    assert len(sweeps) == 1
