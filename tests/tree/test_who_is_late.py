"""Who waits for a backend whose limits have no room before its deadline goes to a fallback, whoever waits before it."""

from __future__ import annotations

from showcaller.actors.configuration import RuntimeConfig
from showcaller.actors.route_config import RouteConfig
from showcaller.actors.settings import RuntimeSettings
from showcaller.actors.transport import Sent
from tests.tree.stage import OK, Script, Stage, answer, backend


def limited() -> Stage:
    """`a` takes one request a minute and one at a time, and is busy for 3.5 s with its first; `b` is its fallback."""
    config = RuntimeConfig(
        runtime=RuntimeSettings(model="fast"),
        backends=[backend("a", max_parallel_requests=1, rate_limit_rpm=1), backend("b")],
        routes=[RouteConfig(name="fast", targets=["a"], fallbacks=["b"])],
    )
    s = Stage(config, {"a": Script([Sent(), 3.5, answer()], OK), "b": Script(OK)}, 0)
    s.submit("keeps a busy")
    s.advance(0.1)
    return s


def test_who_has_less_time_than_a_limit_lasts_does_not_wait_behind_who_has_more() -> None:
    """Both waited for a free seat, before anybody knew of the limit."""
    s = limited()
    patient, hurried = s.submit("patient", timeout=100), s.submit("hurried", timeout=10)
    s.advance(3.65)
    assert hurried.result(0).backend == "b"
    assert not patient.done()
    s.advance(60)
    assert patient.result(0).backend == "a"
    s.at_rest()


def test_who_has_less_time_since_another_left_is_noticed_with_the_next_sweep() -> None:
    """An identical request had given it more."""
    s = limited()
    first = s.submit("patient", timeout=100)
    hurried = s.submit("the same", timeout=20, temperature=0.0)
    s.settle()
    more = s.submit("the same", timeout=100, temperature=0.0)
    s.advance(4)
    assert not hurried.done()
    more.cancel()
    s.advance(1)
    assert hurried.result(0).backend == "b"
    assert not first.done()
    s.advance(60)
    s.at_rest()
