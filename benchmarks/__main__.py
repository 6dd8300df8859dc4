"""`make bench`: every client against the same nginx, then Showcaller's own costs one by one."""

from __future__ import annotations

import importlib
import signal
import sys
from collections.abc import Mapping

import click
from rich.console import Console

from benchmarks import clients, isolated, report
from benchmarks.clients import Client
from benchmarks.comparison import FEW, MANY, Wanted, compare, p50, throughput
from benchmarks.nginx import nginx

ASK = "runtime.ask"
SESSION = "requests.Session"
PLAIN: Mapping[str, Client] = {
    "requests.post": clients.bare_post,
    SESSION: clients.session,
    "Session, no trust_env": clients.session_without_environment,
    "prepared, HTTPAdapter.send": clients.prepared_send,
    "http.client": clients.standard_library,
}
OURS = {
    "Showcaller's transport": ("benchmarks.transport_client", "transport_alone"),
    ASK: ("benchmarks.runtime_client", "ask"),
}
"""Imported when they are measured."""
NAMES = [*PLAIN, *OURS]

WANTED = [
    Wanted("ask_vs_session_p50", ASK, SESSION, FEW, p50, "<= 0.75"),
    Wanted("throughput64_vs_session", ASK, SESSION, MANY, throughput, ">= 1.5"),
]


@click.command()
@click.option("--rounds", default=7, show_default=True, help="How often each client has its turn.")
@click.option("--seconds", default=1.0, show_default=True, help="How long a turn lasts.")
@click.option("--only", multiple=True, type=click.Choice(NAMES), help="Measure this client; nothing is kept.")
def main(rounds: int, seconds: float, only: tuple[str, ...]) -> None:
    """Measure what a call costs, and write benchmarks/results/latest.json."""
    # Asked to end, the process leaves its blocks, and nginx goes with it.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    console = Console()
    chosen = {name: client(name) for name in only or NAMES}
    with nginx() as port:
        result = compare(chosen, WANTED, port, rounds_each=rounds, seconds=seconds, console=console)
    if only:
        return
    alone = {
        "runtime_only": isolated.measure("instant", one_core=True),
        "runtime_only_all_cores": isolated.measure("instant"),
        "hop_us": isolated.measure("hop", one_core=True),
        "hop_us_all_cores": isolated.measure("hop"),
        "tree": isolated.measure("tree"),
        "memory": isolated.measure("memory"),
        "import": isolated.measure("imports"),
    }
    console.print(report.figures_table("Showcaller alone", alone))
    content = {
        **report.ratios_as_json(result.ratios),
        "runtime_only_p50_us": alone["runtime_only"]["p50_us"],
        **alone,
        "clients": report.clients_as_json(result.measured),
        "machine": report.machine(),
    }
    report.write("latest", content, console)


def client(name: str) -> Client:
    """The client of that name."""
    if name in PLAIN:
        return PLAIN[name]
    module, function = OURS[name]
    found: Client = getattr(importlib.import_module(module), function)
    return found


if __name__ == "__main__":
    main()
