"""Grants of the quota manager that come twice or late: nothing is sent again, and nothing to who must not be asked."""

from __future__ import annotations

from typing import Any

import pytest

from showcaller.actors.errors import BackendRetiredError, RateLimitError, ServerError
from showcaller.actors.settings import QuotaConfig
from showcaller.actors.transport import Chunk, Sent
from tests.tree.stage import OK, Script, answer, failed, stage


@pytest.mark.parametrize(
    ("victim", "handler"), [("quota_manager", "on_reserve"), ("supervisor", "on_granted")]
)
def test_a_grant_that_comes_twice_does_not_repeat_the_request(victim: str, handler: str) -> None:
    """The message in hand at a death is handled again, when its attempt is being carried out already."""
    script = Script([Sent(), 2.0, answer("once")])
    s = stage({"a": script}, quota=QuotaConfig(requests_per_day=100))
    happened = s.sabotage(victim, handler, after=True)
    pending = s.submit(idempotent=False)
    s.advance(5)
    assert happened
    assert len(script.attempts) == 1
    assert pending.result(0).content == "once"
    assert s.tree.quotas.remaining(s.clock.wall())["all backends"]["requests_per_day"] == 99
    s.at_rest()


def test_a_grant_that_comes_twice_does_not_begin_a_stream_anew() -> None:
    """A stream whose first chunk was read goes on from where it is."""
    script = Script(
        [Sent(), Chunk("he"), 2.0, Chunk("y"), answer("hey")], [Sent(), 3.0, Chunk("other"), answer()]
    )
    s = stage({"a": script})
    happened = s.sabotage("quota_manager", "on_reserve", after=True)
    pending = s.submit(stream=True)
    s.advance(6)
    assert happened
    chunks = []
    while (chunk := pending.ticket.take_chunk(0)) is not None:  # type: ignore[attr-defined]
        chunks.append(chunk.text)
    assert (chunks, len(script.attempts)) == (["he", "y"], 1)
    s.at_rest()


@pytest.mark.parametrize("change", ["retired", "open", "paused"])
def test_a_late_grant_is_not_used_at_a_backend_that_must_not_be_asked_any_more(change: str) -> None:
    """While the quota manager restarts, the backend retires, its breaker opens, or it asks for a pause."""
    error: dict[str, list[Any]] = {
        "retired": failed(BackendRetiredError, "a"),
        "open": failed(ServerError, "a"),
        "paused": failed(RateLimitError, "a", retry_after=30.0),
    }
    play = error[change]
    a = Script([play[0], 0.1, play[1]], OK)
    s = stage({"a": a, "b": Script(OK)}, route={"allowed_fails": 1, "cooldown_time": 30.0})
    first = s.submit("first", timeout=20)
    s.advance(0.05)
    s.crash("quota_manager")
    s.submit("second", timeout=20)
    s.advance(3)
    assert [attempt.request_id for attempt in a.attempts] == [first.request_id]
    s.at_rest()
