"""Adding, draining and removing backends while requests run."""

from __future__ import annotations

import pytest

from showcaller.actors.attempt import AttemptState
from showcaller.actors.configuration import RuntimeConfig
from showcaller.actors.enums import Capability
from showcaller.actors.errors import (
    AllBackendsFailedError,
    BackendDrainedError,
    BackendRetiredError,
    ConfigurationError,
    ContextWindowExceededError,
    ModelNotFoundError,
    RateLimitError,
    UnknownModelError,
)
from showcaller.actors.kernel.reply import ReplyFuture
from showcaller.actors.messages import AddBackend, ResetBackend
from showcaller.actors.needs import Needs
from showcaller.actors.route_config import RouteConfig
from showcaller.actors.routing import RoutingTable
from showcaller.actors.settings import RuntimeSettings
from showcaller.actors.suitability import lanes_for
from showcaller.actors.transport import Chunk, Failed, Sent
from tests.tree.stage import HANG, OK, Script, Stage, answer, backend, drain, stage


def add(s: Stage, name: str, script: Script) -> object:
    """Add a backend; the supervisor's reply."""
    reply = ReplyFuture()
    slot = s.tree.make_slot(backend(name), script)
    s.tree.address("supervisor").tell(AddBackend(slot, reply))
    s.settle()
    return reply.get(timeout=0)


def test_an_added_backend_is_reached_by_its_name() -> None:
    """The directory grows with it."""
    s = stage({"a": Script(OK)})
    assert add(s, "z", Script(OK)) is None
    pending = s.submit(model="z")
    s.advance(1)
    assert pending.result(0).backend == "z"
    s.at_rest()


def test_a_name_that_is_taken_is_refused() -> None:
    """Neither a backend nor a route may be named twice."""
    s = stage({"a": Script(OK)})
    for name in ("a", "fast"):
        assert isinstance(add(s, name, Script(OK)), ConfigurationError)


def test_a_draining_backend_takes_nothing_new_and_finishes_what_it_has() -> None:
    """The drain ends with the last attempt, and cancels none."""
    first = Script([Sent(), 3.0, answer("slow")])
    s = stage({"a": first, "b": Script(OK)})
    before = s.submit("before")
    s.advance(0.5)
    reply = drain(s, "a", 30)
    after = s.submit("after")
    s.advance(1)
    assert after.result(0).backend == "b"
    s.advance(3)
    assert before.result(0).content == "slow"
    assert reply.get(timeout=0) == 0
    s.at_rest()


def test_a_drain_that_lasts_too_long_cancels_what_is_left_and_that_goes_elsewhere() -> None:
    """The reply says how many attempts were cancelled."""
    s = stage({"a": Script(HANG), "b": Script(OK)})
    pending = s.submit()
    s.advance(0.5)
    reply = drain(s, "a", 5)
    s.advance(6)
    assert pending.result(0).backend == "b"
    assert reply.get(timeout=0) == 1
    s.wake_cancelled()
    s.at_rest()


def test_a_removed_backend_is_unknown_and_its_name_free_again() -> None:
    """A name that is added again is a new slot."""
    s = stage({"a": Script(OK), "b": Script(OK)})
    old = s.tree.roster.slots["a"]
    reply = drain(s, "a", 5, remove=True)
    assert reply.get(timeout=0) == 0
    assert "a" not in s.tree.roster.slots
    with pytest.raises(UnknownModelError):
        s.submit(model="a")
    assert add(s, "a", Script(OK)) is None
    assert s.tree.roster.slots["a"].id != old.id


def test_who_waits_is_given_to_a_namesake_of_the_one_that_refused_it() -> None:
    """A new slot has not refused anybody."""
    refuses = Script([Sent(), Failed(ModelNotFoundError("no such model"))])
    config = RuntimeConfig(
        backends=[backend(name, model="m", max_parallel_requests=1) for name in ("a", "b")]
    )
    s = Stage(config, {"a": refuses, "b": Script(HANG)})
    s.submit("keeps b busy", timeout=100.0, model="b")
    waiting = s.submit("waits", timeout=100.0, model="m")
    s.advance(1)
    assert len(refuses.attempts) == 1
    assert not waiting.done()
    drain(s, "a", 1, remove=True)
    reply = ReplyFuture()
    namesake = s.tree.make_slot(backend("a", model="m"), Script(OK))
    s.tree.address("supervisor").tell(AddBackend(namesake, reply))
    s.advance(1)
    assert waiting.result(0).backend == "a"


