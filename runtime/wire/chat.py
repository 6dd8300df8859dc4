"""The OpenAI chat shapes: request bodies out, completions and streamed chunks in.

Nothing counts as an answer that is truncated, empty or an error in disguise.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, Self

from attrs import field, frozen

from showcaller.actors.content_text import text_of
from showcaller.actors.errors import (
    BackendError,
    ConfigurationError,
    ContentPolicyViolationError,
    MalformedResponseError,
)
from showcaller.actors.models import Usage
from showcaller.actors.transport import Done
from showcaller.runtime.wire.excerpt import excerpt
from showcaller.runtime.wire.failures import failure_inside_200

_CHARACTERS_PER_TOKEN = 4
# What makes a message an answer beside its content; reasoning alone is not one.
_ANSWERS = ("tool_calls", "refusal", "function_call", "audio")
# With these the backend says that it broke off: itself, DeepSeek, Zhipu, vLLM and SGLang.
_BROKEN_OFF = ("error", "insufficient_system_resource", "network_error", "abort")
# The escape of one half of a surrogate pair; JSON can say it, and UTF-8 cannot.
_HALF = re.compile(r"\\u[dD][89a-fA-F]")


@frozen
class RequestBody:
    """The beginnings of a model's request bodies; a payload is spliced in behind without decoding it."""

    plain: bytes
    streamed: bytes

    @classmethod
    def for_model(cls, model: str) -> Self:
        """The bodies that ask that model."""
        head = b'{"model":' + json.dumps(model).encode()
        return cls(head, head + b',"stream":true,"stream_options":{"include_usage":true}')

    def assemble(self, payload: bytes, *, stream: bool) -> bytes:
        """The whole body: `payload`, a JSON object without `model` and `stream`, with both put in.

        Raises:
            ConfigurationError: the payload does not begin as a canonical JSON object does.
        """
        if payload[:1] != b"{" or payload[-1:] != b"}":
            raise ConfigurationError("an attempt's payload must be a canonical JSON object")
        head = self.streamed if stream else self.plain
        return b"".join((head, b"," if len(payload) > 2 else b"", memoryview(payload)[1:]))


