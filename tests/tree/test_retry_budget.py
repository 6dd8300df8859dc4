"""The retry budget in the tree: one for all, paid for what was tried again, and not lost with an actor."""

from __future__ import annotations

import pytest

from showcaller.actors.errors import (
    AllBackendsFailedError,
    AuthenticationError,
    BackendUnreachableError,
    RateLimitError,
    ServerError,
)
from showcaller.actors.transport import Failed, Sent
from tests.tree.stage import OK, Script, Stage, stage


def failing(error: Exception) -> Script:
    return Script([Sent(), Failed(error)])  # type: ignore[arg-type]


def level(s: Stage) -> float:
    return s.tree.roster.retry_budget.level(s.clock.now())


def test_without_a_budget_a_request_ends_with_its_own_error_and_why() -> None:
    """Three retries for three requests, and none for any that fails again."""
    scripts = {name: failing(ServerError(f"{name}: HTTP 503", backend=name)) for name in "abc"}
    s = stage(scripts, settings={"retry_budget": 0.0, "retry_burst": 3})
    pendings = [s.submit(f"prompt {number}") for number in range(3)]
    s.settle()
    assert sum(len(script.attempts) for script in scripts.values()) == 3 + 3
    for pending in pendings:
        error = pending.exception(0)
        assert "was not tried again: the retry budget of the runtime is used up" in str(error)
        assert "retry_burst" in str(error)
    s.at_rest()


def test_the_first_error_keeps_its_type_and_says_when_to_come_back() -> None:
    """Who is not tried again hears of the backend's own pause."""
    s = stage(
        {"a": failing(RateLimitError("a: busy", backend="a", retry_after=3.0))}, settings={"retry_burst": 0}
    )
    pending = s.submit()
    s.settle()
    error = pending.exception(0)
    assert isinstance(error, RateLimitError)
    assert (error.backend, error.retry_after) == ("a", 3.0)
    assert str(error) == error.message
    assert error.message.startswith("a: busy; request ")


def test_several_errors_are_still_told_each() -> None:
    """As for any request that has used up its retries."""
    scripts = {name: failing(ServerError(f"{name}: HTTP 503", backend=name)) for name in "abc"}
    s = stage(scripts, settings={"retry_budget": 0.0, "retry_burst": 1})
    pending = s.submit()
    s.settle()
    error = pending.exception(0)
    assert isinstance(error, AllBackendsFailedError)
    assert [one.backend for one in error.attempts] == ["a", "b"]
    assert "retry budget" in str(error)


def test_a_retry_in_vain_costs_nothing() -> None:
    """A backend that will not be free before the deadline is no other attempt."""
    s = stage({"a": failing(AuthenticationError("a: HTTP 401")), "b": Script(OK)})
    s.tree.roster.slots["b"].not_before = s.clock.now() + 1e6
    pending = s.submit()
    s.settle()
    assert "cooling down" in str(pending.exception(0))
    assert level(s) == 100.0


def test_what_was_never_sent_goes_elsewhere_for_nothing() -> None:
    """For the other backend it is the request's first call."""
    scripts = {"a": Script([Failed(BackendUnreachableError("a: refused", backend="a"))]), "b": Script(OK)}
    s = stage(scripts, settings={"retry_budget": 0.0, "retry_burst": 0})
    pendings = [s.submit(f"prompt {number}") for number in range(4)]
    s.advance(1.0)
    assert [pending.result(0).backend for pending in pendings] == ["b"] * 4
    s.at_rest()


def test_what_was_never_sent_is_paid_for_at_the_same_backend() -> None:
    """Nobody connects again and again for nothing."""
    script = Script([Failed(BackendUnreachableError("a: refused", backend="a"))], OK)
    s = stage({"a": script}, settings={"retry_burst": 0})
    pending = s.submit()
    s.advance(20.0)
    assert isinstance(pending.exception(0), BackendUnreachableError)
    assert len(script.attempts) == 1


@pytest.mark.parametrize("after", [False, True])
def test_a_death_of_our_own_costs_nothing(after: bool) -> None:
    """The request is given to the backend's next incarnation whatever the budget says."""
    s = stage({"a": Script(OK)}, settings={"retry_burst": 0})
    happened = s.sabotage("a", "on_execute", after=after)
    pending = s.submit()
    s.advance(5.0)
    assert happened
    assert pending.result(0).backend == "a"
    assert level(s) == 0.0


def test_the_budget_outlives_the_supervisor() -> None:
    """What was spent stays spent."""
    scripts = {"a": failing(ServerError("a: HTTP 503", backend="a")), "b": Script(OK)}
    s = stage(scripts, settings={"retry_budget": 0.0, "retry_burst": 10}, route={"allowed_fails": 100})
    for number in range(5):
        s.submit(f"prompt {number}")
    s.settle()
    assert level(s) == 5.0
    s.crash("supervisor")
    s.settle()
    assert level(s) == 5.0
    s.advance(1.0)
    assert level(s) == 6.0


def test_a_first_attempt_brings_a_tenth_once() -> None:
    """However often its request is tried, and not before it is sent."""
    scripts = {"a": failing(ServerError("a: HTTP 503", backend="a")), "b": Script(OK)}
    s = stage(scripts, settings={"retry_burst": 10}, route={"allowed_fails": 100})
    for _ in range(5):
        s.tree.roster.retry_budget.withdraw(s.clock.now())
    for number in range(5):
        s.submit(f"prompt {number}")
    s.settle()
    assert level(s) == pytest.approx(5 + 0.5 - 5)
