"""Unhealthy backends in the tree: who gets requests, and when those that were left out get them again."""

from __future__ import annotations

from showcaller.actors.enums import BackendState, CircuitState
from showcaller.actors.errors import RateLimitError, ServerError
from showcaller.actors.kernel.reply import ReplyFuture
from showcaller.actors.messages import DrainBackend, HealthChanged
from showcaller.actors.models import Answered
from showcaller.actors.transport import Failed, Sent
from tests.tree.stage import HANG, OK, Script, Stage, stage

PERIOD = 300.0


def judge(s: Stage, name: str, state: BackendState, rate: float = 0.0) -> None:
    """As the health monitor tells it."""
    slot = s.tree.roster.slots[name]
    s.tree.address("supervisor").tell(HealthChanged(slot.id, name, state, rate))
    s.settle()


def served(s: Stage) -> dict[str, int]:
    """Attempts by backend."""
    return {name: len(script.attempts) for name, script in s.transports.items()}


def send(s: Stage, count: int) -> dict[str, int]:
    """So many requests one after the other, and who got them."""
    before = served(s)
    for _ in range(count):
        pending = s.submit()
        s.advance(1.0)
        assert isinstance(pending.outcome, Answered)
    return {name: total - before[name] for name, total in served(s).items()}


def test_failover_passes_over_an_unhealthy_backend() -> None:
    """The first that is not unhealthy gets everything, and the first again when it is well."""
    s = stage({"a": Script(OK), "b": Script(OK), "c": Script(OK)})
    judge(s, "a", BackendState.UNHEALTHY)
    assert send(s, 3) == {"a": 0, "b": 3, "c": 0}
    judge(s, "a", BackendState.UNKNOWN)
    assert send(s, 3) == {"a": 3, "b": 0, "c": 0}


def test_degraded_is_not_unhealthy() -> None:
    """It gets its share."""
    s = stage({"a": Script(OK), "b": Script(OK)}, strategy="round_robin")
    judge(s, "a", BackendState.DEGRADED, 0.6)
    assert send(s, 4) == {"a": 2, "b": 2}


def test_at_most_half_are_left_out_and_these_are_the_worst() -> None:
    """Of four of which three are unhealthy two get requests."""
    s = stage({name: Script(OK) for name in "abcd"}, strategy="round_robin")
    for name, rate in (("a", 0.2), ("b", 0.4), ("c", 0.0)):
        judge(s, name, BackendState.UNHEALTHY, rate)
    assert send(s, 6) == {"a": 0, "b": 3, "c": 0, "d": 3}


def test_half_is_counted_among_those_in_service() -> None:
    """Of three that are left of four, two of them unhealthy, the worst alone is left out."""
    s = stage({name: Script(OK) for name in "abcd"}, strategy="round_robin")
    drained = ReplyFuture()
    s.tree.address("supervisor").tell(DrainBackend("d", s.clock.now(), False, drained))
    for name, rate in (("a", 0.0), ("b", 0.4)):
        judge(s, name, BackendState.UNHEALTHY, rate)
    assert send(s, 6) == {"a": 0, "b": 3, "c": 3, "d": 0}


def test_a_lone_backend_gets_its_requests_whatever_it_is() -> None:
    """There is no other."""
    s = stage({"a": Script(OK)})
    judge(s, "a", BackendState.UNHEALTHY)
    assert send(s, 2) == {"a": 2}


def test_who_is_left_out_takes_what_nobody_else_can() -> None:
    """The one that is well is full."""
    s = stage({"a": Script([Sent(), 5.0, OK[-1]]), "b": Script(OK)}, max_parallel_requests=1)
    judge(s, "b", BackendState.UNHEALTHY)
    first, second = s.submit("one"), s.submit("two")
    s.advance(1.0)
    assert served(s) == {"a": 1, "b": 1}
    assert isinstance(second.outcome, Answered)
    s.advance(10.0)
    assert isinstance(first.outcome, Answered)


def test_a_request_waits_for_a_backend_rather_than_go_to_an_unhealthy_one_at_once() -> None:
    """After a failure that may pass the same backend is tried again, with a pause."""
    fails = [Sent(), Failed(ServerError("no", backend="a"))]
    s = stage({"a": Script(fails, OK), "b": Script(OK)})
    judge(s, "b", BackendState.UNHEALTHY)
    pending = s.submit()
    s.advance(0.0)
    assert served(s) == {"a": 1, "b": 0}
    s.advance(10.0)
    assert isinstance(pending.outcome, Answered)
    assert served(s) == {"a": 2, "b": 0}


