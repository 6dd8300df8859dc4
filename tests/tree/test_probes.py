"""Probes in the tree: when a backend is probed, on which seat, and what that shows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

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
    RequestCancelledError,
    ServerError,
    ShowcallerError,
)
from showcaller.actors.kernel.reply import ReplyFuture
from showcaller.actors.messages import DrainBackend, WindDown
from showcaller.actors.models import Answered
from showcaller.actors.settings import HealthConfig
from showcaller.actors.transport import Attempt, Failed, Pause, Sent, TransportEvent
from tests.tree.stage import HANG, OK, HandWorkers, Script, Stage, stage

INTERVAL = 30.0
LONGEST = INTERVAL * 1.2


class Probed(Script):
    """A script that can be probed as well: that takes `seconds`, and fails of `error` if there is one."""

    def __init__(self, *plays: list[TransportEvent | float | Exception]) -> None:
        super().__init__(*plays)
        self.probes: list[Attempt] = []
        self.seconds = 0.1
        self.error: ShowcallerError | Exception | None = None
        self.ended = 0

    def probe(self, attempt: Attempt) -> Iterator[TransportEvent]:
        self.probes.append(attempt)
        try:
            yield Sent()
            yield Pause(self.seconds)
            if attempt.cancel.cancelled:
                yield Failed(RequestCancelledError("cancelled"))
            elif isinstance(self.error, ShowcallerError):
                yield Failed(self.error)
            elif self.error is not None:
                raise self.error
        finally:
            self.ended += 1


def watched(scripts: dict[str, Script], **options: Any) -> Stage:
    """A stage whose backends are probed."""
    return stage(scripts, health=HealthConfig(probe_interval=INTERVAL, probe_timeout=5.0), **options)


def first_probe(s: Stage, script: Probed) -> float:
    """Lets time pass until a probe is under way; when it began."""
    while not script.probes:
        s.advance(0.5)
    return script.probes[0].deadline - script.probes[0].timeout.total


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


def test_a_probe_that_finds_no_thread_is_let_be() -> None:
    """Nobody dies of it, and the next one is tried in its time."""
    script = Probed(OK)
    s = watched({"a": script})
    workers = s.tree.roster.slots["a"].workers
    assert isinstance(workers, HandWorkers)
    workers.closed = True
    s.advance(LONGEST)
    assert script.probes == []
    assert s.tree.children["supervisor"].restarts == 0
    workers.closed = False
    s.advance(LONGEST)
    assert len(script.probes) == 1


def test_a_stop_cancels_the_probes_that_are_under_way() -> None:
    """They hold up nobody."""
    script = Probed(OK)
    script.seconds = 4.0
    s = watched({"a": script})
    first_probe(s, script)
    assert s.tree.guardian is not None
    s.tree.guardian.tell(WindDown())
    s.settle()
    assert script.probes[0].cancel.cancelled


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


def test_a_probe_takes_a_seat_and_gives_it_back() -> None:
    """A request waits for it, and goes on when it is over."""
    script = Probed(OK)
    script.seconds = 4.0
    s = watched({"a": script}, max_parallel_requests=1)
    while not script.probes:
        s.advance(0.5)
    pending = s.submit()
    s.advance(1.0)
    assert script.attempts == []
    s.advance(4.0)
    assert isinstance(pending.outcome, Answered)


def test_a_backend_without_a_free_seat_is_not_probed() -> None:
    """It has better things to do."""
    script = Probed(HANG)
    s = watched({"a": script}, max_parallel_requests=1, timeout=1e5, settings={"timeout": 1e5})
    s.submit()
    s.advance(5 * LONGEST)
    assert script.probes == []


def test_a_probe_that_hangs_loses_its_seat_and_there_is_no_second() -> None:
    """It speaks against the backend once; requests go on, and the one that hangs is not joined by others."""
    script = Probed(OK)
    script.seconds = 1e6
    s = watched({"a": script}, max_parallel_requests=1)
    s.advance(10 * LONGEST)
    assert len(script.probes) == 1
    slot = s.tree.roster.slots["a"]
    assert isinstance(slot.workers, HandWorkers)
    assert slot.workers.abandoned == [slot.probe]
    assert s.tree.health.get_status("a").error_count <= 1
    pending = s.submit()
    s.advance(1.0)
    assert isinstance(pending.outcome, Answered)


def test_a_request_has_the_seat_of_a_probe_in_the_moment_in_which_that_ends() -> None:
    """It does not wait for a timer of somebody else's."""
    script = Probed(OK)
    script.seconds = 4.0
    s = watched({"a": script}, max_parallel_requests=1)
    began = first_probe(s, script)
    s.submit()
    s.advance(began + 3.999 - s.clock.now())
    assert script.attempts == []
    s.advance(0.002)
    assert len(script.attempts) == 1


