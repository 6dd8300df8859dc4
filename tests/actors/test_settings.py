"""Settings are checked field by field, and have the defaults of their type."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import attrs
import pytest

from showcaller.actors.backend_config import BackendConfig, Limits, Timeouts
from showcaller.actors.canonical import MAX_DEPTH
from showcaller.actors.enums import BackendType, Capability, LoadBalanceStrategy
from showcaller.actors.errors import ConfigurationError
from showcaller.actors.redaction import redact
from showcaller.actors.route_config import RouteConfig, TargetConfig
from showcaller.actors.secrets import EnvSecret, Secret
from showcaller.actors.settings import HealthConfig, QuotaConfig, RuntimeSettings
from showcaller.actors.strategy import Candidate


class Mine:
    """A strategy of the user's own."""

    def choose(self, candidates: Sequence[Candidate], rng: random.Random) -> str:
        return rng.choice(candidates).name


HTTP = {"name": "a", "backend_type": BackendType.OPENAI_COMPATIBLE, "model": "m", "base_url": "http://h/v1"}
ROUTE = {"name": "r", "targets": ["a"]}


@pytest.mark.parametrize(
    ("kind", "total", "seats", "idempotent"),
    [
        (BackendType.OPENAI_COMPATIBLE, 60, 64, True),
        (BackendType.GITHUB_MODELS, 60, 64, True),
        (BackendType.EMBEDDED, 60, 2, True),
        (BackendType.COPILOT_CLI, 180, 1, False),
        (BackendType.GH_COPILOT, 30, 1, False),
    ],
)
def test_defaults_follow_the_type(kind: BackendType, total: float, seats: int, idempotent: bool) -> None:
    """A command line is slow, alone and not to be repeated; an HTTP endpoint is none of that."""
    backend = BackendConfig(**HTTP | {"backend_type": kind})
    assert backend.timeout.total == total
    assert backend.max_parallel_requests == seats
    assert backend.idempotent is idempotent
    assert backend.max_retries == 2


def test_a_number_as_timeout_is_the_total() -> None:
    """The first byte of an answer that is not streamed may come at the very end."""
    assert BackendConfig(**HTTP, timeout=90).timeout == Timeouts(connect=5, first_token=90, idle=90, total=90)
    assert BackendConfig(**HTTP, timeout=2).timeout.connect == 2


def test_the_entry_is_the_name_before_the_slash() -> None:
    """Backends of one entry share what is true of the endpoint."""
    assert BackendConfig(**HTTP | {"name": "openai/gpt-5"}).entry == "openai"
    assert BackendConfig(**HTTP | {"name": "router/openai/gpt-5"}).entry == "router"
    assert BackendConfig(**HTTP).entry == "a"


def test_types_are_taken_by_value_and_by_name() -> None:
    """What TOML and Python users write."""
    for spelling in ("openai", "OPENAI_COMPATIBLE", "openai-compatible"):
        backend = BackendConfig(**HTTP | {"backend_type": spelling})
        assert backend.backend_type is BackendType.OPENAI_COMPATIBLE
    assert RouteConfig(**ROUTE, routing_strategy="Failover").routing_strategy is LoadBalanceStrategy.FAILOVER


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": ""},
        {"name": "a b"},
        {"name": "/m"},
        {"name": "a/"},
        {"name": None},
        {"backend_type": "auto"},
        {"backend_type": "openia"},
        {"backend_type": 3},
        {"enabled": 1},
        {"weight": 0},
        {"weight": -1},
        {"weight": True},
        {"weight": float("nan")},
        {"weight": "1"},
        {"timeout": 0},
        {"timeout": True},
        {"timeout": float("inf")},
        {"timeout": 10**400},
        {"rate_limit_tpm": 10**400},
        {"timeout": "5"},
        {"max_parallel_requests": 10_001},
        {"max_retries": -1},
        {"max_retries": True},
        {"max_retries": 1.0},
        {"rate_limit_rpm": 0},
        {"rate_limit_tpm": -5},
        {"model": None},
        {"model": ""},
        {"model": "a b"},
        {"base_url": None},
        {"base_url": "ftp://h"},
        {"base_url": "h/v1"},
        {"base_url": "http://"},
        {"base_url": "http://h:99999/"},
        {"base_url": "http://h/#x"},
        {"base_url": "http://h/v1/chat/completions"},
        {"base_url": "http://[::1"},
        {"base_url": "http://h/a b"},
        {"base_url": 5},
        {"api_key": ""},
        {"api_key": "a\nb"},
        {"api_key": 5},
        {"auth_header": "a b"},
        {"auth_header": ""},
        {"auth_scheme": None},
        {"headers": ["a"]},
        {"headers": {"a b": "c"}},
        {"headers": {"X-A": "a\r\nb: c"}},
        {"headers": {"X-A": 5}},
        {"max_parallel_requests": 0},
        {"idempotent": None},
        {"options": {"a": {1}}},
        {"options": []},
        {"supports": "tools"},
        {"supports": ["sight"]},
        {"supports": 5},
        {"context_window": 0},
        {"context_window": 1.5},
        {"entry": "a/b"},
    ],
    ids=str,
)
def test_a_wrong_backend_is_refused_by_field_value_and_fix(wrong: dict[str, Any]) -> None:
    """The text is enough to repair the entry."""
    (name,) = wrong
    with pytest.raises(ConfigurationError, match=rf"^BackendConfig\.{name}.* = .*: \w+"):
        BackendConfig(**HTTP | wrong)


