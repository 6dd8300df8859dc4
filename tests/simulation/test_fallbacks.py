"""Fallbacks: exact counts, orders and times."""

from __future__ import annotations

from pathlib import Path

import pytest

from showcaller.actors.errors import AllBackendsFailedError, DeadlineExceededError
from showcaller.actors.models import BackendResponse
from showcaller.runtime.testing import faults
from showcaller.runtime.testing.simulation import Simulation
from tests.simulation.lanes import FOR_EVER, Run, configuration, unavailable


def test_everything_is_down_and_there_is_one_fallback() -> None:
    """Two retries: three calls. The lane, then the fallback at once, then the lane again after a backoff below 1 s."""
    config = configuration(
        {"fast": ["a"], "spare": ["b"]}, routes={"fast": {"fallbacks": ["spare"]}}, num_retries=2
    )
    run = Run(config, *unavailable("a", "b"))
    error = run.ask()
    assert run.calls == ["a", "b", "a"]
    assert run.starts[:2] == [0.0, 0.0]
    assert 0.0 < run.starts[2] < 1.0
    assert isinstance(error, AllBackendsFailedError)
    assert [attempt.backend for attempt in error.attempts] == ["a", "b", "a"]
    assert "3 attempts" in error.message
    again = Run(config, *unavailable("a", "b"))
    again.ask()
    assert again.starts == run.starts


@pytest.mark.parametrize("retries", [0, 1, 2, 3])
@pytest.mark.parametrize("further", [0, 1, 2])
@pytest.mark.parametrize("own", [1, 2, 3])
def test_calls_are_one_more_than_num_retries_however_many_there_could_be(
    own: int, further: int, retries: int
) -> None:
    """Each untried backend in the order of lanes; then again from the first, as often as it may be."""
    names = [f"a{number}" for number in range(own)]
    others = [f"b{number}" for number in range(further)]
    lanes = {"fast": names} | {f"spare-{name}": [name] for name in others}
    config = configuration(
        lanes, routes={"fast": {"fallbacks": [f"spare-{name}" for name in others]}}, num_retries=retries
    )
    run = Run(config, *unavailable(*names, *others))
    assert isinstance(run.ask(), Exception)
    able = [*names, *others]
    repeated = [name for name in able for _ in range(2)]
    assert run.calls == [*able, *repeated][: 1 + retries]


def rows() -> list[tuple[str, ...]]:
    """The table of counts in the docs."""
    text = (Path(__file__).parents[2] / "docs" / "routing.md").read_text(encoding="utf-8")
    table = text.partition("| the route's backends |")[2].partition("\n\n")[0].splitlines()[2:]
    return [tuple(cell.strip() for cell in line.strip("|").split("|")) for line in table]


@pytest.mark.parametrize("row", rows(), ids=" / ".join)
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_counts_in_the_docs_are_those_of_a_run(row: tuple[str, ...], seed: int) -> None:
    """Calls, their order, and when the last of them begins."""
    own, further, retries, calls, within = row
    lanes = {"fast": own.split(", ")} | {f"to-{n}": [n] for n in further.split(", ") if n != "none"}
    config = configuration(lanes, routes={"fast": {"fallbacks": list(lanes)[1:]}}, num_retries=int(retries))
    names = [backend.name for backend in config.backends]
    run = Run(config, *unavailable(*names), seed=seed)
    error = run.ask()
    assert run.calls == calls.split()
    assert run.starts[-1] <= float(within.removesuffix(" s")) + 1e-6
    told = error.attempts if isinstance(error, AllBackendsFailedError) else [error]
    assert [one.backend for one in told] == run.calls


def test_the_answer_says_by_which_route_it_came() -> None:
    """And how many attempts it took, over all hops."""
    lanes = {"fast": ["a"], "smart": ["b"], "last": ["c"]}
    routes = {"fast": {"fallbacks": ["smart"]}, "smart": {"fallbacks": ["last"]}}
    run = Run(configuration(lanes, routes=routes), *unavailable("a", "b"))
    response = run.ask()
    assert isinstance(response, BackendResponse)
    assert (response.route, response.backend, response.attempts) == ("last", "c", 3)


def test_what_was_sent_before_its_lane_cooled_moves_at_once() -> None:
    """The lane's only backend has asked for a pause; the fallback answers without a wait."""
    config = configuration({"fast": ["a"], "spare": ["b"]}, routes={"fast": {"fallbacks": ["spare"]}})
    with Simulation(config, seed=1) as simulation:
        simulation.at(0.0, faults.errors("a", "rate_limit", duration=0.5, retry_after=20))
        simulation.advance(0.1)
        assert simulation.runtime.ask("one").route == "spare"
        simulation.advance(1.0)
        began = simulation.now
        assert simulation.runtime.ask("two").route == "spare"
        assert simulation.now - began < 5.0
        simulation.advance(20.0)
        assert simulation.runtime.ask("three").route == "fast"
        assert simulation.inspector.violations == []
        assert [len(simulation.backends[name].served) for name in "ab"] == [2, 2]


