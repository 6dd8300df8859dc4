"""The seat of a probe in the tree: taken and given back like any other, and nobody is held up by it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from showcaller.actors.errors import BackendUnreachableError
from showcaller.actors.kernel.reply import ReplyFuture
from showcaller.actors.messages import DrainBackend, WindDown
from showcaller.actors.models import Answered
from showcaller.actors.transport import Attempt, Failed, Pause, TransportEvent
from tests.tree.probed import LONGEST, Probed, first_probe, watched
from tests.tree.stage import HANG, OK, HandWorkers


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
