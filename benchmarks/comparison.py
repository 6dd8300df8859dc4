"""One comparison: clients side by side at one caller and at many, and the ratios among them."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from attrs import frozen
from rich.console import Console
from rich.progress import Progress

from benchmarks import report, rounds
from benchmarks.clients import Client
from benchmarks.load import Slice
from benchmarks.rounds import Ratio

FEW, MANY = 1, 64
"""Numbers of callers."""


@frozen
class Wanted:
    """A ratio to take: a figure of `above` over the same figure of `below`, and what it is meant to reach."""

    name: str
    above: str
    below: str
    callers: int
    figure: Callable[[Slice], float]
    reach: str


def p50(one: Slice) -> float:
    """The median latency of a slice."""
    return one.p50_us


def throughput(one: Slice) -> float:
    """The calls a second of a slice."""
    return one.per_second


@frozen
class Comparison:
    """What was measured, by number of callers and by client, and the ratios."""

    measured: Mapping[int, Mapping[str, list[Slice]]]
    ratios: Mapping[str, Ratio]


def compare(
    clients: Mapping[str, Client],
    wanted: list[Wanted],
    port: int,
    *,
    rounds_each: int,
    seconds: float,
    console: Console,
) -> Comparison:
    """Measure the clients, print the tables, and take those ratios whose two clients are there."""
    measured = {}
    with Progress(console=console, transient=True) as progress:
        task = progress.add_task("measuring", total=2 * len(clients) * (rounds_each + 1))
        for callers in (FEW, MANY):
            measured[callers] = rounds.measure(
                clients,
                port,
                callers=callers,
                rounds=rounds_each,
                seconds=seconds,
                progress=lambda: progress.advance(task),
            )
    ratios = {
        each.name: Ratio.between(
            measured[each.callers][each.above], measured[each.callers][each.below], each.figure
        )
        for each in wanted
        if each.above in clients and each.below in clients
    }
    for callers, slices in measured.items():
        console.print(report.clients_table(callers, slices))
    if ratios:
        console.print(report.ratios_table(ratios, {each.name: each.reach for each in wanted}))
    return Comparison(measured, ratios)