def test_a_lane_that_is_merely_full_keeps_its_requests() -> None:
    """A fallback costs more, or knows less; a moment's wait is what queues are for."""
    config = configuration(
        {"fast": ["a"], "spare": ["b"]},
        backends={"a": {"max_parallel_requests": 1}},
        routes={"fast": {"fallbacks": ["spare"]}},
    )
    with Simulation(config, seed=1) as simulation:
        pendings = [simulation.runtime.submit(f"q{number}") for number in range(4)]
        assert [pending.result().route for pending in pendings] == ["fast"] * 4
        assert simulation.inspector.violations == []


def test_limits_without_room_before_the_deadline_keep_nobody() -> None:
    """One that can wait for them does; one that cannot goes on, also from behind it."""
    config = configuration(
        {"fast": ["a"], "spare": ["b"]},
        backends={"a": {"rate_limit_rpm": 1}},
        routes={"fast": {"fallbacks": ["spare"]}},
    )
    with Simulation(config, seed=1) as simulation:
        simulation.advance(0.01)
        submit = simulation.runtime.submit
        assert submit("first").result().route == "fast"
        patient = submit("patient", timeout=100)
        simulation.advance(0.5)
        impatient = submit("impatient", timeout=20)
        simulation.advance(10.0)
        assert impatient.done()
        assert impatient.result().route == "spare"
        assert not patient.done()
        assert patient.result().route == "fast"
        assert simulation.inspector.violations == []


@pytest.mark.parametrize("stream", [False, True])
def test_a_stream_falls_back_like_a_plain_answer(stream: bool) -> None:
    """Before its first token nobody notices."""
    config = configuration({"fast": ["a"], "spare": ["b"]}, routes={"fast": {"fallbacks": ["spare"]}})
    with Simulation(config, seed=1) as simulation:
        for fault in unavailable("a"):
            simulation.at(0.0, fault)
        simulation.advance(0.1)
        if stream:
            with simulation.runtime.stream("hello") as chunks:
                text = "".join(chunk.text for chunk in chunks)
                answer = chunks.response
            assert text == answer.content != ""
        else:
            answer = simulation.runtime.ask("hello")
        assert (answer.route, answer.backend) == ("spare", "b")
        assert simulation.inspector.violations == []


def test_nothing_is_eligible_anywhere_and_the_deadline_allows_a_wait() -> None:
    """It waits for the earliest of all its lanes."""
    config = configuration({"fast": ["a"], "spare": ["b"]}, routes={"fast": {"fallbacks": ["spare"]}})
    pauses = [
        faults.errors("a", "rate_limit", duration=0.5, retry_after=30),
        faults.errors("b", "rate_limit", duration=0.5, retry_after=7),
    ]
    run = Run(config, *pauses)
    response = run.ask(timeout=60)
    assert isinstance(response, BackendResponse)
    assert response.route == "spare"
    assert run.calls == ["a", "b", "b"]
    assert run.starts[-1] == pytest.approx(7.0, abs=0.5)


def test_nothing_is_eligible_anywhere_before_the_deadline() -> None:
    """The error says when to come back, and why, backend by backend."""
    config = configuration({"fast": ["a"], "spare": ["b"]}, routes={"fast": {"fallbacks": ["spare"]}})
    pauses = [
        faults.errors("a", "rate_limit", duration=0.5, retry_after=30),
        faults.errors("b", "rate_limit", duration=0.5, retry_after=7),
    ]
    with Simulation(config, seed=1) as simulation:
        for fault in pauses:
            simulation.at(0.0, fault)
        simulation.advance(0.1)
        with pytest.raises(AllBackendsFailedError):
            simulation.runtime.ask("one", timeout=5)
        with pytest.raises(AllBackendsFailedError) as caught:
            simulation.runtime.ask("two", timeout=5)
        assert simulation.inspector.violations == []
    assert caught.value.retry_after == pytest.approx(7.0, abs=1.5)
    assert "a: asked for a pause, " in caught.value.message
    assert "b: asked for a pause, " in caught.value.message


def test_one_deadline_holds_for_all_hops() -> None:
    """A lane that is silent and a fallback that is silent take no longer than the caller has."""
    lanes = {"fast": ["a"], "spare": ["b"]}
    timeouts = {name: {"timeout": 4.0} for name in "ab"}
    config = configuration(lanes, backends=timeouts, routes={"fast": {"fallbacks": ["spare"]}})
    run = Run(config, *(faults.errors(name, "stalled", duration=FOR_EVER) for name in "ab"))
    error = run.ask(timeout=6.0)
    assert isinstance(error, DeadlineExceededError)
    assert run.calls == ["a", "b"]
    assert run.took == pytest.approx(6.0)
