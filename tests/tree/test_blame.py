"""What is held against a backend in the tree: its own failures, and not the hurry of its callers."""

from __future__ import annotations

from typing import Any

import pytest

from showcaller.actors.errors import BackendTimeoutError, DeadlineExceededError
from showcaller.actors.policies.backend_latency import FIRST_TOKENS
from showcaller.actors.transport import Attempt, Failed, Pause, Sent
from tests.tree.stage import OK, Script, down, failing, stage


@pytest.mark.parametrize(("allowed_fails", "opens_after"), [(5, 10), (16, 16)])
def test_a_backend_that_fails_every_other_time_is_left_alone(allowed_fails: int, opens_after: int) -> None:
    """Half of ten results are too many failures, or half of as many as may fail in a row."""
    plays = [OK, failing(down()).plays[0]] * 10
    s = stage({"a": Script(*plays), "b": Script(OK)}, route={"allowed_fails": allowed_fails})
    breaker = s.tree.roster.slots["a"].breaker
    for number in range(opens_after):
        assert breaker.open_until is None
        s.submit(f"prompt {number}")
        s.advance(0.5)
    assert breaker.open_until is not None
    s.at_rest()


def test_a_backend_that_keeps_failing_is_left_alone_until_a_probe_succeeds() -> None:
    """The breaker opens after allowed_fails and closes after one success."""
    bad = Script(*[[Sent(), Failed(down())]] * 3, OK)
    s = stage({"a": bad, "b": Script(OK)}, route={"allowed_fails": 3, "cooldown_time": 10.0})
    for n in range(6):
        s.submit(f"q{n}")
        s.advance(0.3)
    assert len(bad.attempts) == 3
    s.advance(13)
    s.submit("probe")
    s.advance(1)
    assert len(bad.attempts) == 4
    after = s.submit("after")
    s.advance(1)
    assert after.result(0).backend == "a"
    s.at_rest()


class Punctual(Script):
    """Hangs until the attempt's deadline, and keeps that itself."""

    def attempt(self, attempt: Attempt) -> Any:
        self.attempts.append(attempt)
        yield Sent()
        yield Pause(attempt.deadline - self.clock.now())  # type: ignore[attr-defined]
        yield Failed(BackendTimeoutError("too slow", backend="a", maybe_executed=True))


def test_callers_without_patience_do_not_open_the_breaker() -> None:
    """The deadline was the caller's; the backend had all its own time left."""
    script = Punctual()
    s = stage({"a": script})
    script.clock = s.clock  # type: ignore[attr-defined]
    errors = []
    for n in range(8):
        pending = s.submit(f"q{n}", timeout=0.05)
        s.advance(0.2)
        errors.append(type(pending.exception(0)))
    assert s.tree.roster.slots["a"].breaker.open_until is None
    assert set(errors) == {DeadlineExceededError}


def test_a_backend_is_not_taken_for_slower_than_its_caller_has_seen() -> None:
    """A caller without patience shows that it takes longer than that, and not that it fails."""
    late = Failed(BackendTimeoutError("total", backend="a", maybe_executed=True))
    s = stage({"a": Script(OK, [Sent(), 0.5, late])})
    s.submit("known")
    s.advance(1.0)
    s.submit("in a hurry", timeout=0.5)
    s.advance(1.0)
    latency = s.tree.roster.slots["a"].latency.of(stream=False, now=s.clock.now())
    assert latency is not None
    assert latency <= 0.5 / FIRST_TOKENS


def test_the_hurry_of_one_caller_is_not_held_against_a_backend_because_another_has_joined() -> None:
    """The attempt ended at the deadline of the one for whom it was begun; the other has time to try again."""
    late = Failed(BackendTimeoutError("total", backend="a", maybe_executed=True))
    s = stage({"a": Script([Sent(), 0.5, late], OK)}, route={"allowed_fails": 1})
    s.submit("the same", timeout=0.5, coalesce=True)
    s.advance(0.2)
    patient = s.submit("the same", timeout=30.0, coalesce=True)
    s.advance(5.0)
    assert s.tree.roster.slots["a"].breaker.open_until is None
    assert patient.result(0).content == "hi"
    assert not [seen for seen in s.tree.health.get_all_status().values() if seen.error_count]
    s.at_rest()
