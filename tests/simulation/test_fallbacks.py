"""Fallbacks: exact counts, orders and times, by cause and by what a request needs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from showcaller.actors.backend_config import BackendConfig
from showcaller.actors.configuration import RuntimeConfig
from showcaller.actors.errors import (
    AllBackendsFailedError,
    ConfigurationError,
    ContentPolicyViolationError,
    ContextWindowExceededError,
    DeadlineExceededError,
)
from showcaller.actors.models import BackendResponse
from showcaller.actors.route_config import RouteConfig
from showcaller.actors.settings import RuntimeSettings
from showcaller.runtime.testing import faults
from showcaller.runtime.testing.behaviour import Behaviour
from showcaller.runtime.testing.distributions import Constant
from showcaller.runtime.testing.simulation import Simulation

TOOLS = [{"type": "function", "function": {"name": "search", "parameters": {"type": "object"}}}]
LONG = "long " * 400
"""About 500 tokens."""
FOR_EVER = 1e6


def configuration(
    lanes: dict[str, list[str]],
    *,
    backends: dict[str, dict[str, Any]] | None = None,
    routes: dict[str, dict[str, Any]] | None = None,
    **settings: Any,
) -> RuntimeConfig:
    """Failover routes; each may have more said of it, and so may each backend."""
    names = dict.fromkeys(name for targets in lanes.values() for name in targets)
    return RuntimeConfig(
        runtime=RuntimeSettings(model="fast", **settings),
        backends=[
            BackendConfig(
                name=name,
                backend_type="openai_compatible",
                base_url="http://127.0.0.1:9/v1",
                model=f"m-{name}",
                **(backends or {}).get(name, {}),
            )
            for name in names
        ],
        routes=[
            RouteConfig(
                **{
                    "name": name,
                    "routing_strategy": "failover",
                    "targets": targets,
                    "allowed_fails": 1_000,
                    "slow_start": 0.0,
                    **(routes or {}).get(name, {}),
                }
            )
            for name, targets in lanes.items()
        ],
    )


class Run:
    """One request, or several, in a simulation; times are virtual."""

    def __init__(self, config: RuntimeConfig, *struck: Any, seed: int = 1, **behaviours: Behaviour) -> None:
        quick = Behaviour(connect=Constant(0.0), first_token=Constant(0.1), token_interval=Constant(0.0))
        usual = {backend.name: quick for backend in config.backends}
        self.simulation = Simulation(config, seed=seed, behaviours=usual | behaviours)
        for fault in struck:
            self.simulation.at(0.0, fault)

    def ask(self, prompt: str = "hello", **options: Any) -> BackendResponse | Exception:
        """What one request gets, and with it all calls that were made."""
        with self.simulation as simulation:
            simulation.advance(0.001)
            self.began = simulation.now
            try:
                return simulation.runtime.ask(prompt, **options)
            except Exception as error:  # noqa: BLE001  it is what the test looks at
                return error
            finally:
                self.took = simulation.now - self.began
                served = [call for backend in simulation.made for call in backend.served]
                self.calls = [
                    call.backend for call in sorted(served, key=lambda call: (call.started, call.number))
                ]
                self.starts = sorted(call.started - 1000.0 - self.began for call in served)
                assert simulation.inspector.violations == []


def unavailable(*names: str) -> list[Any]:
    """HTTP 503 at each, for good."""
    return [faults.errors(name, "unavailable", duration=FOR_EVER) for name in names]


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


# --- by cause ---


def refuses_long() -> Behaviour:
    """An endpoint that holds 300 tokens."""
    return Behaviour(first_token=Constant(0.1), context_window=300)


BY_CAUSE = {
    "fallbacks": ["general"],
    "context_window_fallbacks": ["smaller", "bigger"],
    "content_policy_fallbacks": ["lenient"],
}
LANES = {"fast": ["a"], "general": ["g"], "smaller": ["s"], "bigger": ["b"], "lenient": ["l"]}
WINDOWS = {"a": {"context_window": 2_000}, "s": {"context_window": 1_000}, "b": {"context_window": 8_000}}


def test_what_is_too_long_goes_to_a_bigger_window_only() -> None:
    """Past the general fallback, and past a fallback of its own kind that holds less; no backend is asked twice."""
    config = configuration(LANES, backends=WINDOWS, routes={"fast": BY_CAUSE})
    run = Run(config, a=refuses_long())
    response = run.ask(LONG)
    assert isinstance(response, BackendResponse)
    assert (response.route, run.calls) == ("bigger", ["a", "b"])


@pytest.mark.parametrize(
    ("failed", "other", "goes"),
    [
        (None, None, True),
        (None, 8_000, True),
        (2_000, None, True),
        (2_000, 8_000, True),
        (2_000, 2_000, False),
        (2_000, 1_000, False),
    ],
)
def test_which_window_counts_as_bigger(failed: int | None, other: int | None, goes: bool) -> None:
    """Only a declared one that is not greater than a declared one is known not to help."""
    config = configuration(
        {"fast": ["a"], "bigger": ["b"]},
        backends={"a": {"context_window": failed}, "b": {"context_window": other}},
        routes={"fast": {"context_window_fallbacks": ["bigger"]}},
    )
    run = Run(config, a=refuses_long())
    assert isinstance(run.ask(LONG), BackendResponse if goes else ContextWindowExceededError)
    assert run.calls == (["a", "b"] if goes else ["a"])


def test_what_a_filter_refused_goes_to_its_own_fallbacks_only() -> None:
    """A lenient backend, and no other."""
    run = Run(
        configuration(LANES, routes={"fast": BY_CAUSE}), faults.errors("a", "content_filter", duration=9.0)
    )
    response = run.ask()
    assert isinstance(response, BackendResponse)
    assert (response.route, run.calls) == ("lenient", ["a", "l"])


def test_without_fallbacks_of_its_kind_the_cause_itself_is_the_outcome() -> None:
    """A general fallback is none of that kind."""
    config = configuration(
        {"fast": ["a", "a2"], "general": ["g"]}, routes={"fast": {"fallbacks": ["general"]}}
    )
    run = Run(config, faults.errors("a", "content_filter", duration=9.0))
    assert isinstance(run.ask(), ContentPolicyViolationError)
    assert run.calls == ["a"]


def test_a_failure_after_a_change_of_lanes_goes_on_from_there() -> None:
    """The bigger backend is down: its own fallback is next, and the lane that was too small never again."""
    config = configuration(
        {"fast": ["a"], "bigger": ["b"], "huge": ["h"]},
        routes={"fast": {"context_window_fallbacks": ["bigger"]}, "bigger": {"fallbacks": ["huge"]}},
    )
    run = Run(config, *unavailable("b"), a=refuses_long())
    response = run.ask(LONG)
    assert isinstance(response, BackendResponse)
    assert (response.route, run.calls) == ("huge", ["a", "b", "h"])


def test_a_fallback_that_refuses_it_too_is_followed_by_the_next_of_its_kind() -> None:
    """Neither of the first two says how much it holds."""
    lanes = {"fast": ["a"], "medium": ["m"], "long": ["b"]}
    config = configuration(lanes, routes={"fast": {"context_window_fallbacks": ["medium", "long"]}})
    run = Run(config, a=refuses_long(), m=refuses_long())
    response = run.ask(LONG)
    assert isinstance(response, BackendResponse)
    assert (response.route, run.calls) == ("long", ["a", "m", "b"])


def test_what_a_general_fallback_refuses_has_the_fallbacks_of_both_routes() -> None:
    """First those of the fallback, then those of the route it was sent to."""
    config = configuration(
        {"fast": ["a"], "smart": ["s"], "near": ["n"], "far": ["f"]},
        routes={
            "fast": {"fallbacks": ["smart"], "content_policy_fallbacks": ["far"]},
            "smart": {"content_policy_fallbacks": ["near"]},
        },
        num_retries=3,
    )
    filters = [faults.errors(name, "content_filter", duration=9.0) for name in "sn"]
    run = Run(config, *unavailable("a"), *filters)
    response = run.ask()
    assert isinstance(response, BackendResponse)
    assert (response.route, run.calls) == ("far", ["a", "s", "n", "f"])


# --- by what a request needs ---


def test_a_request_goes_only_where_what_it_needs_is_supported() -> None:
    """Within a lane, and then to its fallbacks; what needs nothing goes where it always did."""
    config = configuration(
        {"fast": ["a", "b"], "smart": ["c"]},
        backends={
            "a": {"supports": []},
            "b": {"supports": ["tools"]},
            "c": {"supports": ["json_schema", "images"]},
        },
        routes={"fast": {"fallbacks": ["smart"]}},
    )
    schema = {"type": "json_schema", "json_schema": {"name": "x", "schema": {}}}
    picture = [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "http://x/y.png"}}]}]
    with Simulation(config, seed=1) as simulation:
        ask = simulation.runtime.ask
        assert ask("plain").backend == "a"
        assert ask("search", tools=TOOLS).backend == "b"
        assert ask("schema", response_format=schema).backend == "c"
        assert ask("any json", response_format={"type": "json_object"}).backend == "a"
        assert ask(picture).backend == "c"
        assert simulation.inspector.violations == []


def test_what_is_too_long_for_the_whole_lane_begins_at_its_context_window_fallbacks() -> None:
    """No call is made that must fail; max_tokens counts."""
    config = configuration(
        LANES, backends=WINDOWS | {"a": {"context_window": 400}}, routes={"fast": BY_CAUSE}
    )
    assert isinstance(answer := Run(config).ask(LONG), BackendResponse)
    assert answer.route == "smaller"
    assert isinstance(answer := Run(config).ask("short", max_tokens=500), BackendResponse)
    assert answer.route == "smaller"
    assert isinstance(answer := Run(config).ask("short", max_tokens=300), BackendResponse)
    assert answer.route == "fast"


def test_what_nothing_can_carry_out_is_refused_at_the_door() -> None:
    """The error names the need, and what each backend lacks."""
    config = configuration(
        {"fast": ["a"], "smart": ["b"]},
        backends={"a": {"supports": []}, "b": {"supports": ["images"], "context_window": 300}},
        routes={"fast": {"fallbacks": ["smart"], "context_window_fallbacks": ["smart"]}},
    )
    run = Run(config)
    error = run.ask("search", tools=TOOLS)
    assert isinstance(error, ConfigurationError)
    assert "needs, tools and room for about" in error.message
    assert "a: does not support tools; b: does not support tools;" in error.message
    error = Run(config).ask(LONG, model="smart")
    assert isinstance(error, ContextWindowExceededError)
    assert "b: holds 300 tokens" in error.message
    assert run.calls == []


def test_a_backend_that_is_removed_leaves_no_fallback_behind() -> None:
    """The route that had no other target goes with it, and the names that meant either."""
    config = configuration(
        {"fast": ["a"], "smart": ["b"]},
        routes={"fast": {"fallbacks": ["smart", "b", "m-b"], "content_policy_fallbacks": ["b"]}},
    )
    with Simulation(config, seed=1) as simulation:
        simulation.runtime.backends.remove("b")
        (fast,) = simulation.runtime._tree.roster.config.routes
        assert (fast.fallbacks, fast.content_policy_fallbacks) == ((), ())
        assert simulation.runtime.ask("hello").route == "fast"
