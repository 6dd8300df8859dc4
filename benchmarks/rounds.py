"""Rounds: every client in turn, again and again, so that what disturbs the machine disturbs all of them.

A ratio is taken within each round, and its median over the rounds is the result.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from statistics import median

from attrs import frozen

from benchmarks import load
from benchmarks.clients import Client
from benchmarks.load import Slice


@frozen
class Figures:
    """What one client showed at one number of callers: medians over the rounds, and p99 over all calls."""

    p50_us: float
    p99_us: float
    per_second: float
    cpu_us: float

    @classmethod
    def of(cls, slices: list[Slice]) -> Figures:
        """Sum up the slices of one client."""
        latencies = list(heapq.merge(*(each.latencies_us for each in slices)))
        return cls(
            p50_us=median(each.p50_us for each in slices),
            p99_us=load.quantile(latencies, 0.99),
            per_second=median(each.per_second for each in slices),
            cpu_us=median(each.cpu_us for each in slices),
        )


@frozen
class Ratio:
    """A ratio of two clients: the median over the rounds, the least and the greatest."""

    median: float
    least: float
    greatest: float

    @classmethod
    def between(cls, above: list[Slice], below: list[Slice], figure: Callable[[Slice], float]) -> Ratio:
        """The ratio of a figure, taken round by round."""
        ratios = [figure(a) / figure(b) for a, b in zip(above, below, strict=True)]
        return cls(median(ratios), min(ratios), max(ratios))


def measure(
    clients: Mapping[str, Client],
    port: int,
    *,
    callers: int,
    rounds: int,
    seconds: float,
    progress: Callable[[], None],
) -> dict[str, list[Slice]]:
    """Load every client in each round, `seconds` each; all stay open from the first to the last.

    Each round begins with another client. A short slice before the first warms every client up.
    """
    with ExitStack() as stack:
        calls = {name: stack.enter_context(client(port, callers)) for name, client in clients.items()}
        names = list(calls)
        for name in names:
            load.run(calls[name], seconds / 3)
            progress()
        slices: dict[str, list[Slice]] = {name: [] for name in names}
        for number in range(rounds):
            first = number % len(names)
            for name in names[first:] + names[:first]:
                slices[name].append(load.run(calls[name], seconds))
                progress()
        return slices
