"""Fallbacks by cause and by need: a request goes only where it can be carried out."""

from __future__ import annotations

import pytest

from showcaller.actors.errors import (
    ConfigurationError,
    ContentPolicyViolationError,
    ContextWindowExceededError,
)
from showcaller.actors.models import BackendResponse
from showcaller.runtime.testing import faults
from showcaller.runtime.testing.behaviour import Behaviour
from showcaller.runtime.testing.distributions import Constant
from showcaller.runtime.testing.simulation import Simulation
from tests.simulation.lanes import Run, configuration, unavailable

TOOLS = [{"type": "function", "function": {"name": "search", "parameters": {"type": "object"}}}]
LONG = "long " * 400
"""About 500 tokens."""


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