def test_options_are_nested_as_deep_as_they_can_be_frozen() -> None:
    """One level more is refused by name, though nothing is in it."""
    options: dict[str, Any] = {}
    for _ in range(MAX_DEPTH - 1):
        options = {"a": options}
    assert BackendConfig(**HTTP, options=options).options == options
    with pytest.raises(ConfigurationError, match=r"^BackendConfig\.options\.a.* nested too deeply"):
        BackendConfig(**HTTP, options={"a": options})


def test_a_credential_in_the_url_is_refused_and_not_shown() -> None:
    """A URL is written to logs; a key is not."""
    with pytest.raises(ConfigurationError, match="api_key") as caught:
        BackendConfig(**HTTP | {"base_url": "https://user:hunter22@h/v1"})
    assert "hunter22" not in str(caught.value)


def test_a_backend_shows_none_of_its_secrets() -> None:
    """Not by repr, not by its dict, wherever the secret stands."""
    backend = BackendConfig(
        **HTTP | {"base_url": "https://h/v1?key=hunter22&v=1"},
        api_key="hunter22",
        headers={"X-Api-Key": "hunter22", "X-Team": "blue"},
    )
    assert "hunter22" not in repr(backend)
    assert isinstance(backend.headers["X-Api-Key"], Secret)
    assert backend.headers["X-Team"] == "blue"
    assert "hunter22" not in repr(attrs.asdict(attrs.evolve(backend, base_url=HTTP["base_url"])))
    assert backend.api_key == Secret("hunter22")
    assert BackendConfig(**HTTP, api_key=EnvSecret("X")).api_key == EnvSecret("X")


def test_a_key_in_the_query_of_a_url_is_masked_wherever_it_comes_back() -> None:
    """Some gateways take it there, and quote it in their errors."""
    BackendConfig(**HTTP | {"base_url": "https://h/v1?api-version=2024-10-21&key=hunter%2Fquery"})
    assert redact("refused hunter/query for 2024-10-21") == "refused [redacted] for 2024-10-21"


@pytest.mark.parametrize("name", ["connect", "first_token", "idle", "total"])
@pytest.mark.parametrize("value", [0, -1, True, float("nan"), float("inf"), None, "1"])
def test_a_timeout_is_a_number_of_seconds_above_0(name: str, value: Any) -> None:
    """None would mean for ever, and nothing waits for ever."""
    with pytest.raises(ConfigurationError, match=rf"^Timeouts\.{name} = "):
        Timeouts(**{name: value})


