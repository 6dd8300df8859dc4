"""Showcaller's HTTP transport alone as a client: what `runtime.ask` costs beyond it is the tree of actors."""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager

from benchmarks.clients import Call
from benchmarks.completion import MODEL, payload
from showcaller.actors.backend_config import Timeouts
from showcaller.actors.transport import Attempt, Done, Failed
from showcaller.runtime.transports.http import HttpTransport


@contextmanager
def transport_alone(port: int, callers: int) -> Iterator[Sequence[Call]]:
    """Every caller makes attempts at the same transport."""
    timeouts = Timeouts()
    ids = itertools.count(1)
    transport = HttpTransport(
        base_url=f"http://127.0.0.1:{port}/v1",
        model=MODEL,
        now=time.monotonic,
        wall=time.time,
        api_key=lambda: "benchmark",
        pool_size=callers,
    )

    def call() -> str:
        body = payload()
        del body["model"]
        attempt = Attempt(
            request_id=str(next(ids)),
            number=1,
            backend="nginx",
            payload=json.dumps(body).encode(),
            stream=False,
            deadline=time.monotonic() + timeouts.total,
            timeout=timeouts,
        )
        *_, last = transport.attempt(attempt)
        if isinstance(last, Failed):
            raise last.error
        assert isinstance(last, Done)
        return str(last.message["content"])

    with closing(transport):
        yield [call] * callers
