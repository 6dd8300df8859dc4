"""Slow start in the tree: who has come back gets little at first."""

from __future__ import annotations

from typing import Any

import pytest

from showcaller.actors.enums import BackendState
from showcaller.actors.kernel.reply import ReplyFuture
from showcaller.actors.messages import AddBackend
from tests.tree.stage import HANG, OK, Script, Stage, backend, stage
from tests.tree.test_ejection import judge, send


def pair(**route: Any) -> Stage:
    """Two equals."""
    return stage({"a": Script(OK), "b": Script(OK)}, strategy="weighted", route=route)


def test_at_the_start_all_are_equal() -> None:
    """Nobody has come back yet."""
    assert send(pair(), 10) == {"a": 5, "b": 5}


def test_after_a_restart_of_its_actor_a_backend_gets_a_tenth_and_then_more() -> None:
    """Its whole share when the time is over."""
    s = pair(slow_start=1000.0)
    s.crash("a")
    s.advance(1.0)
    assert send(s, 44) == {"a": 4, "b": 40}
    s.advance(455.0)
    assert send(s, 30) == {"a": 10, "b": 20}
    s.advance(500.0)
    assert send(s, 10) == {"a": 5, "b": 5}


def test_slow_start_can_be_off() -> None:
    """Everything at once."""
    s = pair(slow_start=0.0)
    s.crash("a")
    s.advance(1.0)
    assert send(s, 10) == {"a": 5, "b": 5}


def test_a_new_supervisor_knows_who_has_come_back() -> None:
    """It is the slot's to know."""
    s = pair(slow_start=1000.0)
    s.crash("a")
    s.advance(1.0)
    s.crash("supervisor")
    s.advance(1.0)
    assert send(s, 22) == {"a": 2, "b": 20}


def test_who_is_added_starts_slowly() -> None:
    """The model that it declares with others is shared by weight."""
    s = stage({"a": Script(OK)}, model="m")
    reply = ReplyFuture()
    config = backend("b", model="m")
    s.transports["b"] = Script(OK)
    s.tree.address("supervisor").tell(AddBackend(s.tree.make_slot(config, s.transports["b"]), reply))
    s.settle()
    assert reply.get(timeout=0) is None
    pending = [s.submit(model="m") for _ in range(11)]
    s.settle()
    assert len(s.transports["b"].attempts) == 1
    s.advance(1.0)
    assert all(one.outcome is not None for one in pending)


def test_who_is_well_again_starts_slowly_and_who_is_still_unhealthy_does_not() -> None:
    """From the moment on which it is let in again."""
    s = pair(slow_start=1000.0)
    slot = s.tree.roster.slots["a"]
    judge(s, "a", BackendState.UNHEALTHY, 0.2)
    judge(s, "a", BackendState.UNHEALTHY, 0.4)
    assert slot.warming_since is None
    judge(s, "a", BackendState.DEGRADED, 0.6)
    assert send(s, 44) == {"a": 4, "b": 40}


def test_who_was_let_in_by_its_breaker_does_not_start_again_when_it_is_well() -> None:
    """It has come back once."""
    s = pair(slow_start=1000.0)
    slot = s.tree.roster.slots["a"]
    for _ in range(5):
        slot.breaker.record_failure(slot.breaker.epoch, s.clock.now())
    judge(s, "a", BackendState.UNHEALTHY)
    s.advance(30.0)
    s.submit(model="a")
    s.advance(400.0)
    since = slot.warming_since
    assert since is not None
    judge(s, "a", BackendState.HEALTHY, 1.0)
    assert slot.warming_since == since


@pytest.mark.parametrize("strategy", ["round_robin", "least_connections"])
def test_a_breaker_that_closes_lets_its_backend_start_slowly(strategy: str) -> None:
    """Whatever the strategy is, if it knows weights."""
    s = stage({"a": Script(OK), "b": Script(OK)}, strategy=strategy, route={"slow_start": 1000.0})
    slot = s.tree.roster.slots["a"]
    for _ in range(5):
        slot.breaker.record_failure(slot.breaker.epoch, s.clock.now())
    s.advance(30.0)
    s.submit(model="a")
    s.advance(1.0)
    assert slot.warming_since is not None
    s.transports["a"].plays = s.transports["b"].plays = (HANG,)
    before = len(s.transports["a"].attempts)
    for _ in range(11):
        s.submit()
    s.settle()
    assert len(s.transports["a"].attempts) - before <= 1
