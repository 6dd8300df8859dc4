"""Attempts at the embedded model."""

from __future__ import annotations

import json
import time
from typing import Any

from showcaller.actors.backend_config import Timeouts
from showcaller.actors.transport import Attempt, Done
from showcaller.runtime.transports.embedded import EmbeddedTransport
from tests.runtime.transports.contract import last_of

ENDLESS: dict[str, Any] = {"max_tokens": 4000, "ignore_eos": True}
"""An answer that ends only with the context, after half a minute or more."""

LONG_PROMPT = "hello " * 3500
"""Half of a minute's work for one thread before the first token."""


def an_attempt(
    text: str = "Say hello",
    *,
    stream: bool = False,
    total: float = 60.0,
    timeout: Timeouts | None = None,
    **options: Any,
) -> Attempt:
    payload = {"messages": [{"role": "user", "content": text}], "max_tokens": 8, "seed": 1} | options
    return Attempt(
        request_id="r1",
        number=1,
        backend="local",
        payload=json.dumps(payload).encode(),
        stream=stream,
        deadline=time.monotonic() + total,
        timeout=timeout or Timeouts.of_total(total),
    )


def answers(transport: EmbeddedTransport) -> bool:
    last = last_of(transport.attempt(an_attempt(total=20)))
    return isinstance(last, Done)
