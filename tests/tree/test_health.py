"""The health monitor in the tree: what it makes of attempts, and what the supervisor hears of it."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from attrs import evolve

from showcaller.actors.enums import BackendState
from showcaller.actors.errors import BackendTimeoutError, ContextWindowExceededError, ServerError
from showcaller.actors.kernel.reply import ReplyFuture
from showcaller.actors.messages import AddBackend, DrainBackend, HealthChanged, Observation, Observed
from showcaller.actors.transport import Failed, Sent
from showcaller.runtime.status import take_status
from tests.tree.stage import OK, Script, Stage, backend, stage

PERIOD = 300.0
_numbers = itertools.count(1)


def seen(name: str, *, error: str | None = None, blames: bool = True, at: float = 5.0) -> Observation:
    """A finished attempt."""
    return Observation(
        request_id=f"r-{next(_numbers)}",
        number=1,
        backend=name,
        slot="",
        at=at,
        latency=0.5,
        first_token=None,
        error=error,
        blames_backend=error is not None and blames,
        usage=None,
        payload=b"",
        content="",
        metadata={},
    )


def observe(s: Stage, *observations: Observation) -> Observed:
    """Tell the health monitor alone, and let it handle that."""
    slots = s.tree.roster.slots
    ids = {name: slot.id for name, slot in slots.items()}
    message = Observed(
        tuple(evolve(one, slot=one.slot or ids.get(one.backend, "gone")) for one in observations)
    )
    s.tree.address("health_monitor").tell(message)
    s.settle()
    return message


def listen(s: Stage) -> list[tuple[str, BackendState]]:
    """What the supervisor is told of health from now on, in order."""
    told: list[tuple[str, BackendState]] = []
    address = s.tree.address("supervisor")
    tell = address.tell

    def heard(message: Any) -> None:
        if isinstance(message, HealthChanged):
            told.append((message.backend, message.state))
        tell(message)

    address.tell = heard  # type: ignore[method-assign]
    return told


def remove(s: Stage, name: str) -> None:
    """Take a backend out."""
    reply = ReplyFuture()
    s.tree.address("supervisor").tell(DrainBackend(name, s.clock.now() + 1.0, True, reply))
    s.settle()
    assert reply.get(timeout=0) == 0


def add(s: Stage, name: str) -> None:
    """Put a backend in."""
    reply = ReplyFuture()
    s.tree.address("supervisor").tell(AddBackend(s.tree.make_slot(backend(name), Script(OK)), reply))
    s.settle()
    assert reply.get(timeout=0) is None


def states(s: Stage) -> dict[str, BackendState]:
    """What `runtime.status()` says."""
    return {one.name: one.health for one in take_status(s.tree, s.edge.account, None).backends}


def test_what_attempts_show_is_on_the_board_and_told_once() -> None:
    """Three answers make a backend HEALTHY, and a fourth changes nothing."""
    s = stage({"a": Script(OK)})
    told = listen(s)
    for _ in range(4):
        s.submit()
        s.advance(1)
    status = s.tree.health.get_status("a")
    assert (status.state, status.attempts, status.error_count) == (BackendState.HEALTHY, 4, 0)
    assert status.latency_p50 == status.latency_p99 == pytest.approx(0.1)
    assert status.last_check is not None
    assert status.last_check == pytest.approx(s.clock.wall(), abs=1.0)
    assert told == [("a", BackendState.HEALTHY)]
    assert s.tree.roster.slots["a"].health is BackendState.HEALTHY


def test_only_what_blames_the_backend_counts() -> None:
    """A caller's mistake is neither a success nor a failure."""
    mistake = Script([Sent(), Failed(ContextWindowExceededError("too long", backend="a"))])
    failure = Script([Sent(), Failed(ServerError("no", backend="b"))])
    s = stage({"a": mistake, "b": failure}, settings={"num_retries": 0}, max_retries=0)
    for name in ("a", "b"):
        for _ in range(3):
            s.submit(model=name)
            s.advance(1)
    assert s.tree.health.get_status("a").attempts == 0
    assert s.tree.health.get_status("a").last_check is None
    assert s.tree.health.get_status("b").error_count == 3
    assert states(s) == {"a": BackendState.UNKNOWN, "b": BackendState.UNHEALTHY}


