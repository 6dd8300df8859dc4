"""The time to start and to stop a tree of many backends."""

from __future__ import annotations

import time
from statistics import median

from benchmarks.scripted import AtOnce, backends
from showcaller import Runtime, RuntimeConfig

BACKENDS = 100
ROUNDS = 5


def measure() -> dict[str, float]:
    """Milliseconds to start and to stop the tree, medians over the rounds."""
    configured = backends(BACKENDS)
    config = RuntimeConfig(backends=configured)
    starts, stops = [], []
    for _ in range(ROUNDS):
        transports = {backend.name: AtOnce() for backend in configured}
        begin = time.perf_counter()
        runtime = Runtime.start(config, transports=transports)
        started = time.perf_counter()
        runtime.stop()
        stops.append(time.perf_counter() - started)
        starts.append(started - begin)
    return {"backends": BACKENDS, "start_ms": median(starts) * 1e3, "stop_ms": median(stops) * 1e3}