@pytest.mark.parametrize(("total", "seconds"), [(3.0, 3.0), (60.0, 5.0)])
def test_a_probe_has_no_longer_than_an_attempt_and_two_seconds_more_to_come_back(
    total: float, seconds: float
) -> None:
    """Then its seat is another's."""
    script = Probed(OK)
    script.seconds = 1e6
    s = watched({"a": script}, max_parallel_requests=1, timeout=total)
    began = first_probe(s, script)
    assert script.probes[0].deadline == pytest.approx(began + seconds)
    assert script.probes[0].timeout.total == seconds
    s.submit()
    s.advance(began + seconds + 1.999 - s.clock.now())
    assert script.attempts == []
    s.advance(0.002)
    assert len(script.attempts) == 1


def test_a_probe_that_was_given_up_says_nothing_more_when_it_is_back() -> None:
    """It was counted once."""
    script = Probed(OK)
    script.seconds, script.error = 15.0, BackendUnreachableError("away", backend="a")
    s = watched({"a": script})
    began = first_probe(s, script)
    s.advance(began + 8.0 - s.clock.now())
    assert s.tree.health.get_status("a").error_count == 1
    s.advance(10.0)
    assert script.ended == 1
    assert s.tree.health.get_status("a").error_count == 1


def test_a_backend_that_has_asked_for_a_pause_is_not_probed_in_it() -> None:
    """It has said itself when it wants to hear of us."""
    script = Probed([Sent(), Failed(RateLimitError("slow down", backend="a", retry_after=1000.0))])
    s = watched({"a": script})
    s.submit()
    s.advance(990.0)
    assert script.probes == []
    s.advance(10.0 + LONGEST)
    assert len(script.probes) >= 1


class Unreachable(Probed):
    """One whose probe fails like a broken connection when it is cancelled."""

    def probe(self, attempt: Attempt) -> Iterator[TransportEvent]:
        self.probes.append(attempt)
        yield Pause(self.seconds)
        yield Failed(BackendUnreachableError("closed", backend="a"))


def test_what_a_cancelled_probe_shows_is_not_held_against_its_backend() -> None:
    """It was the drain that broke it off."""
    script = Unreachable(OK)
    script.seconds = 4.0
    s = watched({"a": script, "b": Probed(OK)})
    first_probe(s, script)
    s.tree.address("supervisor").tell(DrainBackend("a", s.clock.now() + 1.0, False, ReplyFuture()))
    s.advance(5.0)
    assert script.probes[0].cancel.cancelled
    assert s.tree.roster.slots["a"].probe is not None
    assert s.tree.roster.slots["a"].probe.done
    assert s.tree.health.get_status("a").attempts == 0


def test_a_transport_that_raises_in_a_probe_gives_its_seat_back() -> None:
    """It is a bug of the transport's, and says nothing about the endpoint."""
    script = Probed(OK)
    script.error = KeyError("bug")
    s = watched({"a": script}, max_parallel_requests=1)
    s.advance(3 * LONGEST)
    assert script.ended == len(script.probes) >= 3
    assert s.tree.health.get_status("a").attempts == 0
    pending = s.submit()
    s.advance(1.0)
    assert isinstance(pending.outcome, Answered)


def test_a_drain_cancels_the_probe_and_no_other_follows() -> None:
    """What shall get nothing new is not probed either."""
    script = Probed(OK)
    script.seconds = 4.0
    s = watched({"a": script, "b": Probed(OK)})
    while not script.probes:
        s.advance(0.5)
    reply = ReplyFuture()
    s.tree.address("supervisor").tell(DrainBackend("a", s.clock.now() + 1.0, False, reply))
    s.settle()
    assert reply.get(timeout=0) == 0
    assert script.probes[0].cancel.cancelled
    s.wake_cancelled()
    s.advance(10 * LONGEST)
    assert (len(script.probes), script.ended) == (1, 1)
    assert s.tree.health.get_status("a").attempts == 0


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
