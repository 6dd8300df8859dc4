"""Streamed completions: chunk by chunk into one message, and never a truncated one."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from showcaller.actors.errors import BackendError, MalformedResponseError, RateLimitError, ServerError
from showcaller.actors.models import Usage
from showcaller.actors.transport import Chunk, Done
from showcaller.runtime.wire.chat import Reading
from showcaller.runtime.wire.chat_stream import StreamAccumulator
from showcaller.runtime.wire.sse import SseEvent

READING = Reading(backend="b", model="asked", payload_bytes=4, now=0.0)
DONE = "[DONE]"


def delta(finish_reason: Any = None, index: Any = 0, **fields: Any) -> dict[str, Any]:
    """A chunk with one choice."""
    return {"model": "m", "choices": [{"index": index, "delta": fields, "finish_reason": finish_reason}]}


def call(index: Any, **fields: Any) -> dict[str, Any]:
    """A chunk with one piece of a tool call; `arguments` and `name` go into its function."""
    function = {key: fields.pop(key) for key in ("name", "arguments") if key in fields}
    return delta(tool_calls=[{"index": index, "function": function, **fields}])


def run(*chunks: Any, unterminated: SseEvent | None = None) -> tuple[list[Chunk], Done]:
    """Feed chunks (documents, raw strings or events) and finish."""
    accumulator = StreamAccumulator(READING)
    found = []
    for chunk in chunks:
        if not isinstance(chunk, SseEvent):
            chunk = SseEvent(chunk if isinstance(chunk, str) else json.dumps(chunk))
        piece = accumulator.feed(chunk)
        if piece is not None:
            found.append(piece)
    return found, accumulator.finish(unterminated)


def test_content_is_joined_and_usage_comes_last() -> None:
    """The shape that most servers send: role first, usage in a last chunk without choices."""
    chunks, done = run(
        delta(role="assistant", content=None),
        delta(content="Hel"),
        delta(content="lo"),
        delta("stop"),
        {"model": "m", "choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 2}},
        DONE,
    )
    assert [chunk.text for chunk in chunks] == ["Hel", "lo"]
    assert chunks[0].delta == {"content": "Hel"}
    assert done == Done(
        message={"role": "assistant", "content": "Hello"},
        finish_reason="stop",
        usage=Usage(input_tokens=3, output_tokens=2),
        model="m",
    )


@pytest.mark.parametrize(
    "first",
    [
        {"choices": []},
        {"choices": None},
        {},
        {"choices": [{"index": 0}]},
        {"choices": [{"index": 0, "delta": None}]},
        {"choices": [{"index": 1, "delta": {"content": "other"}}]},
        delta(role="assistant", content=""),
        "",
    ],
)
def test_a_chunk_that_carries_nothing_is_passed_over(first: Any) -> None:
    """Prompt filter results, keep-alives, roles and other choices are no piece of the answer."""
    chunks, done = run(first, delta(content="x"), DONE)
    assert [chunk.text for chunk in chunks] == ["x"]
    assert done.message["content"] == "x"


def test_tool_calls_are_merged_by_index() -> None:
    """Interleaved pieces of two calls, with content null."""
    chunks, done = run(
        call(0, id="a", type="function", name="f", arguments=""),
        call(1, id="b", type="function", name="g", arguments="{"),
        call(0, arguments='{"x":'),
        call(1, arguments="}"),
        call(0, id="a", arguments="1}"),
        delta("tool_calls"),
        DONE,
    )
    assert len(chunks) == 5
    assert done.message == {
        "role": "assistant",
        "content": None,
        "tool_calls": [
            {"id": "a", "type": "function", "function": {"name": "f", "arguments": '{"x":1}'}},
            {"id": "b", "type": "function", "function": {"name": "g", "arguments": "{}"}},
        ],
    }


@pytest.mark.parametrize("index", [0, None])
def test_a_new_id_is_a_new_call_where_the_index_does_not_say(index: int | None) -> None:
    """Servers that send index 0 for every call, or none."""
    _, done = run(
        call(index, id="a", name="f", arguments="{}"), call(index, id="b", name="g", arguments="{}"), DONE
    )
    assert [one["id"] for one in done.message["tool_calls"]] == ["a", "b"]


def test_arguments_that_came_as_an_object_become_text() -> None:
    """Some servers send the object itself."""
    _, done = run(call(0, id="a", name="f", arguments={"x": 1}), DONE)
    assert done.message["tool_calls"][0]["function"]["arguments"] == '{"x": 1}'


def test_reasoning_refusal_and_the_unknown_are_kept() -> None:
    """Strings of known kinds are joined, lists extended, the rest kept as it came last."""
    chunks, done = run(
        delta(reasoning_content="h"),
        delta(reasoning_content="m"),
        delta(refusal="N"),
        delta(refusal="o"),
        delta(annotations=[1]),
        delta(annotations=[2]),
        delta(audio={"id": "x"}),
        delta(function_call={"name": "f", "arguments": "{"}),
        delta(function_call={"arguments": "}"}),
        delta("stop"),
    )
    assert len(chunks) == 9
    assert done.message == {
        "role": "assistant",
        "content": None,
        "reasoning_content": "hm",
        "refusal": "No",
        "annotations": [1, 2],
        "audio": {"id": "x"},
        "function_call": {"name": "f", "arguments": "{}"},
    }


def test_absent_usage_is_estimated() -> None:
    """From the payload and from what was said."""
    _, done = run(delta(content="12345"), delta("length"), DONE)
    assert done.usage == Usage(input_tokens=1, output_tokens=2, estimated=True)
    assert done.finish_reason == "length"


CHUNKS = (delta(role="assistant"), delta(content="a"), delta(content="b"), delta("stop"), DONE)


@pytest.mark.parametrize("kept", range(len(CHUNKS) + 1))
def test_a_stream_cut_before_its_finish_reason_is_truncated(kept: int) -> None:
    """At every boundary; from the finish reason on the answer is whole."""
    if kept >= 4:
        assert run(*CHUNKS[:kept])[1].message["content"] == "ab"
    else:
        with pytest.raises(MalformedResponseError, match="truncated"):
            run(*CHUNKS[:kept])


def test_done_alone_completes_a_stream_too() -> None:
    """A server that never gives a finish reason."""
    assert run(delta(content="a"), DONE)[1].finish_reason is None
    assert run(delta(content="a"), unterminated=SseEvent(DONE))[1].message["content"] == "a"


@pytest.mark.parametrize("chunks", [(DONE,), (delta("stop"), DONE), (delta(role="assistant"), DONE)])
def test_an_empty_stream_is_a_failure(chunks: tuple[Any, ...]) -> None:
    """Ended by the book, and still no answer."""
    with pytest.raises(MalformedResponseError, match="empty"):
        run(*chunks)


@pytest.mark.parametrize(
    ("chunk", "kind"),
    [
        ({"error": {"message": "boom"}}, ServerError),
        ({"error": {"code": 429}, "choices": []}, RateLimitError),
        ({"choices": [{"index": 0, "delta": {}, "error": {"code": 502}}]}, ServerError),
        (SseEvent('{"message": "boom"}', "error"), ServerError),
        (SseEvent('{"error": {"code": 429}}', "error"), RateLimitError),
        (SseEvent("boom", "error"), ServerError),
        (delta("error"), ServerError),
    ],
)
def test_an_error_inside_the_stream_is_an_error(chunk: Any, kind: type[BackendError]) -> None:
    """Also after valid chunks."""
    with pytest.raises(kind) as caught:
        run(delta(content="a"), chunk, DONE)
    assert caught.value.maybe_executed


def test_an_error_line_that_the_stream_broke_off_in_is_an_error() -> None:
    """The bare `error:` line, with nothing after it."""
    with pytest.raises(RateLimitError):
        run(delta(content="a"), unterminated=SseEvent('{"code": 429}', "error"))


@pytest.mark.parametrize(
    "chunk",
    [
        "{",
        "null",
        "[1]",
        "hello",
        {"choices": {"a": 1}},
        delta(tool_calls="x"),
        delta(tool_calls=["x"]),
        delta(function_call="x"),
    ],
)
def test_a_chunk_of_another_form_is_malformed(chunk: Any) -> None:
    """Garbage in the stream is never skipped."""
    with pytest.raises(MalformedResponseError):
        run(delta(content="a"), chunk, DONE)


values = st.recursive(
    st.none() | st.booleans() | st.integers(-1, 2) | st.sampled_from(["", "a", "error", "stop"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "choices",
                    "delta",
                    "content",
                    "tool_calls",
                    "function",
                    "arguments",
                    "name",
                    "index",
                    "id",
                    "role",
                    "finish_reason",
                    "usage",
                    "model",
                    "error",
                    "text",
                    "refusal",
                    "function_call",
                    "audio",
                ]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=20,
)
deltas = values.map(lambda value: {"choices": [{"index": 0, "delta": value}]})


@given(st.lists(values | deltas, max_size=4))
def test_any_documents_give_an_answer_or_a_backend_error(chunks: list[Any]) -> None:
    """Never an exception of another kind, and never an empty answer."""
    try:
        _, done = run(*(json.dumps(chunk) for chunk in chunks), DONE)
    except BackendError:
        return
    assert any(done.message.values())


@given(st.lists(st.text(max_size=10), min_size=1, max_size=20).filter(any))
def test_the_chunks_texts_are_the_message(texts: list[str]) -> None:
    """What was shown as it came is what the answer says at the end."""
    chunks, done = run(*(delta(content=text) for text in texts), delta("stop"), DONE)
    assert "".join(chunk.text for chunk in chunks) == done.message["content"] == "".join(texts)
