"""The public API as its users write it; a type checker must accept every line, and it is never run."""

from __future__ import annotations

import asyncio
import concurrent.futures
from collections.abc import Iterator
from pathlib import Path
from typing import Any, assert_type

import pykka

import showcaller
from showcaller import (
    Answered,
    BackendConfig,
    BackendResponse,
    ChatRequest,
    DeadlineExceededError,
    Errored,
    Outcome,
    Pending,
    RateLimitError,
    RequestContext,
    RequestPriority,
    ResponseTransform,
    ResponseTransformerBase,
    ResponseValidationError,
    RouteConfig,
    Runtime,
    RuntimeConfig,
    RuntimeSettings,
    Secret,
    ShowcallerError,
    StreamChunk,
    StreamInterruptedError,
    Submit,
    Timeouts,
    Usage,
    validate_response_content,
)
from showcaller.validators import finish_reason, is_json, json_schema, matches, non_empty

search = {"type": "function", "function": {"name": "search", "parameters": {"type": "object"}}}


def configuration() -> RuntimeConfig:
    """By hand, with the short forms."""
    return RuntimeConfig(
        runtime=RuntimeSettings(model="fast", timeout=60),
        backends=[
            BackendConfig(
                name="openai/gpt-5",
                backend_type="openai",
                base_url="https://api.openai.com/v1",
                model="gpt-5",
                api_key=Secret("a secret"),
                timeout=Timeouts(connect=5, total=90),
                headers={"X-Team": "a"},
            ),
            BackendConfig(name="local", backend_type="embedded", timeout=30, options={"n_ctx": 2048}),
        ],
        routes=[RouteConfig(name="fast", routing_strategy="weighted", targets=["openai/gpt-5", "local"])],
    )


def starting() -> None:
    """From a file, a path, a value, and from what is there."""
    for config in ("showcaller.toml", Path("showcaller.toml"), configuration(), None):
        with Runtime.start(config) as runtime:
            assert_type(runtime, Runtime)
            runtime.stop(5)


def asking(runtime: Runtime) -> None:
    """Text, messages, whole requests, and every option."""
    response = runtime.ask("Say hello", model="fast", timeout=30)
    assert_type(response, BackendResponse)
    assert_type(response.content, str)
    assert_type(response.usage, Usage)
    messages: list[dict[str, Any]] = [{"role": "user", "content": "hello"}]
    messages.append(dict(response.message))
    runtime.ask(messages, tools=[search], temperature=0, max_tokens=10, seed=1, priority="high")
    runtime.ask([{"role": "user", "content": "hello"}], priority=RequestPriority.HIGH, coalesce=True)
    runtime.ask(ChatRequest("hello", max_tokens=3), context=RequestContext(tenant="t"), idempotent=False)
    try:
        runtime.ask("hello", response_format={"type": "json_object"}, extra_body={"top_k": 1})
    except RateLimitError as error:
        assert_type(error.retry_after, float | None)
    except DeadlineExceededError as error:
        assert_type(error.maybe_executed, bool)
    except TimeoutError:
        return
    except ShowcallerError as error:
        assert_type(error.message, str)


def log(outcome: Outcome) -> None:
    """A callback."""
    match outcome:
        case Answered():
            assert_type(outcome.response, BackendResponse)
        case Errored():
            assert_type(outcome.error, ShowcallerError)
    assert_type(outcome.unwrap(), BackendResponse)


def futures(runtime: Runtime) -> None:
    """A Pending is a future of the standard library's."""
    pending = runtime.submit("hello")
    assert_type(pending, Pending)
    future: concurrent.futures.Future[BackendResponse] = pending
    assert_type(future.result(3), BackendResponse)
    pending.add_done_callback(print)
    for done in concurrent.futures.as_completed([pending]):
        assert_type(done.result(), BackendResponse)
    assert_type(runtime.tell("hello", on_outcome=log), str)
    assert_type(runtime.cancel(pending.request_id), bool)


def streams(runtime: Runtime) -> Iterator[str]:
    """Read in a block."""
    with runtime.stream("A story", max_tokens=100) as stream:
        try:
            for chunk in stream:
                assert_type(chunk, StreamChunk)
                yield chunk.text
        except StreamInterruptedError as error:
            yield error.partial
        assert_type(stream.response, BackendResponse)


def many(runtime: Runtime) -> None:
    """Texts, messages, and a generator of both."""
    assert_type(runtime.ask_many(["one", "two"], max_concurrency=3, temperature=0), list[Outcome])
    runtime.ask_many(ChatRequest(text) for text in ("one", "two"))


async def from_asyncio(runtime: Runtime) -> None:
    """The same, awaited."""
    assert_type(await runtime.ask_async("hello"), BackendResponse)
    assert_type(await runtime.submit("hello"), BackendResponse)
    await asyncio.wait_for(runtime.submit("hello"), 3)
    one, two = await asyncio.gather(runtime.ask_async("one"), runtime.submit("two"))
    assert_type(one, BackendResponse)
    assert_type(two, BackendResponse)
    async with runtime.stream_async("A story") as stream:
        async for chunk in stream:
            assert_type(chunk, StreamChunk)
        assert_type(await stream.response(), BackendResponse)
    async for index, outcome in runtime.ask_many_async(["one", "two"]):
        assert_type(index, int)
        assert_type(outcome, Answered | Errored)


def the_rest(runtime: Runtime) -> None:
    """What is known, the backends, and the supervisor."""
    status = runtime.status()
    assert_type(status.account.open, int)
    assert_type([backend.name for backend in status.backends], list[str])
    runtime.backends.add(BackendConfig(name="more", backend_type="embedded"))
    assert_type(runtime.backends.drain("more", 3), int)
    assert_type(runtime.backends.remove("more"), int)
    assert_type(list(runtime.backends), list[str])
    supervisor: pykka.ActorRef[Any] = runtime.supervisor
    supervisor.tell(Submit(ChatRequest("hello")))
    supervisor.ask(Submit(ChatRequest("hello")), timeout=3)
    assert_type(runtime.recorder.get_recordings("local", success_only=True)[0].prompt, str)
    assert_type(showcaller.Usage(input_tokens=1).total_tokens, int)


def refused(runtime: Runtime) -> None:
    """What a type checker must not let pass: a needless ignore is an error too."""
    runtime.ask("hello", tempperature=1)  # type: ignore[call-arg]
    runtime.ask(3)  # type: ignore[arg-type]
    runtime.ask("hello", timeout="3")  # type: ignore[arg-type]
    runtime.tell("hello", on_outcome=3)  # type: ignore[arg-type]
    runtime.ask("hello").content = "other"  # type: ignore[misc]


class Shout(ResponseTransformerBase):
    """A transformer of one's own."""

    def transform(self, text: str) -> str:
        """Loudly."""
        return text.upper()


def polite(response: BackendResponse) -> str | None:
    """A validator of one's own."""
    return None if response.content else "no word"


def validated(runtime: Runtime) -> Any:
    """Transforms and validators in each of their forms."""
    try:
        response = runtime.ask(
            "x",
            transforms=["strip_whitespace", ResponseTransform.EXTRACT_JSON, Shout(), str.strip, lambda t: t],
            validators=[
                non_empty,
                is_json,
                polite,
                matches("a"),
                finish_reason("stop"),
                lambda r: bool(r.content),
            ],
        )
    except ResponseValidationError as error:
        return assert_type(error.content, str)
    request = ChatRequest("x", transforms=[str.strip], validators=[json_schema({"type": "object"})])
    assert_type(validate_response_content("x", non_empty), bool)
    return runtime.ask(request, validators=None).parsed or response.parsed
