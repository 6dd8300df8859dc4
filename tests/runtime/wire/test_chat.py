"""Request bodies and whole completions."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from showcaller.actors.content_text import text_of
from showcaller.actors.errors import (
    BackendError,
    ConfigurationError,
    ContentPolicyViolationError,
    MalformedResponseError,
    RateLimitError,
    ServerError,
)
from showcaller.actors.models import Usage
from showcaller.runtime.wire.chat import Reading, RequestBody, decode_completion, read_usage

READING = Reading(backend="b", model="asked", payload_bytes=41, now=0.0, secrets=("hunter2-hunter2",))
CALL = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}


def completion(message: Any, *, finish_reason: Any = "stop", **more: Any) -> bytes:
    """A completion's body."""
    choice = {"index": 0, "message": message, "finish_reason": finish_reason}
    return json.dumps({"model": "m", "choices": [choice], **more}).encode()


payloads = st.dictionaries(
    st.text().filter(lambda key: key not in ("model", "stream")), st.text(), max_size=4
)


@given(payloads, st.text(), st.booleans())
def test_a_payload_is_spliced_in_without_being_encoded_again(
    payload: dict[str, str], model: str, stream: bool
) -> None:
    """The body is the payload with model and stream; its bytes are the payload's."""
    raw = json.dumps(payload, separators=(",", ":")).encode()
    body = RequestBody.for_model(model).assemble(raw, stream=stream)
    added: dict[str, Any] = {"model": model}
    if stream:
        added |= {"stream": True, "stream_options": {"include_usage": True}}
    assert json.loads(body) == {**added, **payload}
    assert body.endswith(raw[1:])


@pytest.mark.parametrize("payload", [b"", b"[]", b"null", b"{", b'"x"'])
def test_a_payload_that_is_no_object_is_refused(payload: bytes) -> None:
    """A splice into anything else would send nonsense."""
    with pytest.raises(ConfigurationError, match="JSON object"):
        RequestBody.for_model("m").assemble(payload, stream=False)


def test_a_completion_gives_message_reason_usage_and_model() -> None:
    """And keeps the whole document as raw."""
    usage = {
        "prompt_tokens": 9,
        "completion_tokens": 5,
        "prompt_tokens_details": {"cached_tokens": 4},
        "completion_tokens_details": {"reasoning_tokens": 2},
    }
    body = completion({"role": "assistant", "content": "hi", "reasoning_content": "hm"}, usage=usage)
    done = decode_completion(body, READING)
    assert done.message == {"role": "assistant", "content": "hi", "reasoning_content": "hm"}
    assert (done.finish_reason, done.model) == ("stop", "m")
    assert done.usage == Usage(input_tokens=9, output_tokens=5, cached_tokens=4, reasoning_tokens=2)
    assert done.raw == json.loads(body)


@pytest.mark.parametrize(
    "message",
    [
        {"content": None, "tool_calls": [CALL]},
        {"content": "", "tool_calls": [CALL]},
        {"tool_calls": [CALL]},
        {"content": None, "refusal": "I will not"},
        {"content": [{"type": "text", "text": "hi"}]},
        {"content": [{"type": "image_url", "image_url": {"url": "data:,"}}]},
    ],
)
def test_no_content_is_fine_where_something_else_answers(message: dict[str, Any]) -> None:
    """Tool calls, a refusal or content in parts are answers; the role is filled in."""
    assert decode_completion(completion(message), READING).message == {"role": "assistant", **message}


def test_a_broken_character_costs_that_character_alone() -> None:
    """As in a stream; a byte order mark in front is no character."""
    body = b"\xef\xbb\xbf" + completion({"content": "Hello?"}).replace(b"?", b"\xff")
    assert decode_completion(body, READING).message["content"] == "Hello\ufffd"


@pytest.mark.parametrize(
    ("escaped", "text"),
    [
        (r"a\ud83d", "a\ufffd"),
        (r"\uDE00b", "\ufffdb"),
        (r"\ud83d\ude00", "\U0001f600"),
        (r"\\ud83d", r"\ud83d"),
    ],
)
def test_half_a_surrogate_pair_is_a_broken_character(escaped: str, text: str) -> None:
    """JSON can say it and UTF-8 cannot: no answer could be printed with it, or be a message of the next request."""
    body = completion({"content": "?"}).replace(b'"?"', b'{"%b": ["%b"]}' % ((escaped.encode(),) * 2))
    document = READING.document(body)
    assert document["choices"][0]["message"]["content"] == {text: [text]}


def test_absent_usage_is_estimated_and_says_so() -> None:
    """Four characters a token, rounded up."""
    done = decode_completion(completion({"content": "12345"}), READING)
    assert done.usage == Usage(input_tokens=11, output_tokens=2, estimated=True)


