"""Probes in the tree: when a backend is probed, and what that shows."""

from __future__ import annotations

import pytest

from showcaller.actors.enums import BackendState, CircuitState
from showcaller.actors.errors import (
    AuthenticationError,
    BackendError,
    BackendTimeoutError,
    BackendUnreachableError,
    BillingError,
    MalformedResponseError,
    ModelNotFoundError,
    RateLimitError,
    ServerError,
)
from showcaller.actors.models import Answered
from showcaller.actors.transport import Failed, Sent
from tests.tree.probed import INTERVAL, LONGEST, Probed, watched
from tests.tree.stage import OK, Script, stage


def test_without_an_interval_nobody_is_probed() -> None:
    """That is the default."""
    script = Probed(OK)
    stage({"a": script}).advance(10 * INTERVAL)
    assert script.probes == []


def test_a_backend_of_which_nothing_is_heard_is_probed() -> None:
    """Three probes are enough to know it; they are in no latency, no quota, and nobody's answer."""
    script = Probed(OK)
    s = watched({"a": script})
    s.advance(3 * LONGEST)
    assert 3 <= len(script.probes) <= 4
    status = s.tree.health.get_status("a")
    assert (status.state, status.error_count, status.latency_p50) == (BackendState.HEALTHY, 0, None)
    assert s.edge.account.accepted == 0
    assert s.tree.quotas.outstanding == 0
    assert script.attempts == []
    s.at_rest()


def test_a_backend_that_is_heard_of_is_not_probed() -> None:
    """Real traffic says enough."""
    script = Probed(OK)
    s = watched({"a": script})
    for _ in range(30):
        s.submit()
        s.advance(10.0)
    assert script.probes == []
    s.advance(LONGEST)
    assert len(script.probes) == 1


def test_a_transport_that_cannot_be_probed_for_nothing_is_not() -> None:
    """A call that costs tokens is never made for that."""
    script = Script(OK)
    s = watched({"a": script})
    s.advance(5 * LONGEST)
    assert script.attempts == []
    assert s.tree.health.get_status("a").state is BackendState.UNKNOWN


def test_failing_probes_make_a_backend_unhealthy_before_a_request_has_to_find_out() -> None:
    """And what goes right again makes it well again."""
    script = Probed(OK)
    script.error = BackendUnreachableError("away", backend="a")
    s = watched({"a": script, "b": Probed(OK)})
    s.advance(3 * LONGEST)
    assert s.tree.roster.slots["a"].health is BackendState.UNHEALTHY
    pending = s.submit()
    s.advance(1.0)
    assert isinstance(pending.outcome, Answered)
    assert script.attempts == []
    script.error = None
    s.advance(300.0)
    assert s.tree.roster.slots["a"].health is BackendState.HEALTHY


@pytest.mark.parametrize(
    ("error", "speaks"),
    [
        (BackendUnreachableError, True),
        (BackendTimeoutError, True),
        (MalformedResponseError, True),
        (ServerError, True),
        (AuthenticationError, False),
        (BillingError, False),
        (ModelNotFoundError, False),
        (RateLimitError, False),
    ],
)
def test_what_does_not_work_speaks_against_a_backend_and_what_is_refused_does_not(
    error: type[BackendError], speaks: bool
) -> None:
    """Of three that fail it is known to be unhealthy, or nothing is known."""
    script = Probed(OK)
    script.error = error("no", backend="a")
    s = watched({"a": script})
    s.advance(3 * LONGEST)
    state = s.tree.health.get_status("a").state
    assert state is (BackendState.UNHEALTHY if speaks else BackendState.UNKNOWN)


def test_what_only_the_probe_is_refused_says_nothing() -> None:
    """An endpoint may show its models to nobody, or have no list of them."""
    script = Probed(OK)
    script.error = AuthenticationError("not for you", backend="a")
    s = watched({"a": script})
    s.advance(4 * LONGEST)
    assert len(script.probes) >= 4
    assert s.tree.health.get_status("a").attempts == 0


def test_a_probe_says_nothing_to_the_breaker() -> None:
    """Whether it is open or not, and however it ends."""
    script = Probed(OK)
    s = watched({"a": script})
    breaker = s.tree.roster.slots["a"].breaker
    for _ in range(5):
        breaker.record_failure(breaker.epoch, s.clock.now())
    breaker._open_until = s.clock.now() + 1e6
    s.advance(3 * LONGEST)
    assert len(script.probes) >= 3
    assert breaker.state(s.clock.now()) is CircuitState.OPEN
    assert s.tree.health.get_status("a").state is BackendState.HEALTHY
    script.error = BackendUnreachableError("away", backend="a")
    epoch = breaker.epoch
    s.advance(10 * LONGEST)
    assert breaker.epoch == epoch


def test_a_backend_that_has_asked_for_a_pause_is_not_probed_in_it() -> None:
    """It has said itself when it wants to hear of us."""
    script = Probed([Sent(), Failed(RateLimitError("slow down", backend="a", retry_after=1000.0))])
    s = watched({"a": script})
    s.submit()
    s.advance(990.0)
    assert script.probes == []
    s.advance(10.0 + LONGEST)
    assert len(script.probes) >= 1


def test_what_is_disabled_or_failed_is_not_probed() -> None:
    """There is nobody who would carry out an attempt."""
    disabled, failed = Probed(OK), Probed(OK)
    s = watched({"a": disabled}, enabled=False)
    s.advance(5 * LONGEST)
    assert disabled.probes == []
    s = watched({"a": failed})
    while s.tree.roster.slots["a"].out_of_service is None:
        s.crash("a")
        s.advance(0.1)
    s.advance(200.0)
    assert failed.probes == []


@pytest.mark.parametrize("actor", ["supervisor", "health_monitor"])
def test_probes_go_on_after_a_death(actor: str) -> None:
    """Of who wants them, and of who carries them out."""
    script = Probed(OK)
    s = watched({"a": script})
    s.advance(LONGEST)
    s.crash(actor)
    s.advance(3 * LONGEST)
    assert len(script.probes) >= 3


def test_probes_of_several_backends_are_spread() -> None:
    """Each has its own time, drawn from the seed."""
    scripts = {name: Probed(OK) for name in "abcd"}
    s = watched(dict(scripts))
    s.advance(LONGEST)
    times = {script.probes[0].deadline for script in scripts.values()}
    assert len(times) == 4
