"""A configuration file becomes settings, or every problem in it is told at once."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from showcaller.actors.backend_config import Timeouts
from showcaller.actors.configuration import RuntimeConfig
from showcaller.actors.enums import BackendType, Capability, LoadBalanceStrategy
from showcaller.actors.errors import ConfigurationError
from showcaller.actors.route_config import TargetConfig
from showcaller.actors.secrets import EnvSecret, FileSecret
from showcaller.actors.settings import HealthConfig
from showcaller.runtime.config import load_config, parse_config
from showcaller.runtime.presets import PRESETS

DOCS = Path(__file__).parents[2] / "docs" / "configuration.md"

FULL = """
version = 1
[runtime]
model = "fast"
timeout = 100
num_retries = 0
[backends.openai]
type = "openai"
models = ["gpt-5-mini", "gpt-5"]
max_parallel_requests = 8
timeout = { first_token = 20, total = 90 }
limits = { rpm = 500, tpm = 200_000 }
headers = { X-Team = "blue", X-Api-Key = { env = "TEAM_KEY" } }
[backends.local]
type = "embedded"
options = { n_ctx = 2048 }
supports = ["json_schema"]
context_window = 2048
[routes.fast]
routing_strategy = "weighted"
targets = [ { backend = "openai/gpt-5-mini", weight = 3 }, "local" ]
allowed_fails = 4
cooldown_time = 2
slow_start = 10
fallbacks = ["gpt-5", "local"]
context_window_fallbacks = ["openai/gpt-5"]
content_policy_fallbacks = ["local"]
[quota]
requests_per_hour = 1000
[health]
probe_interval = 30
probe_timeout = 2.5
"""

WRONG = """
version = 2
runtimee = 1
[runtime]
modle = "fast"
timeout = 0
num_retries = true
[backends.openai]
type = "openai"
api_key = [1]
models = ["gpt-5-mini"]
max_paralel_requests = 64
weight = -1
timeout = { conect = 5, total = -90 }
limits = { rpm = 0, tpmm = 200_000 }
[backends.local]
type = "embeded"
[backends."a b"]
type = "openai"
model = "m"
[backends.c]
type = "copilot"
[backends.d]
model = "x"
[backends.e]
type = "openai"
[backends.f]
type = "openai"
model = "a"
models = ["b"]
[backends.gap]
type = "ollama"
model = "m"
supports = ["sight"]
context_window = 0
[routes.fast]
routing_strategy = "wheel"
targets = [ { backend = "openai/gpt-5-mini", weight = 0 }, { backnd = "local" } ]
cooldown_time = "5"
fallbaks = ["x"]
fallbacks = ["x", "x"]
[routes.slow]
[quota]
usd_per_day = 3
[health]
probe_intervall = 30
probe_timeout = 0
"""

PROBLEMS = [
    'runtimee: no such key; did you mean "runtime"?',
    "version = 2: this version of Showcaller reads version = 1",
    'runtime.modle: no such key; did you mean "model"?',
    "runtime.timeout = 0: use seconds greater than 0",
    "runtime.num_retries = True: use a whole number, 0 or more",
    "quota.usd_per_day: no such key",
    'health.probe_intervall: no such key; did you mean "probe_interval"?',
    "health.probe_timeout = 0: use seconds greater than 0",
    "backends.openai.api_key = <list>: use { env =",
    'backends.openai.max_paralel_requests: no such key; did you mean "max_parallel_requests"?',
    "backends.openai.weight = -1: use a number greater than 0",
    'backends.openai.timeout.conect: no such key; did you mean "connect"?',
    "backends.openai.timeout.total = -90: use seconds greater than 0",
    'backends.openai.limits.tpmm: no such key; did you mean "tpm"?',
    "backends.openai.limits.rpm = 0: use requests a minute, 1 or more",
    "backends.local.type = 'embeded': no such type; did you mean \"embedded\"?",
    "backends.a b.name = 'a b': use",
    "backends.c.type = 'copilot': the Copilot CLI is not driven by this version",
    "backends.d.type: is missing",
    "backends.e.model = None: name the model",
    "backends.f.model = 'a': give model or models, not both",
    "routes.fast.targets[0].weight = 0: use a number greater than 0",
    "routes.fast.targets[1].backend: is missing",
    'routes.fast.targets[1].backnd: no such key; did you mean "backend"?',
    'routes.fast.fallbaks: no such key; did you mean "fallbacks"?',
    "routes.fast.fallbacks = ['x', 'x']: list routes, backends or models, each once",
    "backends.gap.supports = 'sight': use one of tools, images, json_schema",
    "backends.gap.context_window = 0: use a number of tokens, 1 or more",
    "routes.fast.routing_strategy = 'wheel': use one of",
    "routes.fast.cooldown_time = '5': use seconds greater than 0",
    "routes.slow.targets: is missing",
]

json_like = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


def _mostly(keys: str, **known: Any) -> st.SearchStrategy[dict[str, Any]]:
    """Tables with known keys and any values, and now and then an unknown key."""
    some = dict.fromkeys(keys.split(), json_like) | known
    return st.fixed_dictionaries({}, optional=some | {"unheard_of": json_like}) | st.dictionaries(
        st.text(max_size=6), json_like, max_size=2
    )


tables_of_backends = _mostly(
    "type model models base_url api_key auth_header auth_scheme headers enabled weight limits max_retries "
    "max_parallel_requests idempotent options context_window supports",
    type=st.sampled_from([*PRESETS, "copilot", "x"]),
    model=st.just("m") | json_like,
    api_key=_mostly("env file command timeout") | json_like,
    timeout=_mostly("connect first_token idle total") | json_like,
)
documents = _mostly(
    "version",
    version=st.just(1) | json_like,
    runtime=_mostly("model timeout num_retries stop_timeout") | json_like,
    backends=st.dictionaries(st.sampled_from(["a", "b", "a/b", ""]), tables_of_backends | json_like),
    routes=st.dictionaries(
        st.sampled_from(["r", "a"]),
        _mostly(
            "routing_strategy allowed_fails name content_policy_fallbacks",
            fallbacks=st.lists(st.sampled_from(["a", "b", "r", "c"])) | json_like,
            targets=st.lists(_mostly("backend weight") | st.sampled_from(["a", "b", "c"]) | json_like),
        )
        | json_like,
    ),
    quota=_mostly("requests_per_hour requests_per_day") | json_like,
    health=_mostly("probe_interval probe_timeout") | json_like,
)


def _file(folder: Path, text: str) -> Path:
    path = folder / "showcaller.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_file_becomes_settings(tmp_path: Path) -> None:
    """Every table of the schema, in one file."""
    config = load_config(_file(tmp_path, FULL), environ={})
    mini, big, local = config.backends
    assert (mini.name, mini.model, mini.entry) == ("openai/gpt-5-mini", "gpt-5-mini", "openai")
    assert (big.name, big.entry) == ("openai/gpt-5", "openai")
    assert mini.backend_type is BackendType.OPENAI_COMPATIBLE
    assert mini.base_url == "https://api.openai.com/v1"
    assert mini.api_key == EnvSecret("OPENAI_API_KEY")
    assert mini.timeout == Timeouts(connect=5, first_token=20, idle=15, total=90)
    assert (mini.rate_limit_rpm, mini.rate_limit_tpm, mini.max_parallel_requests) == (500, 200_000, 8)
    assert mini.headers == {"X-Team": "blue", "X-Api-Key": EnvSecret("TEAM_KEY")}
    assert (local.name, local.model, local.options) == ("local", "smollm2", {"n_ctx": 2048})
    (fast,) = config.routes
    assert fast.routing_strategy is LoadBalanceStrategy.WEIGHTED
    assert fast.targets == (TargetConfig("openai/gpt-5-mini", 3), TargetConfig("local"))
    assert (fast.allowed_fails, fast.cooldown_time, fast.slow_start) == (4, 2, 10)
    assert fast.fallbacks == ("gpt-5", "local")
    assert fast.context_window_fallbacks == ("openai/gpt-5",)
    assert fast.content_policy_fallbacks == ("local",)
    assert (local.supports, local.context_window) == ({Capability.JSON_SCHEMA}, 2048)
    assert (mini.supports, mini.context_window) == (set(Capability), None)
    assert (config.runtime.timeout, config.runtime.num_retries) == (100, 0)
    assert config.quota.requests_per_hour == 1000
    assert config.health == HealthConfig(probe_interval=30, probe_timeout=2.5)
    assert config.route_for(None).name == "fast"


def test_the_example_of_the_documentation_loads() -> None:
    """What the page shows is what the reader takes."""
    text = DOCS.read_text(encoding="utf-8").split("```toml\n")[1].split("```")[0]
    config = parse_config(tomllib.loads(text), environ={})
    assert {"fast", "openai/gpt-5", "local"} <= set(config.names)


def test_an_empty_file_is_a_configuration() -> None:
    """Backends may be added later."""
    assert parse_config({}, environ={}) == RuntimeConfig()


def test_every_problem_is_told_at_once(tmp_path: Path) -> None:
    """Each with its place, and where there is one, the nearest known name."""
    path = _file(tmp_path, WRONG)
    with pytest.raises(ConfigurationError) as caught:
        load_config(path, environ={})
    first, *lines = str(caught.value).splitlines()
    assert first == f"{path}: {len(lines)} problems"
    told = [line.strip() for line in lines]
    assert [problem for problem in PROBLEMS if not any(line.startswith(problem) for line in told)] == []
    assert [line for line in told if not any(line.startswith(problem) for problem in PROBLEMS)] == []


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"version = ", "no valid TOML"),
        (b"\xff\xfe", "not UTF-8"),
        (b"a = " + b"[" * 5000, "TOML|nested too deeply"),
        (b"a = " + b"1" * 5000, "more digits"),
        (None, "cannot be read"),
    ],
)
def test_a_file_that_cannot_be_read_says_why(content: bytes | None, told: str, tmp_path: Path) -> None:
    """One clear error, with the path."""
    path = tmp_path / "x.toml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigurationError, match=told) as caught:
        load_config(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("path", ["", "a\0b", "~no-such-user-here/x.toml"])
def test_what_is_no_path_of_a_file_is_refused(path: str) -> None:
    """A wrong argument is told like a wrong file."""
    with pytest.raises(ConfigurationError, match="SHOWCALLER_CONFIG"):
        load_config(path)


@pytest.mark.parametrize("given_as", [{"backends": {"b": {"api_key": "zebra"}}}, ["x.toml"], 3, b"x.toml"])
def test_what_is_no_path_at_all_is_refused_by_its_kind(given_as: Any) -> None:
    """A document in the place of a path is a mistake that is easily made, and may hold a secret."""
    with pytest.raises(ConfigurationError, match="give a RuntimeConfig, or the path") as caught:
        load_config(given_as)
    assert "zebra" not in str(caught.value)


def test_a_byte_order_mark_is_passed_over(tmp_path: Path) -> None:
    """It is what some editors mean by UTF-8."""
    path = tmp_path / "x.toml"
    path.write_bytes(b"\xef\xbb\xbfversion = 1\n")
    assert load_config(path) == RuntimeConfig()


@settings(max_examples=300, deadline=None)
@given(documents)
def test_nothing_but_a_configuration_error_comes_of_any_document(document: dict[str, Any]) -> None:
    """Whatever the tables hold, the reader gets settings or a list of problems."""
    try:
        config = parse_config(document, environ={"OPENAI_BASE_URL": "http://h/v1"})
    except ConfigurationError:
        return
    assert isinstance(config, RuntimeConfig)


def test_a_secrets_file_is_relative_to_the_configuration(tmp_path: Path) -> None:
    """Not to wherever the process happens to run."""
    text = '[backends.b]\ntype = "openai"\nmodel = "m"\napi_key = { file = "key" }'
    (backend,) = load_config(_file(tmp_path, text)).backends
    assert backend.api_key == FileSecret(tmp_path / "key")


def test_values_import_nothing_that_reading_needs() -> None:
    """cattrs, tomllib and requests load with what uses them."""
    code = (
        "import sys; before = set(sys.modules);"
        "import showcaller.actors.configuration, showcaller.actors.models, showcaller.actors.records;"
        "print([n for n in ('cattrs', 'tomllib', 'requests') if n in set(sys.modules) - before])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert run.stdout.strip() == "[]"