def test_who_is_left_out_gets_requests_again_when_its_failures_are_too_old() -> None:
    """Nothing is held against it longer than the period, although nothing is heard of it meanwhile."""
    fails = [Sent(), Failed(ServerError("no", backend="a"))]
    s = stage({"a": Script(fails, fails, fails, OK), "b": Script(OK)}, max_retries=0)
    for _ in range(3):
        s.submit()
        s.advance(1.0)
    assert s.tree.roster.slots["a"].health is BackendState.UNHEALTHY
    assert send(s, 3) == {"a": 0, "b": 3}
    s.advance(PERIOD)
    assert s.tree.roster.slots["a"].health is BackendState.UNKNOWN
    assert send(s, 3) == {"a": 3, "b": 0}


def test_a_change_of_a_removed_backend_is_none_of_its_namesake_s() -> None:
    """Slots are told apart by their ids."""
    s = stage({"a": Script(OK)})
    s.tree.address("supervisor").tell(HealthChanged("backend:a@77", "a", BackendState.UNHEALTHY, 0.0))
    s.settle()
    assert s.tree.roster.slots["a"].health is BackendState.UNKNOWN


def test_a_lone_backend_is_not_shut_out_by_a_rate_limit() -> None:
    """One 429 opens no breaker and is no failure of the backend's health: the next request is answered at once."""
    limited = [Sent(), Failed(RateLimitError("slow down", backend="a"))]
    s = stage({"a": Script(limited, OK)}, settings={"num_retries": 0}, route={"allowed_fails": 1})
    s.submit()
    s.advance(0.1)
    assert send(s, 1) == {"a": 1}
    assert s.tree.health.get_status("a").error_count == 0


FAILS = [Sent(), Failed(ServerError("no", backend="a"))]


def trip(s: Stage) -> None:
    """Let three requests fail at `a`, which opens its breaker and makes it unhealthy."""
    for _ in range(3):
        s.submit()
        s.advance(0.3)
    slot = s.tree.roster.slots["a"]
    assert slot.health is BackendState.UNHEALTHY
    assert slot.breaker.open_until is not None


def test_a_breaker_finds_out_about_a_backend_that_is_unhealthy() -> None:
    """Its one attempt is let through, and when that succeeds the backend is believed in, whatever was before."""
    s = stage({"a": Script(FAILS, FAILS, FAILS, OK), "b": Script(OK)}, route={"allowed_fails": 3})
    trip(s)
    s.advance(13.0)
    assert send(s, 4) == {"a": 4, "b": 0}
    assert s.tree.roster.slots["a"].health is BackendState.UNHEALTHY


def test_who_fails_again_after_that_is_left_out_again() -> None:
    """Although its breaker stays closed."""
    script = Script(FAILS, FAILS, FAILS, OK, FAILS, OK)
    s = stage({"a": script, "b": Script(OK)}, route={"allowed_fails": 3}, max_retries=0)
    trip(s)
    s.advance(13.0)
    assert send(s, 3) == {"a": 2, "b": 2}
    assert s.tree.roster.slots["a"].breaker.state(s.clock.now()) is CircuitState.CLOSED


def test_who_hangs_after_that_is_left_out_again() -> None:
    """A seat that does not come back says as much as a failure."""
    script = Script(FAILS, FAILS, FAILS, OK, HANG, OK)
    s = stage({"a": script, "b": Script(OK)}, route={"allowed_fails": 3}, max_retries=0, timeout=5.0)
    trip(s)
    s.advance(13.0)
    assert send(s, 1) == {"a": 1, "b": 0}
    s.submit()
    s.advance(10.0)
    assert s.tree.roster.slots["a"].abandoned
    assert send(s, 2) == {"a": 0, "b": 2}


def test_a_new_judgement_is_not_softened_by_what_was_before_it() -> None:
    """Its breaker had closed since the one before; it has not since this one."""
    s = stage({"a": Script(FAILS, FAILS, FAILS, OK), "b": Script(OK)}, route={"allowed_fails": 3})
    trip(s)
    s.advance(13.0)
    assert send(s, 1) == {"a": 1, "b": 0}
    judge(s, "a", BackendState.DEGRADED, 0.6)
    judge(s, "a", BackendState.UNHEALTHY)
    assert send(s, 2) == {"a": 0, "b": 2}
