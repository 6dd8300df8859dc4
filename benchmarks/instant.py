"""The cost of Showcaller alone: `runtime.ask` over a transport that answers at once."""

from __future__ import annotations

from benchmarks import load
from benchmarks.completion import MODEL, PROMPT
from benchmarks.scripted import AtOnce, backends
from showcaller import Runtime, RuntimeConfig

SECONDS = 2.0


def measure() -> dict[str, float]:
    """Microseconds of an ask by one caller."""
    configured = backends(1)
    transports = {backend.name: AtOnce() for backend in configured}
    with Runtime.start(RuntimeConfig(backends=configured), transports=transports) as runtime:

        def call() -> str:
            return str(runtime.ask(PROMPT, model=MODEL, temperature=0.7).content)

        load.run([call], SECONDS / 4)
        result = load.run([call], SECONDS)
    return {
        "p50_us": result.p50_us,
        "p99_us": load.quantile(result.latencies_us, 0.99),
        "cpu_us": result.cpu_us,
    }