@pytest.mark.parametrize(
    ("usage", "found"),
    [
        (None, None),
        ({}, None),
        ([], None),
        ({"prompt_tokens": None, "completion_tokens": None}, None),
        ({"prompt_tokens": -1, "completion_tokens": True}, None),
        ({"prompt_tokens": 3}, Usage(input_tokens=3)),
        ({"completion_tokens": 3, "prompt_tokens_details": None}, Usage(output_tokens=3)),
        ({"prompt_tokens": 3, "prompt_tokens_details": {"cached_tokens": "2"}}, Usage(input_tokens=3)),
    ],
)
def test_only_counts_are_counted(usage: Any, found: Usage | None) -> None:
    """Nulls, negatives and other types count as absent."""
    assert read_usage(usage) == found


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b"<html>",
        b"\xff\xfe",
        b"{",
        b"{}",
        b'{"choices": []}',
        b'{"choices": [null]}',
        b'{"choices": [{}]}',
        b'{"choices": {"0": 1}}',
        b'{"choices": [{"message": "hi"}]}',
        b"[" * 100000,
    ],
)
def test_what_is_no_completion_is_malformed(body: bytes) -> None:
    """A proxy's page, a cut-off document, another API's answer."""
    with pytest.raises(MalformedResponseError) as caught:
        decode_completion(body, READING)
    assert caught.value.maybe_executed
    assert caught.value.backend == "b"


@pytest.mark.parametrize("calls", [{"a": 1}, "call", [[]], [CALL, None]])
def test_tool_calls_of_another_shape_are_malformed(calls: Any) -> None:
    """As in a stream; whoever carries them out would find something else."""
    with pytest.raises(MalformedResponseError, match="tool calls"):
        decode_completion(completion({"content": "hi", "tool_calls": calls}), READING)


@pytest.mark.parametrize(
    "message",
    [
        {},
        {"content": None},
        {"content": ""},
        {"content": "", "tool_calls": []},
        {"content": 5},
        {"content": [{"type": "text", "text": ""}]},
        {"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "hmm"}]}]},
    ],
)
def test_an_empty_completion_is_a_failure(message: dict[str, Any]) -> None:
    """An empty answer is never handed out as a success."""
    with pytest.raises(MalformedResponseError, match="empty"):
        decode_completion(completion(message), READING)


def test_an_empty_completion_at_its_length_names_the_fix() -> None:
    """A reasoning model that thought until max_tokens."""
    with pytest.raises(MalformedResponseError, match="raise max_tokens"):
        decode_completion(
            completion({"content": "", "reasoning_content": "hmm"}, finish_reason="length"), READING
        )


def test_an_answer_that_a_filter_emptied_is_a_policy_violation() -> None:
    """Another backend with the same prompt is not the cure."""
    with pytest.raises(ContentPolicyViolationError):
        decode_completion(completion({"content": ""}, finish_reason="content_filter"), READING)


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b'{"error": {"message": "boom"}}', ServerError),
        (b'{"error": {"code": 429}}', RateLimitError),
        (b'{"error": "boom", "choices": [{"message": {"content": "hi"}}]}', ServerError),
        (b'{"choices": [{"message": {"content": "hi"}, "error": {"code": 502}}]}', ServerError),
        (b'{"choices": [{"message": {"content": "hi"}, "finish_reason": "error"}]}', ServerError),
        (
            b'{"choices": [{"message": {"content": "hi"}, "finish_reason": "insufficient_system_resource"}]}',
            ServerError,
        ),
        (b'{"object": "error", "message": "slow down", "code": 429}', RateLimitError),
        (b'{"type": "error", "message": "boom"}', ServerError),
    ],
)
def test_an_error_in_a_200_is_an_error(body: bytes, kind: type[BackendError]) -> None:
    """On top of the document, in the choice, or as the finish reason."""
    with pytest.raises(kind):
        decode_completion(body, READING)


def test_a_body_that_echoes_a_secret_does_not_leak_it() -> None:
    """Neither does the reading's own repr."""
    with pytest.raises(MalformedResponseError) as caught:
        decode_completion(b"your key hunter2-hunter2", READING)
    assert "hunter2" not in str(caught.value)
    assert "hunter2" not in repr(READING)


def test_a_finish_reason_is_quoted_like_any_other_word_of_theirs() -> None:
    """Bounded, and without secrets."""
    with pytest.raises(MalformedResponseError) as caught:
        decode_completion(completion({}, finish_reason="hunter2-hunter2 " + "x" * 9000), READING)
    assert "hunter2" not in str(caught.value)
    assert len(str(caught.value)) < 300


def test_the_beginning_of_a_long_secret_is_not_quoted_either() -> None:
    """It is masked before anything is cut."""
    secret = "Zq7+" * 200
    reading = Reading(backend="b", model="m", payload_bytes=1, now=0.0, secrets=(secret,))
    with pytest.raises(MalformedResponseError) as caught:
        decode_completion(f"your key {secret}".encode(), reading)
    assert "Zq7" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("a", "a"),
        (None, ""),
        (5, ""),
        ([{"text": "a"}, {"type": "image"}, "x", {"text": None}, {"text": "b"}], "ab"),
    ],
)
def test_text_is_found_in_strings_and_parts(content: Any, text: str) -> None:
    """Some models answer in parts."""
    assert text_of(content) == text


@given(st.binary())
def test_arbitrary_bytes_raise_nothing_else(body: bytes) -> None:
    """A Done or a BackendError."""
    with pytest.raises(BackendError):
        decode_completion(body, READING)
