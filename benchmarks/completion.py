"""The one question and the one answer of every measurement."""

from __future__ import annotations

import json
from typing import Any

MODEL = "bench"
PROMPT = "Name the person who gives every actor the cue, in one short sentence."
ANSWER = "The show caller gives every actor the cue."
PATH = "/v1/chat/completions"
HEADERS = {"Authorization": "Bearer benchmark", "Content-Type": "application/json"}

COMPLETION = json.dumps(
    {
        "id": "chatcmpl-benchmark",
        "object": "chat.completion",
        "created": 1760000000,
        "model": MODEL,
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": ANSWER},
                "finish_reason": "stop",
            }
        ],
        "usage": {"prompt_tokens": 21, "completion_tokens": 10, "total_tokens": 31},
    }
)


def payload() -> dict[str, Any]:
    """A request body, made anew as every real call makes its own."""
    return {"model": MODEL, "messages": [{"role": "user", "content": PROMPT}], "temperature": 0.7}


def content_of(completion: Any) -> str:
    """The text of a decoded completion."""
    return str(completion["choices"][0]["message"]["content"])
