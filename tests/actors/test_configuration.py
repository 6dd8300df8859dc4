"""In a configuration each name means one thing, and every name that is used exists."""

from __future__ import annotations

from typing import Any

import pytest

from showcaller.actors.backend_config import BackendConfig
from showcaller.actors.configuration import RuntimeConfig
from showcaller.actors.enums import FallbackCause, LoadBalanceStrategy
from showcaller.actors.errors import ConfigurationError, UnknownModelError
from showcaller.actors.route_config import RouteConfig, TargetConfig
from showcaller.actors.settings import RuntimeSettings


def _backend(name: str, model: str | None = None, **fields: Any) -> BackendConfig:
    return BackendConfig(name=name, backend_type="simulated", model=model, **fields)


def _targets(config: RuntimeConfig, model: str | None) -> list[tuple[str, float | None]]:
    return [(target.backend, target.weight) for target in config.route_for(model).targets]


BACKENDS = [
    _backend("openai/gpt-5", "gpt-5", weight=3),
    _backend("openai/mini", "mini"),
    _backend("local", "smollm2"),
    _backend("spare", "smollm2"),
]
FAST = RouteConfig(name="fast", targets=["openai/gpt-5", TargetConfig("local", 2)])


@pytest.mark.parametrize(
    ("model", "targets"),
    [
        ("fast", [("openai/gpt-5", 3), ("local", 2)]),
        ("openai/gpt-5", [("openai/gpt-5", 3)]),
        ("gpt-5", [("openai/gpt-5", 3)]),
        ("local", [("local", 1)]),
        ("local/smollm2", [("local", 1)]),
        ("smollm2", [("local", 1), ("spare", 1)]),
        (None, [("openai/gpt-5", 3), ("local", 2)]),
    ],
)
def test_a_model_names_a_route_a_backend_or_a_declared_model(
    model: str | None, targets: list[tuple[str, float]]
) -> None:
    """Each stands for a route; a target without a weight has its backend's."""
    assert _targets(RuntimeConfig(backends=BACKENDS, routes=[FAST]), model) == targets


def test_a_model_that_several_backends_declare_is_shared_by_weight() -> None:
    """The name of a model says nothing of a preference."""
    route = RuntimeConfig(backends=BACKENDS).route_for("smollm2")
    assert route.routing_strategy is LoadBalanceStrategy.WEIGHTED


def test_without_a_model_the_only_thing_there_is_is_meant() -> None:
    """One backend needs no name."""
    assert _targets(RuntimeConfig(backends=BACKENDS[:1]), None) == [("openai/gpt-5", 3)]
    configured = RuntimeConfig(backends=BACKENDS, runtime=RuntimeSettings(model="spare"))
    assert _targets(configured, None) == [("spare", 1)]


def test_without_a_model_nothing_is_guessed_among_several() -> None:
    """A wrong guess costs money."""
    with pytest.raises(UnknownModelError, match="pass model= or set"):
        RuntimeConfig(backends=BACKENDS).route_for(None)


@pytest.mark.parametrize("model", [None, "gpt-5"])
def test_without_a_backend_no_name_would_help(model: str | None) -> None:
    """As from an empty file: what is missing is not the name of a model."""
    with pytest.raises(UnknownModelError, match="there is no backend"):
        RuntimeConfig().route_for(model)


@pytest.mark.parametrize(
    ("model", "told"),
    [("fsat", 'did you mean "fast"'), ("gpt5", 'did you mean "gpt-5"'), ("zzz", "known: fast, gpt-5")],
)
def test_an_unknown_name_is_refused_with_the_nearest(model: str, told: str) -> None:
    """A typing error is repaired from the text."""
    with pytest.raises(UnknownModelError, match=told):
        RuntimeConfig(backends=BACKENDS, routes=[FAST]).route_for(model)


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"backends": [_backend("a"), _backend("a")]}, "the backend a and the backend a"),
        ({"routes": [FAST, FAST]}, "the route fast and the route fast"),
        ({"routes": [RouteConfig(name="local", targets=["spare"])]}, "the route local and the backend local"),
        ({"routes": [RouteConfig(name="smollm2", targets=["spare"])]}, "the model smollm2 of local, spare"),
        ({"backends": [_backend("a", "b"), _backend("b", "c")]}, "the backend b and the model b of a"),
        ({"backends": [_backend("a", "b"), _backend("a/b", "c")]}, "the backend a/b"),
        ({"routes": [RouteConfig(name="x/y", targets=["local"])]}, 'without "/"'),
        ({"routes": [RouteConfig(name="x", targets=["openai"])]}, "name one of openai/gpt-5, openai/mini"),
        ({"routes": [RouteConfig(name="x", targets=["locla"])]}, 'did you mean "local"'),
        ({"runtime": RuntimeSettings(model="fats")}, "runtime.model = 'fats'"),
        ({"backends": BACKENDS[0]}, "give a list of BackendConfig"),
        ({"backends": ["local"]}, "give a list of BackendConfig"),
        ({"routes": None}, "give a list of RouteConfig"),
        ({"quota": {}}, "use a QuotaConfig"),
        ({"health": {}}, "use a HealthConfig"),
    ],
)
def test_a_name_that_is_ambiguous_or_unknown_is_refused(fields: dict[str, Any], told: str) -> None:
    """Before the first request, not at it."""
    with pytest.raises(ConfigurationError) as caught:
        RuntimeConfig(**{"backends": BACKENDS, **fields})
    assert told in str(caught.value)


