"""`runtime.ask` as a client: one runtime, one backend, with rate limits and quotas kept."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from benchmarks.clients import Call
from benchmarks.completion import MODEL, PROMPT
from showcaller import BackendConfig, Runtime, RuntimeConfig
from showcaller.actors.settings import QuotaConfig

NO_LIMIT = 10**9
"""So high that it never refuses, yet is counted at each call."""


@contextmanager
def ask(port: int, callers: int) -> Iterator[Sequence[Call]]:
    """Every caller asks the same runtime."""
    backend = BackendConfig(
        name="nginx",
        backend_type="openai",
        base_url=f"http://127.0.0.1:{port}/v1",
        model=MODEL,
        api_key="benchmark",
        rate_limit_rpm=NO_LIMIT,
        rate_limit_tpm=NO_LIMIT,
        max_parallel_requests=callers,
    )
    quota = QuotaConfig(requests_per_hour=NO_LIMIT, requests_per_day=NO_LIMIT)
    with Runtime.start(RuntimeConfig(backends=[backend], quota=quota)) as runtime:
        yield [lambda: str(runtime.ask(PROMPT, model=MODEL, temperature=0.7).content)] * callers
