"""`make bench-peers`: the same against LiteLLM's Router, in an environment that holds both."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import version

import click
from rich.console import Console

from benchmarks import clients, report, runtime_client
from benchmarks.clients import Call
from benchmarks.comparison import FEW, MANY, Wanted, compare, p50, throughput
from benchmarks.completion import MODEL, payload
from benchmarks.nginx import nginx

ASK = "runtime.ask"
LITELLM = "LiteLLM Router"
CLIENTS = {"requests.Session": clients.session, ASK: runtime_client.ask}

WANTED = [
    Wanted("litellm_vs_ask_p50", LITELLM, ASK, FEW, p50, ">= 10"),
    Wanted("throughput64_vs_litellm", ASK, LITELLM, MANY, throughput, ">= 10"),
]


@contextmanager
def router(port: int, callers: int) -> Iterator[Sequence[Call]]:
    """Every caller asks the same Router of one deployment."""
    # Otherwise it fetches its table of prices over the network when it is imported.
    os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
    from litellm import Router

    deployment = {
        "model": f"openai/{MODEL}",
        "api_base": f"http://127.0.0.1:{port}/v1",
        "api_key": "benchmark",
    }
    routed = Router(model_list=[{"model_name": MODEL, "litellm_params": deployment}])

    def call() -> str:
        body = payload()
        completion = routed.completion(
            model=MODEL, messages=body["messages"], temperature=body["temperature"]
        )
        return str(completion.choices[0].message.content)

    yield [call] * callers


@click.command()
@click.option("--rounds", default=7, show_default=True, help="How often each client has its turn.")
@click.option("--seconds", default=2.0, show_default=True, help="How long a turn lasts.")
def main(rounds: int, seconds: float) -> None:
    """Measure LiteLLM's Router beside Showcaller, and write benchmarks/results/peers.json."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    console = Console()
    with nginx() as port:
        chosen = {**CLIENTS, LITELLM: router}
        result = compare(chosen, WANTED, port, rounds_each=rounds, seconds=seconds, console=console)
    content = {
        **report.ratios_as_json(result.ratios),
        "clients": report.clients_as_json(result.measured),
        "versions": {"litellm": version("litellm")},
        "machine": report.machine(),
    }
    report.write("peers", content, console)


if __name__ == "__main__":
    main()
