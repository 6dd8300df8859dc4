"""Fallbacks by cause with a real server, which refuses as OpenAI does, and a real model in the process."""

from __future__ import annotations

from typing import Any

import pytest
from pytest_httpserver import HTTPServer

from showcaller.actors.backend_config import BackendConfig
from showcaller.actors.configuration import RuntimeConfig
from showcaller.actors.errors import ConfigurationError
from showcaller.actors.route_config import RouteConfig
from showcaller.actors.settings import RuntimeSettings
from showcaller.runtime.runtime import Runtime

ANSWER = {
    "id": "1",
    "object": "chat.completion",
    "model": "m",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "hi"}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
}
ROUTES = {"first": "small", "general": "spare", "long": "big", "lenient": "open"}


def over_http(server: HTTPServer, name: str, **fields: Any) -> BackendConfig:
    """A backend whose calls come to a path of its own."""
    return BackendConfig(
        name=name,
        backend_type="openai",
        base_url=server.url_for(f"/{name}/v1"),
        model=f"m-{name}",
        api_key="the-key-of-the-tests",
        **fields,
    )


@pytest.mark.parametrize(
    ("status", "error", "answered"),
    [
        (503, {"message": "overloaded"}, "general"),
        (400, {"message": "too many tokens", "code": "context_length_exceeded"}, "long"),
        (400, {"message": "filtered", "code": "content_filter"}, "lenient"),
    ],
)
def test_each_refusal_goes_on_to_the_fallbacks_for_its_cause(
    httpserver: HTTPServer, status: int, error: dict[str, str], answered: str
) -> None:
    """One call there, one at the fallback, none anywhere else."""
    first, *others = ROUTES.values()
    httpserver.expect_request(f"/{first}/v1/chat/completions").respond_with_json(
        {"error": error}, status=status
    )
    for name in others:
        httpserver.expect_request(f"/{name}/v1/chat/completions").respond_with_json(ANSWER)
    fallbacks = {
        "fallbacks": ["general"],
        "context_window_fallbacks": ["long"],
        "content_policy_fallbacks": ["lenient"],
    }
    config = RuntimeConfig(
        runtime=RuntimeSettings(model="first", control=False),
        backends=[over_http(httpserver, name) for name in ROUTES.values()],
        routes=[
            RouteConfig(name=route, targets=[name], **(fallbacks if route == "first" else {}))
            for route, name in ROUTES.items()
        ],
    )
    with Runtime.start(config) as runtime:
        response = runtime.ask("hello", timeout=20)
    assert (response.route, response.backend, response.attempts) == (answered, ROUTES[answered], 2)
    paths = [request.path.split("/")[1] for request, _ in httpserver.log]
    assert paths == [first, ROUTES[answered]]


def test_a_model_in_the_process_gets_no_tools() -> None:
    """It would leave them out without a word: refused at the door, before the model is even loaded."""
    config = RuntimeConfig(
        runtime=RuntimeSettings(control=False),
        backends=[BackendConfig(name="local", backend_type="embedded")],
    )
    tool = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
    with (
        Runtime.start(config) as runtime,
        pytest.raises(ConfigurationError, match="local: does not support tools"),
    ):
        runtime.ask("hello", tools=[tool])