def test_who_waits_for_one_that_is_removed_goes_to_another() -> None:
    """It finds its place anew, and no supervisor dies of the old one."""
    s = stage({"a": Script(HANG), "b": Script([Sent(), 3.0, answer()], OK)}, max_parallel_requests=1)
    s.submit("keeps a busy", timeout=100.0)
    s.submit("keeps b busy", timeout=100.0)
    waiting = s.submit("waits", timeout=100.0)
    s.advance(1.0)
    drain(s, "a", 1.0, remove=True)
    s.advance(4.0)
    assert waiting.result(0).backend == "b"
    assert s.tree.children["supervisor"].restarts == 0


def test_who_waits_for_one_that_drains_alone_is_told_at_once() -> None:
    """And not when it is empty, or when time is up."""
    s = stage({"a": Script(HANG)}, max_parallel_requests=1)
    running = s.submit("has a seat", timeout=100.0)
    waiting = s.submit("waits", timeout=100.0)
    s.settle()
    drain(s, "a", 50.0)
    assert "draining" in str(waiting.exception(0))
    assert not running.done()


def test_removing_the_last_target_of_a_route_fails_what_waits_for_it() -> None:
    """Nobody waits for a backend that will not come back."""
    s = stage({"a": Script(HANG)}, max_parallel_requests=1)
    running, waiting = s.submit("one", timeout=100), s.submit("two", timeout=100)
    s.advance(1)
    drain(s, "a", 2, remove=True)
    s.advance(3)
    assert isinstance(running.exception(0), BackendDrainedError)
    assert isinstance(waiting.exception(0), UnknownModelError | AllBackendsFailedError)
    s.wake_cancelled()


def test_a_backend_comes_back_after_the_last_one_was_removed() -> None:
    """The default named a route that is gone: it must not stand in the way of what comes."""
    s = stage({"a": Script(OK)})
    drain(s, "a", 0.0, remove=True)
    assert add(s, "a", Script(OK)) is None
    pending = s.submit(model="a")
    s.advance(1)
    assert pending.result(0).backend == "a"


def test_draining_an_unknown_backend_says_which_are_known() -> None:
    """The error names them."""
    s = stage({"a": Script(OK)})
    answered = drain(s, "q", 1).get(timeout=0)
    assert isinstance(answered, ConfigurationError)
    assert "a" in str(answered)


def test_a_committed_stream_that_is_drained_away_is_interrupted() -> None:
    """It cannot be begun again elsewhere."""
    s = stage({"a": Script([Sent(), Chunk("he"), 1e6]), "b": Script(OK)})
    pending = s.submit(stream=True, timeout=100)
    s.advance(1)
    drain(s, "a", 1)
    s.advance(2)
    assert type(pending.exception(0)).__name__ == "StreamInterruptedError"


def test_a_supervisor_that_dies_while_a_backend_drains_still_finishes_the_drain() -> None:
    """The drain belongs to the slot."""
    s = stage({"a": Script([Sent(), 3.0, answer()]), "b": Script(OK)})
    pending = s.submit()
    s.advance(0.5)
    reply = drain(s, "a", 30, remove=True)
    s.crash("supervisor")
    s.advance(5)
    assert pending.result(0).content == "hi"
    assert reply.get(timeout=0) == 0
    assert "a" not in s.tree.roster.slots


@pytest.mark.parametrize("change", ["drain", "crash"])
def test_an_attempt_that_was_reserved_is_not_given_to_a_backend_that_changed_meanwhile(change: str) -> None:
    """Between the reservation and the dispatch the supervisor looks again."""
    a = Script(OK)
    s = stage({"a": a, "b": Script(OK)})
    pending = s.submit()
    flight = pending.ticket.flight  # type: ignore[attr-defined]
    while not any(attempt.state is AttemptState.RESERVING for attempt in flight.live):
        assert s.dispatcher.step()
    if change == "drain":
        s.tree.roster.slots["a"].draining = True
    else:
        child = s.tree.roster.slots["a"].child
        assert child is not None
        child.generation += 1
    s.advance(1)
    assert not a.attempts or change == "crash"
    assert all(attempt.number > 1 for attempt in a.attempts)
    assert pending.result(0).content == "hi"
    s.at_rest()


