"""Identical requests in the tree: who shares one call, who never does, and what becomes of those who follow."""

from __future__ import annotations

from showcaller.actors.enums import Source
from showcaller.actors.errors import ContextWindowExceededError, ServerError
from showcaller.actors.transport import Failed, Sent
from tests.tree.stage import OK, Script, answer, failed, stage


def test_identical_deterministic_requests_share_one_call() -> None:
    """N callers, one upstream call, N outcomes; the followers say that they were coalesced."""
    script = Script(OK)
    s = stage({"a": script})
    same = [s.submit("same", temperature=0) for _ in range(5)]
    s.advance(1)
    assert len(script.attempts) == 1
    sources = [one.result(0).source for one in same]
    assert sources == [Source.LIVE] + [Source.COALESCED] * 4
    assert len({one.result(0).request_id for one in same}) == 5
    later = s.submit("same", temperature=0)
    s.advance(1)
    assert later.result(0).source is Source.LIVE
    s.at_rest()


def test_a_failed_leader_gives_each_follower_its_own_error_and_does_not_poison_the_key() -> None:
    """The error is copied; the next identical request flies itself."""
    script = Script([Sent(), 0.1, Failed(ContextWindowExceededError("too long", backend="a"))], OK)
    s = stage({"a": script})
    first, second = (s.submit("same", temperature=0) for _ in range(2))
    s.advance(1)
    assert first.exception(0) is not second.exception(0)
    assert isinstance(second.exception(0), ContextWindowExceededError)
    third = s.submit("same", temperature=0)
    s.advance(1)
    assert third.result(0).content == "hi"


def test_a_leader_that_gives_up_does_not_take_its_followers_along() -> None:
    """The upstream call goes on for as long as somebody waits for it."""
    script = Script([Sent(), 5.0, answer()])
    s = stage({"a": script})
    leader, follower = (s.submit("same", temperature=0) for _ in range(2))
    s.advance(1)
    assert leader.cancel()
    s.advance(5)
    assert follower.result(0).content == "hi"
    assert not script.attempts[0].cancel.cancelled
    s.at_rest()


def test_tenants_never_share_an_answer() -> None:
    """The tenant is part of the key."""
    from showcaller.actors.models import RequestContext

    script = Script(OK)
    s = stage({"a": script})
    for tenant in ("one", "two"):
        s.submit("same", temperature=0, context=RequestContext(tenant=tenant))
    s.advance(1)
    assert len(script.attempts) == 2


def test_a_request_that_may_not_be_repeated_shares_no_call_that_may() -> None:
    """Whether it may be sent again is part of what makes two requests identical."""
    script = Script(failed(ServerError, "a", maybe_executed=True), OK)
    s = stage({"a": script, "b": Script(OK)})
    s.submit("same", temperature=0)
    strict = s.submit("same", temperature=0, idempotent=False)
    s.advance(5)
    strict_id = strict.request_id
    assert sum(a.request_id == strict_id for t in s.transports.values() for a in t.attempts) == 1