@frozen(kw_only=True)
class Reading:
    """What decoding an answer needs to know of its question.

    Attributes:
        backend: the backend's name, for error texts.
        model: the model that was asked, when the answer names none.
        payload_bytes: the length of the request's payload, for an estimate where usage is absent.
        now: wall-clock seconds since the epoch.
        secrets: what no error text may repeat.
    """

    backend: str
    model: str
    payload_bytes: int
    now: float
    secrets: tuple[str, ...] = field(default=(), repr=False)

    def malformed(self, what: str) -> MalformedResponseError:
        """The error for an answer that broke the protocol."""
        return MalformedResponseError(
            f"backend {self.backend!r} {what}", backend=self.backend, status=200, maybe_executed=True
        )

    def disguised(self, document: Any) -> BackendError:
        """The error that a document inside an answer of HTTP 200 reports."""
        return failure_inside_200(document, backend=self.backend, now=self.now, secrets=self.secrets)

    def document(self, data: bytes | str) -> dict[str, Any]:
        """The JSON object in `data`.

        Raises:
            MalformedResponseError: it is not a JSON object.
            BackendError: it reports an error.
        """
        # As in a stream, a broken character costs that character and not the answer.
        text = data.decode("utf-8-sig", "replace") if isinstance(data, bytes) else data
        try:
            document = json.loads(text)
            if _HALF.search(text):
                document = _in_unicode(document)
        except (ValueError, RecursionError):
            document = None
        if not isinstance(document, dict):
            raise self.malformed(
                f"answered with something that is not a JSON object: "
                f'"{excerpt(text, self.secrets, limit=80)}"; check its base_url'
            )
        if document.get("error") or "error" in (document.get("object"), document.get("type")):
            raise self.disguised(document)
        return document

    def done(
        self,
        message: Mapping[str, Any],
        finish_reason: Any,
        *,
        usage: Any,
        model: Any,
        raw: Mapping[str, Any] | None,
    ) -> Done:
        """The finished answer.

        Raises:
            ContentPolicyViolationError: nothing came because a content filter stopped it.
            MalformedResponseError: nothing came.
            BackendError: the finish reason is an error.
        """
        if finish_reason in _BROKEN_OFF:
            raise self.disguised({"error": f"the answer ended with finish_reason {finish_reason}"})
        calls = message.get("tool_calls")
        if calls and not (isinstance(calls, list) and all(isinstance(call, dict) for call in calls)):
            raise self.malformed("sent tool calls that are no list of objects")
        if not _says_something(message.get("content")) and not any(message.get(key) for key in _ANSWERS):
            if finish_reason == "content_filter":
                raise ContentPolicyViolationError(
                    f"backend {self.backend!r}: a content filter stopped the answer before its first word. "
                    "Fix: change the prompt, or choose a backend with another content policy.",
                    backend=self.backend,
                    status=200,
                    maybe_executed=True,
                )
            hint = "; raise max_tokens" if finish_reason == "length" else ""
            why = excerpt(str(finish_reason), self.secrets, limit=80)
            raise self.malformed(f"sent an empty answer (finish_reason {why!r}){hint}")
        return Done(
            message=message,
            finish_reason=finish_reason if isinstance(finish_reason, str) else None,
            usage=read_usage(usage) or self._estimate(message),
            model=model if isinstance(model, str) and model else self.model,
            raw=raw,
        )

    def _estimate(self, message: Mapping[str, Any]) -> Usage:
        said = sum(len(text_of(message.get(key))) for key in ("content", "refusal", "reasoning_content"))
        calls = message.get("tool_calls")
        if calls:
            said += len(json.dumps(calls))
        return Usage(
            input_tokens=-(-self.payload_bytes // _CHARACTERS_PER_TOKEN),
            output_tokens=-(-said // _CHARACTERS_PER_TOKEN),
            estimated=True,
        )


def decode_completion(body: bytes, reading: Reading) -> Done:
    """The answer in a chat completion's JSON body.

    Raises:
        MalformedResponseError: the body is not a completion, or the completion is empty.
        BackendError: the body reports an error although the status was 200.
    """
    document = reading.document(body)
    choices = document.get("choices")
    choice = choices[0] if isinstance(choices, list) and choices else None
    message = choice.get("message") if isinstance(choice, dict) else None
    if choice is None or not isinstance(message, dict):
        raise reading.malformed("sent a completion without choices[0].message; check its base_url")
    if choice.get("error"):
        raise reading.disguised(choice)
    return reading.done(
        {"role": "assistant", **message},
        choice.get("finish_reason"),
        usage=document.get("usage"),
        model=document.get("model"),
        raw=document,
    )


def read_usage(usage: Any) -> Usage | None:
    """The token counts of a `usage` object; None when it counts neither input nor output."""
    if not isinstance(usage, dict):
        return None
    read, written = _count(usage, "prompt_tokens"), _count(usage, "completion_tokens")
    if read is None and written is None:
        return None
    return Usage(
        input_tokens=read or 0,
        output_tokens=written or 0,
        cached_tokens=_count(usage.get("prompt_tokens_details"), "cached_tokens") or 0,
        reasoning_tokens=_count(usage.get("completion_tokens_details"), "reasoning_tokens") or 0,
    )


def _count(table: Any, key: str) -> int | None:
    value = table.get(key) if isinstance(table, dict) else None
    return value if type(value) is int and value >= 0 else None


def _says_something(content: Any) -> bool:
    if text_of(content):
        return True
    # An image, say; an empty text and a thought are none.
    return isinstance(content, list) and any(
        isinstance(part, dict) and part.get("type") not in (None, "text", "thinking", "reasoning")
        for part in content
    )


def _in_unicode(value: Any) -> Any:
    """A JSON value with U+FFFD in place of each half of a surrogate pair."""
    if isinstance(value, str):
        return value.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    if isinstance(value, list):
        return [_in_unicode(item) for item in value]
    if isinstance(value, dict):
        return {_in_unicode(key): _in_unicode(item) for key, item in value.items()}
    return value
