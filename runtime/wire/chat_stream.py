"""A streamed chat completion, event by event, into the one message it makes.

A stream is complete once a finish_reason or `[DONE]` was seen; one that ends before is truncated, no answer.
"""

from __future__ import annotations

import json
from typing import Any

from attrs import frozen

from showcaller.actors.content_text import text_of
from showcaller.actors.errors import BackendError
from showcaller.actors.transport import Chunk, Done
from showcaller.runtime.wire.chat import Reading
from showcaller.runtime.wire.sse import SseEvent

_JOINED = ("refusal", "reasoning_content", "reasoning")


@frozen
class _Call:
    """One tool call under way, and the index its pieces carry."""

    index: Any
    value: dict[str, Any]


class StreamAccumulator:
    """Collects the first choice of one stream.

    Attributes:
        complete: a finish_reason or `[DONE]` was seen, so that nothing of the answer is missing.
        ended: `[DONE]` was seen; nothing more is to come.
    """

    def __init__(self, reading: Reading) -> None:
        self._reading = reading
        self._content: list[str] = []
        self._joined: dict[str, list[str]] = {}
        self._calls: list[_Call] = []
        self._message: dict[str, Any] = {"role": "assistant", "content": None}
        self._finish_reason: Any = None
        self._usage: Any = None
        self._model: Any = None
        self.complete = False
        self.ended = False

    def feed(self, event: SseEvent) -> Chunk | None:
        """Take one event in; a Chunk when it carries a piece of the answer.

        Raises:
            MalformedResponseError: the event is not a completion chunk.
            BackendError: the event reports an error.
        """
        data = event.data.strip()
        if data == "[DONE]":
            self.ended = self.complete = True
            return None
        if event.kind == "error":
            raise self._error(data)
        if not data:
            return None
        document = self._reading.document(data)
        self._usage = document.get("usage") or self._usage
        self._model = document.get("model") or self._model
        choices = document.get("choices")
        if not choices:
            return None
        if not isinstance(choices, list):
            raise self._reading.malformed("sent a stream chunk whose choices are no list; check its base_url")
        for choice in choices:
            if isinstance(choice, dict) and choice.get("index") in (0, None):
                return self._choice(choice)
        return None

    def finish(self, unterminated: SseEvent | None = None) -> Done:
        """The whole answer, once the stream has ended.

        Args:
            unterminated: the event that the stream broke off in, as the decoder's `close` gives it.

        Raises:
            MalformedResponseError: the stream was truncated, or its answer is empty.
            BackendError: what it broke off in is an error report.
        """
        if not self.complete:
            if unterminated is not None and unterminated.kind == "error":
                raise self._error(unterminated.data.strip())
            if unterminated is None or unterminated.data.strip() != "[DONE]":
                raise self._reading.malformed("ended its stream without finish_reason or [DONE]: truncated")
        message = self._message
        for key, pieces in self._joined.items():
            message[key] = "".join(pieces)
        message["content"] = "".join(self._content) or None
        if self._calls:
            message["tool_calls"] = [call.value for call in self._calls]
        return self._reading.done(
            message, self._finish_reason, usage=self._usage, model=self._model, raw=None
        )

    def _error(self, data: str) -> BackendError:
        try:
            document = json.loads(data)
        except (ValueError, RecursionError):
            document = data
        if not (isinstance(document, dict) and "error" in document):
            document = {"error": document}
        return self._reading.disguised(document)

    def _choice(self, choice: dict[str, Any]) -> Chunk | None:
        if choice.get("error"):
            raise self._reading.disguised(choice)
        if choice.get("finish_reason"):
            self._finish_reason = choice["finish_reason"]
            self.complete = True
        delta = choice.get("delta")
        return self._delta(delta) if isinstance(delta, dict) else None

    def _delta(self, delta: dict[str, Any]) -> Chunk | None:
        text = ""
        carries = False
        for key, value in delta.items():
            if not value:
                continue
            if key == "role":
                self._message["role"] = value
                continue
            carries = True
            if key == "content":
                text = text_of(value)
                self._content.append(text)
            elif key == "tool_calls":
                self._tool_calls(value)
            elif key in _JOINED and isinstance(value, str):
                self._joined.setdefault(key, []).append(value)
            elif key == "function_call":
                if not isinstance(value, dict):
                    raise self._reading.malformed("sent a stream chunk whose function_call is no object")
                _merge_function(self._message.setdefault(key, {}), value)
            elif isinstance(value, list) and isinstance(self._message.get(key, []), list):
                self._message[key] = [*self._message.get(key, []), *value]
            else:
                self._message[key] = value
        return Chunk(text, delta) if carries else None

    def _tool_calls(self, pieces: Any) -> None:
        if not isinstance(pieces, list):
            raise self._reading.malformed("sent a stream chunk whose tool_calls are not a list")
        for piece in pieces:
            if not isinstance(piece, dict):
                raise self._reading.malformed("sent a stream chunk with a tool call that is not an object")
            call = self._call(piece.get("index"), piece.get("id"))
            for key, value in piece.items():
                if key == "function" and isinstance(value, dict):
                    _merge_function(call["function"], value)
                elif key not in ("index", "function") and value:
                    call.setdefault(key, value)

    def _call(self, index: Any, call_id: Any) -> dict[str, Any]:
        """The call a piece belongs to: the last with its index and no other id, or a new one.

        Some servers send no index, and some send index 0 for every call: there a new id is a new call.
        """
        for call in reversed(self._calls):
            if index is None or call.index == index:
                if not call_id or call.value.get("id") in (None, call_id):
                    return call.value
                break
        value: dict[str, Any] = {"type": "function", "function": {"name": "", "arguments": ""}}
        self._calls.append(_Call(index, value))
        return value


def _merge_function(function: dict[str, Any], piece: dict[str, Any]) -> None:
    for key, value in piece.items():
        if key == "arguments":
            if value is not None:
                text = value if isinstance(value, str) else json.dumps(value)
                function["arguments"] = function.get("arguments", "") + text
        elif value and not function.get(key):
            function[key] = value