@pytest.mark.parametrize(
    ("fallbacks", "windows", "called"),
    [
        # The second attempt was reserved in a lane that is none of its lanes any more.
        ({"fallbacks": ["b"], "context_window_fallbacks": ["c"]}, {}, ["a", "c"]),
        # The lane is still one of them, but its backend is no bigger than the one that was too small.
        ({"fallbacks": ["b"], "context_window_fallbacks": ["b", "c"]}, {"a": 9000, "b": 9000}, ["a", "c"]),
    ],
)
def test_a_grant_is_given_back_when_the_request_has_gone_astray_meanwhile(
    fallbacks: dict[str, list[str]], windows: dict[str, int], called: list[str]
) -> None:
    """An attempt that was still under way has shown that the request is too long for what was reserved."""
    scripts = {name: Script(OK) for name in "abc"}
    too_long = Failed(ContextWindowExceededError("too long", backend="a"))
    scripts["a"] = Script([Sent(), 0.5, too_long])
    config = RuntimeConfig(
        runtime=RuntimeSettings(model="fast"),
        backends=[backend(name, context_window=windows.get(name)) for name in "abc"],
        routes=[RouteConfig(name="fast", targets=["a"], **fallbacks)],
    )
    s = Stage(config, scripts)
    pending = s.submit()
    s.advance(0.45)
    s.crash("quota_manager")
    s.crash("a")
    s.settle()
    reserved = s.tree.roster.slots["b"].in_flight
    assert len(reserved) == 1
    s.advance(5.0)
    assert [name for name in "abc" if scripts[name].attempts] == called
    assert pending.result(0).backend == "c"
    s.at_rest()


@pytest.mark.parametrize("change", ["paused", "drained", "retired"])
def test_a_reset_lifts_nothing_that_was_wanted(change: str) -> None:
    """A pause that the backend has asked for, a drain and a retirement stay."""
    errors: dict[str, Failed] = {
        "paused": Failed(RateLimitError("slow down", backend="a", retry_after=100.0)),
        "retired": Failed(BackendRetiredError("gone", backend="a")),
    }
    script = Script([Sent(), errors[change]] if change in errors else OK, OK)
    s = stage({"a": script, "b": Script(OK)}, settings={"num_retries": 0})
    s.submit()
    s.advance(1.0)
    if change == "drained":
        drain(s, "a", 1.0)
    reply = ReplyFuture()
    s.tree.address("supervisor").tell(ResetBackend("a", reply))
    pending = s.submit()
    s.advance(1.0)
    assert reply.get(timeout=0) is None
    assert pending.result(0).backend == "b"


def test_a_reset_wakes_who_waits_for_the_breaker() -> None:
    """At once, and not when somebody else comes."""
    script = Script(OK)
    s = stage({"a": script}, route={"allowed_fails": 1, "cooldown_time": 50.0})
    breaker = s.tree.roster.slots["a"].breaker
    breaker.record_failure(breaker.epoch, s.clock.now())
    pending = s.submit(timeout=100.0)
    s.advance(1.5)
    assert script.attempts == []
    s.tree.address("supervisor").tell(ResetBackend("a", ReplyFuture()))
    s.settle()
    assert len(script.attempts) == 1
    s.advance(0.2)
    assert pending.result(0).backend == "a"


def test_what_was_known_of_a_lane_that_is_gone_is_forgotten() -> None:
    """One that comes later is another; those that stay keep what is known."""
    s = stage({"a": Script(OK), "b": Script(OK)})
    table = RoutingTable(s.tree.roster, s.system.rng)
    known = {name: table.admission(name) for name in ("fast", "a")}
    drain(s, "a", 1.0, remove=True)
    table.reroute()
    assert table.admission("fast") is known["fast"]
    assert table.admission("a") is not known["a"]


def test_a_request_that_comes_just_as_its_last_backend_is_taken_out_is_not_told_that_none_can_do_it() -> None:
    """Its slot is gone and its name not yet: what is known of its needs says nothing."""
    s = stage({"a": Script(OK)})
    route = s.tree.roster.config.route_for("fast")
    s.tree.roster.slots = {}
    needs = Needs(frozenset({Capability.TOOLS}))
    assert lanes_for(s.tree.roster, route, needs) == ("fast",)


def test_a_drain_ends_when_the_last_attempt_is_taken_back() -> None:
    """Nobody waits for a backend that is empty already."""
    s = stage({"a": Script(OK), "b": Script(OK)})
    s.crash("quota_manager")
    s.submit()
    s.settle()
    assert s.tree.roster.slots["a"].in_flight
    reply = drain(s, "a", 500)
    s.advance(5)
    assert reply._done