def test_a_batch_is_judged_as_one_moment() -> None:
    """States that it only goes through are not told."""
    s = stage({"a": Script(OK)})
    told = listen(s)
    observe(s, *[seen("a", error="ServerError")] * 3, *[seen("a")] * 12)
    assert told == [("a", BackendState.HEALTHY)]


def test_a_window_that_empties_by_time_is_told_and_seen_at_once() -> None:
    """The status does not wait for the message, and the timer ends with the window."""
    s = stage({"a": Script(OK)})
    told = listen(s)
    observe(s, *[seen("a", error="ServerError")] * 3)
    s.advance(PERIOD - 0.5)
    assert states(s) == {"a": BackendState.UNHEALTHY}
    s.clock.time += 0.5
    assert states(s) == {"a": BackendState.UNKNOWN}
    assert told == [("a", BackendState.UNHEALTHY)]
    s.settle()
    assert told == [("a", BackendState.UNHEALTHY), ("a", BackendState.UNKNOWN)]
    assert s.tree.roster.slots["a"].health is BackendState.UNKNOWN
    assert s.clock.timers.next_at() is None


def test_one_backend_s_time_does_not_hide_another_s() -> None:
    """Each is told when its own attempts are too old."""
    s = stage({"a": Script(OK), "b": Script(OK)})
    told = listen(s)
    observe(s, *[seen("a")] * 3)
    s.advance(100)
    observe(s, *[seen("b", error="ServerError")] * 3)
    s.advance(250)
    assert told[2:] == [("a", BackendState.UNKNOWN)]
    s.advance(50)
    assert told[3:] == [("b", BackendState.UNKNOWN)]


