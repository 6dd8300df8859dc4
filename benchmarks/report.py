"""What was measured, as tables for people and as JSON for the next run to be compared with."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from attrs import asdict
from rich.console import Console
from rich.table import Table

from benchmarks.load import Slice
from benchmarks.rounds import Figures, Ratio

RESULTS = Path(__file__).parent / "results"


def clients_table(callers: int, measured: Mapping[str, list[Slice]]) -> Table:
    """The clients at one number of callers."""
    title = f"{callers} caller{'s' if callers > 1 else ''}"
    table = Table(title=title, title_justify="left")
    table.add_column("client", no_wrap=True)
    for heading in ("p50 µs", "p99 µs", "requests/s", "CPU µs a request"):
        table.add_column(heading, justify="right")
    for name, slices in measured.items():
        figures = Figures.of(slices)
        values = (figures.p50_us, figures.p99_us, figures.per_second, figures.cpu_us)
        table.add_row(name, *(f"{value:,.0f}" for value in values))
    return table


def ratios_table(ratios: Mapping[str, Ratio], reach: Mapping[str, str]) -> Table:
    """The ratios, with how they swung from round to round and what they are meant to reach."""
    table = Table(title="ratios", title_justify="left")
    table.add_column("ratio", no_wrap=True)
    for heading in ("median", "least", "greatest", "reach"):
        table.add_column(heading, justify="right")
    for name, ratio in ratios.items():
        values = (ratio.median, ratio.least, ratio.greatest)
        table.add_row(name, *(f"{value:.2f}" for value in values), reach.get(name, ""))
    return table


def figures_table(title: str, rows: Mapping[str, Mapping[str, float]]) -> Table:
    """Named figures in a row each."""
    table = Table("what", "figures", title=title, title_justify="left")
    for name, figures in rows.items():
        table.add_row(name, ", ".join(f"{key} {value:,.4g}" for key, value in figures.items()))
    return table


def clients_as_json(measured: Mapping[int, Mapping[str, list[Slice]]]) -> dict[str, Any]:
    """The figures of every client, by number of callers and by name."""
    return {
        str(callers): {name: asdict(Figures.of(slices)) for name, slices in clients.items()}
        for callers, clients in measured.items()
    }


def ratios_as_json(ratios: Mapping[str, Ratio]) -> dict[str, Any]:
    """The medians under `ratios`, and how far they swung under `ratio_ranges`."""
    return {
        "ratios": {name: ratio.median for name, ratio in ratios.items()},
        "ratio_ranges": {name: [ratio.least, ratio.greatest] for name, ratio in ratios.items()},
    }


def machine() -> dict[str, Any]:
    """What the figures were taken on."""
    return {
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "cores": len(os.sched_getaffinity(0)),
    }


def write(name: str, content: Mapping[str, Any], console: Console) -> None:
    """Write results/<name>.json, figures to four digits."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    path.write_text(json.dumps(_rounded(content), indent=2) + "\n", encoding="utf-8")
    console.print(f"written to {path.relative_to(RESULTS.parents[1])}")


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return float(f"{value:.4g}")
    if isinstance(value, Mapping):
        return {key: _rounded(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_rounded(each) for each in value]
    return value
