"""The memory of many requests in flight, each with a backend's seat that waits for its answer."""

from __future__ import annotations

import gc
import os
from pathlib import Path

from benchmarks.completion import MODEL, PROMPT
from benchmarks.scripted import Held, backends
from showcaller import Runtime, RuntimeConfig

REQUESTS = 1_000
BACKENDS = 10
HELD_SECONDS = 60.0


def measure() -> dict[str, float]:
    """Resident memory before and with the requests in flight, in MB, and the difference for each, in kB."""
    configured = backends(BACKENDS, max_parallel_requests=REQUESTS // BACKENDS)
    held = Held()
    transports = {backend.name: held for backend in configured}
    with Runtime.start(RuntimeConfig(backends=configured), transports=transports) as runtime:
        runtime_idle = _resident_bytes()
        pending = [runtime.submit(f"{number}: {PROMPT}", model=MODEL) for number in range(REQUESTS)]
        for _ in range(REQUESTS):
            if not held.held.acquire(timeout=HELD_SECONDS):
                raise TimeoutError(f"not all of {REQUESTS} requests were in flight after {HELD_SECONDS} s")
        in_flight = _resident_bytes()
        held.let_go.set()
        for each in pending:
            each.result(HELD_SECONDS)
    return {
        "requests": REQUESTS,
        "idle_mb": runtime_idle / 1e6,
        "in_flight_mb": in_flight / 1e6,
        "per_request_kb": (in_flight - runtime_idle) / REQUESTS / 1e3,
    }


def _resident_bytes() -> int:
    gc.collect()
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")