def test_a_wall_clock_that_is_set_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Attempts grow old on the runtime's own clock; only the stamp is the wall's."""
    s = stage({"a": Script(OK)})
    monkeypatch.setattr(s.clock, "wall", lambda: 5.0)
    observe(s, *[seen("a", at=2e9)] * 3)
    s.advance(PERIOD - 1)
    assert s.tree.health.is_healthy("a")
    assert s.tree.health.get_status("a").last_check == 2e9


# --- backends come and go ---


def test_a_removed_backend_is_forgotten_and_one_added_again_is_unknown() -> None:
    """Neither on the board nor for the supervisor is it the one before; what is told of it begins anew."""
    s = stage({"a": Script(OK), "b": Script(OK)})
    told = listen(s)
    observe(s, *[seen("a", error="ServerError")] * 3)
    remove(s, "a")
    assert set(s.tree.health.get_all_status()) == {"b"}
    assert s.tree.health.get_status("a").state is BackendState.UNKNOWN
    observe(s, *[seen("a")] * 3)
    add(s, "a")
    assert states(s) == {"b": BackendState.UNKNOWN, "a": BackendState.UNKNOWN}
    assert s.tree.roster.slots["a"].health is BackendState.UNKNOWN
    observe(s, *[seen("a", error="ServerError")] * 3)
    assert told == [("a", BackendState.UNHEALTHY)] * 2


def test_one_added_again_before_anybody_looked_is_unknown_too() -> None:
    """It is the slot that is known, and not its name."""
    s = stage({"a": Script(OK), "b": Script(OK)})
    observe(s, *[seen("a")] * 3)
    remove(s, "a")
    add(s, "a")
    status = s.tree.health.get_status("a")
    assert (status.state, status.attempts, status.last_check) == (BackendState.UNKNOWN, 0, None)


def test_the_healthiest_is_sought_among_those_in_service() -> None:
    """Unless the caller says among which; a name that nothing has is UNKNOWN."""
    s = stage({"a": Script(OK), "b": Script(OK), "c": Script(OK)})
    health = s.tree.health
    assert health.get_healthiest() == "a"
    observe(s, *[seen("a", error="ServerError")] * 3, *[seen("c")] * 3)
    assert health.get_healthiest() == "c"
    s.tree.roster.slots["c"].retired = True
    assert health.get_healthiest() == "b"
    assert health.get_healthiest(name for name in ("a", "c")) == "c"
    assert health.get_healthiest(["a", "nobody"]) == "nobody"
    assert health.get_healthiest([]) is None


def test_a_retired_backend_says_so_whatever_its_attempts_say() -> None:
    """It answered well as long as it was there."""
    s = stage({"a": Script(OK)})
    observe(s, *[seen("a")] * 3)
    s.tree.roster.slots["a"].retired = True
    assert states(s) == {"a": BackendState.RETIRED}


# --- crashes ---


@pytest.mark.parametrize("after", [False, True])
def test_a_batch_that_kills_the_monitor_is_counted_once(after: bool) -> None:
    """Whether it had done its work or not; and so is the change told once."""
    s = stage({"a": Script(OK)})
    told = listen(s)
    happened = s.sabotage("health_monitor", "on_observed", after=after)
    observe(s, *[seen("a")] * 3)
    s.advance(5)
    assert happened
    assert s.tree.health.get_status("a").attempts == 3
    assert told == [("a", BackendState.HEALTHY)]


@pytest.mark.parametrize("after", [False, True])
def test_time_is_noticed_although_the_monitor_dies_of_it(after: bool) -> None:
    """The next incarnation takes the timer over."""
    s = stage({"a": Script(OK)})
    told = listen(s)
    observe(s, *[seen("a")] * 3)
    happened = s.sabotage("health_monitor", "on_reassess", after=after)
    s.advance(PERIOD + 5)
    assert happened
    assert told == [("a", BackendState.HEALTHY), ("a", BackendState.UNKNOWN)]
    assert s.clock.timers.next_at() is None


def test_a_monitor_that_was_dead_when_time_passed_tells_it_when_it_is_back() -> None:
    """What was told is remembered by the board."""
    s = stage({"a": Script(OK)})
    told = listen(s)
    observe(s, *[seen("a")] * 3)
    s.advance(PERIOD - 0.01)
    s.crash("health_monitor")
    s.settle()
    s.advance(5)
    assert s.tree.children["health_monitor"].generation == 2
    assert told == [("a", BackendState.HEALTHY), ("a", BackendState.UNKNOWN)]


def test_attempts_of_a_removed_backend_are_not_held_against_its_namesake() -> None:
    """What was observed of the slot before it comes late, and counts for nobody."""
    s = stage({"a": Script(OK)})
    late = [evolve(seen("a", error="ServerError"), slot=s.tree.roster.slots["a"].id) for _ in range(3)]
    remove(s, "a")
    add(s, "a")
    observe(s, *late)
    assert s.tree.health.get_status("a").attempts == 0
    observe(s, *[seen("a")] * 3)
    assert s.tree.health.get_status("a").state is BackendState.HEALTHY


def test_a_caller_s_own_deadline_says_nothing_about_the_backend() -> None:
    """Who is not given the whole of its timeout has not shown anything; who is given it has."""
    late = Failed(BackendTimeoutError("too slow", backend="a"))
    s = stage({"a": Script([Sent(), 2.0, late])}, max_retries=0, settings={"num_retries": 0})
    for _ in range(3):
        s.submit(timeout=1.0)
        s.advance(5.0)
    assert s.tree.health.get_status("a").attempts == 0
    for _ in range(3):
        s.submit(timeout=60.0)
        s.advance(5.0)
    assert s.tree.health.get_status("a").error_count == 3
