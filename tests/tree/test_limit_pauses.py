"""Whom the pause of a limit is kept for: who waits for more is not overtaken, unless it is gone or less urgent."""

from __future__ import annotations

from typing import Any

from attrs import evolve

from showcaller.actors.configuration import RuntimeConfig
from showcaller.actors.models import Usage
from showcaller.actors.route_config import RouteConfig
from showcaller.actors.transport import Sent
from tests.tree.stage import HANG, OK, Script, Stage, answer, backend, stage


def with_little_left(names: str = "a", *more: list[Any], **options: Any) -> Stage:
    """Of 10,000 tokens a minute a request has just taken 9,000 from each backend."""
    spent = evolve(answer(), usage=Usage(input_tokens=4000, output_tokens=5000))
    s = stage(
        {name: Script([Sent(), 0.1, spent], *more, OK) for name in names}, rate_limit_tpm=10_000, **options
    )
    for _ in names:
        s.submit("spends it", max_tokens=9000)
    s.advance(0.2)
    return s


def test_what_is_there_is_not_kept_for_who_has_left() -> None:
    """The one that waited for nearly everything is gone, and so is the reason to wait behind it."""
    s = with_little_left()
    big = s.submit("big", max_tokens=8000, timeout=100.0)
    s.advance(5.0)
    assert s.tree.roster.slots["a"].quota_until > s.clock.now() + 30.0
    big.cancel()
    s.settle()
    small = s.submit("small", max_tokens=10, timeout=5.0)
    s.advance(1.0)
    assert small.result(0).content == "hi"


def test_what_is_there_is_not_kept_for_who_has_gone_elsewhere() -> None:
    """It waited for both backends of its route, and the one without limits had a free seat first."""
    config = RuntimeConfig(
        backends=[backend("a", rate_limit_tpm=10_000), backend("b", max_parallel_requests=1)],
        routes=[RouteConfig(name="fast", routing_strategy="failover", targets=["a", "b"])],
    )
    s = Stage(config, {"a": Script(HANG), "b": Script([Sent(), 3.0, answer()], HANG)})
    s.submit("takes most of it", model="a", max_tokens=9000)
    s.submit("keeps b busy", model="b")
    s.settle()
    big = s.submit("big", model="fast", max_tokens=8000, timeout=100.0)
    s.advance(4.0)
    assert not big.done()
    assert len(s.transports["b"].attempts) == 2
    s.submit("small", model="fast", max_tokens=10, timeout=5.0)
    s.settle()
    assert len(s.transports["a"].attempts) == 2


def test_a_more_urgent_request_does_not_wait_behind_the_pause_of_another() -> None:
    """What is there is enough for it, and it leaves first."""
    s = with_little_left()
    big = s.submit("big", max_tokens=8000, timeout=100.0, priority="low")
    s.settle()
    urgent = s.submit("urgent", max_tokens=10, timeout=5.0, priority="critical")
    s.advance(1.0)
    assert urgent.result(0).content == "hi"
    same = s.submit("as urgent as big", max_tokens=10, timeout=100.0, priority="low")
    s.advance(1.0)
    assert not same.done()
    s.advance(60.0)
    assert big.result(0).content == same.result(0).content == "hi"
    s.at_rest()


def test_the_pause_of_a_more_urgent_request_is_not_made_longer_by_another() -> None:
    """It asks again when there is enough for it, and not when there is enough for all."""
    s = with_little_left()
    urgent = s.submit("urgent", max_tokens=2000, timeout=100.0, priority="high")
    big = s.submit("big", max_tokens=8000, timeout=100.0)
    s.advance(15.0)
    assert urgent.result(0).content == "hi"
    assert not big.done()
    s.advance(80.0)
    assert big.result(0).content == "hi"
    s.at_rest()


def test_of_those_that_are_refused_at_once_the_pause_is_kept_for_the_most_urgent() -> None:
    """Although the others need more, and were refused first; none of them asks again before it is over."""
    s = with_little_left()
    big = [s.submit(f"big {tokens}", max_tokens=tokens, timeout=200.0) for tokens in (3000, 8000, 7000)]
    urgent = s.submit("urgent", max_tokens=2500, timeout=100.0, priority="high")
    s.advance(15.0)
    assert urgent.result(0).content == "hi"
    assert not any(one.done() for one in big)
    s.advance(180.0)
    assert all(one.result(0).content == "hi" for one in big)
    s.at_rest()


def test_a_new_supervisor_asks_again() -> None:
    """Nobody knows any more whom the pause was kept for."""
    s = with_little_left()
    big = s.submit("big", max_tokens=8000, timeout=100.0)
    s.settle()
    s.crash("supervisor")
    s.advance(1.0)
    assert s.tree.roster.slots["a"].quota_until > s.clock.now() + 30.0
    big.cancel()
    s.settle()
    small = s.submit("small", max_tokens=10, timeout=5.0)
    s.advance(1.0)
    assert small.result(0).content == "hi"