def test_a_backend_may_be_called_like_its_own_model() -> None:
    """Both names mean the same thing."""
    config = RuntimeConfig(backends=[_backend("smollm2", "smollm2")])
    assert _targets(config, "smollm2") == [("smollm2", 1)]


@pytest.mark.parametrize("model", ["/srv/models/x.gguf", "@cf/meta/llama-3-8b", "meta-llama/Llama-3.1:free"])
def test_a_model_may_have_any_name_that_its_endpoint_gives_it(model: str) -> None:
    """A path of a GGUF file too: the name stands for the backends that declare it."""
    config = RuntimeConfig(backends=[BackendConfig(name="m", backend_type="embedded", model=model)])
    assert [target.backend for target in config.route_for(model).targets] == ["m"]


@pytest.mark.parametrize("name", ["a/b", "a b", "", "@x"])
def test_a_route_of_ones_own_has_a_plain_name(name: str) -> None:
    """Letters, digits and a few signs, so that it cannot be taken for a backend's model."""
    backend = BackendConfig(name="m", backend_type="embedded", model="smollm2")
    with pytest.raises(ConfigurationError, match=r"name|routes"):
        RuntimeConfig(backends=[backend], routes=[RouteConfig(name=name, targets=["m"])])


def _routes(**fallbacks: dict[str, list[str]]) -> list[RouteConfig]:
    return [RouteConfig(name=name, targets=["local"], **given) for name, given in fallbacks.items()]


@pytest.mark.parametrize("kind", [cause.value for cause in FallbackCause])
@pytest.mark.parametrize(
    ("graph", "told"),
    [
        (
            {"fast": ["smrt"], "smart": []},
            "routes.fast.KIND = 'smrt': no route, backend or model has this name; did ",
        ),
        ({"fast": ["fast"]}, "it leads back to itself: fast -> fast; take one out"),
        (
            {"fast": ["smart"], "smart": ["fast"]},
            "routes.smart.KIND = 'fast': it leads back to itself: fast -> smart ->",
        ),
        (
            {"a": ["b"], "b": ["c"], "c": ["spare", "b"]},
            "routes.c.KIND = 'b': it leads back to itself: b -> c -> b;",
        ),
    ],
)
def test_a_fallback_that_is_unknown_or_leads_back_is_refused(
    kind: str, graph: dict[str, list[str]], told: str
) -> None:
    """With the nearest name, or the whole cycle."""
    routes = _routes(**{name: {kind: names} for name, names in graph.items()})
    with pytest.raises(ConfigurationError) as caught:
        RuntimeConfig(backends=BACKENDS, routes=routes)
    assert told.replace("KIND", kind) in str(caught.value)


def test_a_cycle_of_two_kinds_is_none() -> None:
    """What was too long may come back from a failure, and goes on to what was not tried."""
    routes = _routes(fast={"fallbacks": ["smart"]}, smart={"context_window_fallbacks": ["fast"]})
    config = RuntimeConfig(backends=BACKENDS, routes=routes)
    assert config.lanes_of("smart", FallbackCause.CONTEXT_WINDOW) == ("fast", "smart")


def test_lanes_follow_fallbacks_depth_first_and_each_once() -> None:
    """A fallback's own fallbacks come before the next, a diamond is no cycle, and a name that is gone leads nowhere."""
    routes = _routes(
        fast={"fallbacks": ["b", "c", "gpt-5"], "content_policy_fallbacks": ["c", "local"]},
        b={"fallbacks": ["d"]},
        c={"fallbacks": ["d", "spare", "spare/smollm2"], "content_policy_fallbacks": ["b"]},
        d={},
    )
    config = RuntimeConfig(backends=BACKENDS, routes=routes)
    assert config.lanes_of("fast", FallbackCause.FAILURE) == ("fast", "b", "d", "c", "spare", "gpt-5")
    assert config.lanes_of("fast", FallbackCause.CONTENT_POLICY) == ("c", "d", "spare", "b", "local")
    assert config.lanes_of("fast", FallbackCause.CONTEXT_WINDOW) == ()
    assert config.lanes_of("local", FallbackCause.FAILURE) == ("local",)
    assert config.lanes_of("gone", FallbackCause.FAILURE) == ("gone",)
    assert config.lanes_of("gone", FallbackCause.CONTEXT_WINDOW) == ()


def test_without_a_backend_nothing_names_it_any_more() -> None:
    """Neither as a target, nor as a fallback under any of its names, nor as the default; the rest stays."""
    fast = RouteConfig(
        name="fast", targets=["local", "spare"], fallbacks=["mini", "openai/mini", "smollm2", "only"]
    )
    only = RouteConfig(name="only", targets=["openai/mini"], fallbacks=["local"])
    config = RuntimeConfig(backends=BACKENDS, routes=[fast, only], runtime=RuntimeSettings(model="only"))
    left = config.without("openai/mini")
    (route,) = left.routes
    assert route.fallbacks == ("smollm2",)
    assert [backend.name for backend in left.backends] == ["openai/gpt-5", "local", "spare"]
    assert left.runtime.model is None
    assert config.without("spare").runtime.model == "only"