@pytest.mark.parametrize(
    ("cls", "base", "wrong"),
    [
        (Limits, {}, {"rpm": 0}),
        (Limits, {}, {"tpm": 1.5}),
        (TargetConfig, {"backend": "a"}, {"backend": "a b"}),
        (TargetConfig, {"backend": "a"}, {"weight": 0}),
        (RouteConfig, ROUTE, {"name": ""}),
        (RouteConfig, ROUTE, {"targets": []}),
        (RouteConfig, ROUTE, {"targets": "a"}),
        (RouteConfig, ROUTE, {"targets": ["a", "a"]}),
        (RouteConfig, ROUTE, {"routing_strategy": "random"}),
        (RouteConfig, ROUTE, {"routing_strategy": 7}),
        (RouteConfig, ROUTE, {"routing_strategy": Mine}),
        (RouteConfig, ROUTE, {"allowed_fails": 0}),
        (RouteConfig, ROUTE, {"cooldown_time": 0}),
        (RouteConfig, ROUTE, {"slow_start": -1}),
        (HealthConfig, {}, {"probe_interval": 0}),
        (HealthConfig, {}, {"probe_timeout": 0}),
        (RouteConfig, ROUTE, {"fallbacks": "smart"}),
        (RouteConfig, ROUTE, {"context_window_fallbacks": ["smart", "smart"]}),
        (RouteConfig, ROUTE, {"content_policy_fallbacks": [""]}),
        (RouteConfig, ROUTE, {"fallbacks": [7]}),
        (QuotaConfig, {}, {"requests_per_hour": 0}),
        (QuotaConfig, {}, {"requests_per_day": True}),
        (RuntimeSettings, {}, {"model": ""}),
        (RuntimeSettings, {}, {"timeout": 0}),
        (RuntimeSettings, {}, {"num_retries": -1}),
        (RuntimeSettings, {}, {"max_open_requests": 0}),
        (RuntimeSettings, {}, {"max_open_bytes": 0.5}),
        (RuntimeSettings, {}, {"critical_share": 1.0}),
        (RuntimeSettings, {}, {"critical_share": -0.1}),
        (RuntimeSettings, {}, {"ageing": 0}),
        (RuntimeSettings, {}, {"retry_budget": -0.1}),
        (RuntimeSettings, {}, {"retry_burst": -1}),
        (RuntimeSettings, {}, {"retry_burst": 2.5}),
        (RuntimeSettings, {}, {"stop_timeout": -1}),
        (RuntimeSettings, {}, {"reader_timeout": 0}),
        (RuntimeSettings, {}, {"control": 1}),
    ],
    ids=str,
)
def test_every_other_setting_is_checked(cls: type, base: dict[str, Any], wrong: dict[str, Any]) -> None:
    """No class of the configuration lets a wrong value through."""
    (name,) = wrong
    with pytest.raises(ConfigurationError, match=rf"^{cls.__name__}\.{name} = .*: \w+"):
        cls(**base | wrong)


@pytest.mark.parametrize(
    ("kind", "supports"),
    [
        (BackendType.OPENAI_COMPATIBLE, set(Capability)),
        (BackendType.REPLAYED, set(Capability)),
        (BackendType.EMBEDDED, {Capability.JSON_SCHEMA}),
        (BackendType.COPILOT_CLI, set()),
        (BackendType.GH_COPILOT, set()),
    ],
)
def test_what_a_backend_can_do_follows_its_type_unless_it_is_said(
    kind: BackendType, supports: set[Capability]
) -> None:
    """An endpoint is believed to do everything, a CLI nothing but text."""
    assert BackendConfig(**HTTP | {"backend_type": kind}).supports == supports
    said = BackendConfig(**HTTP | {"backend_type": kind}, supports=["Tools", Capability.IMAGES])
    assert said.supports == {Capability.TOOLS, Capability.IMAGES}
    assert "supports=['images', 'tools']" in repr(said)


def test_a_route_takes_a_strategy_of_ones_own() -> None:
    """As it is given; and of its class the fix is said."""
    mine = Mine()
    assert RouteConfig(**ROUTE, routing_strategy=mine).routing_strategy is mine
    with pytest.raises(
        ConfigurationError, match=r"RouteConfig\.routing_strategy = .*: give an instance of it: Mine\(\)$"
    ):
        RouteConfig(**ROUTE, routing_strategy=Mine)


def test_a_route_takes_backends_by_name_and_as_values() -> None:
    """In Python code the short forms are enough."""
    backend = BackendConfig(**HTTP)
    route = RouteConfig(name="r", targets=[backend, "b", TargetConfig("c", 2)])
    assert route.targets == (TargetConfig("a"), TargetConfig("b"), TargetConfig("c", 2))
