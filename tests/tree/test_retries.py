"""What is tried again in the tree, how often and where, and what never is."""

from __future__ import annotations

import pytest

from showcaller.actors.errors import (
    AllBackendsFailedError,
    AuthenticationError,
    BackendRetiredError,
    ContextWindowExceededError,
    ServerError,
)
from showcaller.actors.transport import Failed, Sent
from tests.tree.stage import OK, Script, answer, down, failed, failing, stage


def test_num_retries_counts_for_the_whole_request() -> None:
    """Three attempts are made with num_retries = 2, whatever the number of backends."""
    scripts = {name: failing(down(name)) for name in "abcde"}
    s = stage(scripts)
    pending = s.submit()
    s.advance(60)
    error = pending.exception(0)
    assert isinstance(error, AllBackendsFailedError)
    assert [one.backend for one in error.attempts] == ["a", "b", "c"]
    assert sum(len(script.attempts) for script in scripts.values()) == 3
    s.at_rest()


def test_a_lone_backend_is_tried_again_after_a_backoff() -> None:
    """The same backend gets a second chance, later."""
    script = Script([Sent(), Failed(down())], OK)
    s = stage({"a": script})
    pending = s.submit()
    s.advance(5)
    assert pending.result(0).attempts == 2
    s.at_rest()


@pytest.mark.parametrize("error", [AuthenticationError, BackendRetiredError])
def test_an_error_that_only_another_backend_cures_is_not_repeated_here(error: type[ServerError]) -> None:
    """A refused credential or a retired endpoint is asked once."""
    scripts = {"a": failing(error("no", backend="a"))}
    s = stage(scripts)
    pending = s.submit()
    s.advance(30)
    assert isinstance(pending.exception(0), error)
    assert len(scripts["a"].attempts) == 1


def test_a_mistake_of_the_caller_is_not_tried_elsewhere() -> None:
    """A prompt that is too long fails with its own error, without a second attempt."""
    scripts = {"a": failing(ContextWindowExceededError("too long", backend="a")), "b": Script(OK)}
    s = stage(scripts)
    pending = s.submit()
    s.advance(1)
    assert isinstance(pending.exception(0), ContextWindowExceededError)
    assert not scripts["b"].attempts


def test_what_may_have_been_executed_is_not_repeated_unless_the_request_allows() -> None:
    """idempotent=False ends with the first failure after which it may have been carried out."""
    scripts = {"a": failing(down()), "b": Script(OK)}
    s = stage(scripts)
    strict = s.submit("one", idempotent=False)
    s.advance(1)
    assert isinstance(strict.exception(0), ServerError)
    assert not scripts["b"].attempts


def test_a_refused_credential_is_not_tried_again_because_the_other_backend_is_busy() -> None:
    """It waits for the backend that can help."""
    a = Script(failed(AuthenticationError, "a"))
    s = stage({"b": Script([Sent(), 3.0, answer()]), "a": a}, max_parallel_requests=1)
    s.submit("keeps b busy")
    s.advance(0.1)
    pending = s.submit("second")
    s.advance(10)
    assert len(a.attempts) == 1
    assert pending.result(0).backend == "b"


def test_a_failed_backend_is_not_asked_again_without_a_pause_because_the_other_is_busy() -> None:
    """An outage of a few milliseconds does not use up all retries."""
    a = Script(failed(ServerError, "a"))
    s = stage({"b": Script([Sent(), 3.0, answer()]), "a": a}, max_parallel_requests=1)
    s.submit("keeps b busy")
    s.advance(0.1)
    s.submit("second")
    s.advance(0.001)
    assert len(a.attempts) == 1
