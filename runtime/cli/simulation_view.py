"""How the report of a simulation looks: on a terminal, and as plain text."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

from showcaller.runtime.cli.output import SIGNS, Row, Screen
from showcaller.runtime.cli.simulate import DEMO, Order
from showcaller.runtime.cli.sparkline import counts_over, sparkline
from showcaller.runtime.testing.report import Report
from showcaller.runtime.testing.timeline import Moment

WIDEST_LINE: Final = 40
NARROWEST_LINE: Final = 24
"""Characters of a line of bars."""
MOST_MOMENTS: Final = 40
"""So many lines of the timeline are shown."""

_COLUMNS: Final = ("backend", "share", "calls", "errors", "p50", "p95", "p99", "at once", "restarts")


def show_report(screen: Screen, report: Report, order: Order) -> None:
    """All of it."""
    screen.line(f"Simulation of {_source(order)}")
    screen.rows(
        [
            ("seed", str(report.seed)),
            ("digest", report.digest),
            ("virtual time", f"{report.duration:.1f} s"),
            ("steps", _steps(report)),
        ]
    )
    screen.heading("Requests")
    screen.rows(_requests(report))
    screen.heading("Backends; times of answered calls in seconds, and answers over time")
    show_backends(screen, report)
    _show_other_restarts(screen, report)
    _show_errors(screen, report)
    if report.timeline:
        screen.heading("Timeline")
        _show_timeline(screen, report.timeline)
    screen.line()
    show_invariants(screen, report)
    screen.heading("The same again")
    show_command(screen, order)


def show_briefly(screen: Screen, report: Report) -> None:
    """What the demo shows of it."""
    show_backends(screen, report)
    screen.line()
    show_invariants(screen, report)
    ended = f"{report.accepted} accepted = {report.answered} answered + {report.failed} failed"
    screen.rows(
        [
            ("requests", ended),
            ("virtual time", f"{report.duration:.1f} s"),
            ("steps", _steps(report)),
            ("digest", report.digest),
        ]
    )


def show_command(screen: Screen, order: Order) -> None:
    """In one piece, so that it can be copied also from a terminal that is too narrow for it."""
    screen.write(f"  {order.command}\n")


def _source(order: Order) -> str:
    if order.source != DEMO:
        return order.source
    return "the demo's configuration" + (", as none was found" if order.found else "")


def _steps(report: Report) -> str:
    return f"{report.steps:,} in {report.real_seconds:.1f} s, {report.steps_per_second:,.0f} a second"


def _requests(report: Report) -> Sequence[Row]:
    ended = f"{report.answered} answered + {report.failed} failed"
    rows = [
        ("accepted", f"{report.accepted} = {ended} + {report.cancelled} given up + {report.open} open"),
        ("refused", str(report.refused)),
        ("success", f"{_percent(report.success_rate)} %"),
    ]
    if report.answered:
        quantiles = (f"p{q} {report.quantile('latency', q / 100):.2f} s" for q in (50, 95, 99))
        rows.append(("latency", ", ".join(quantiles)))
    return rows


def _percent(share: float) -> str:
    """With two digits, and 100 only when it is all."""
    return "99.99" if share < 1 and round(share, 4) == 1 else f"{share:.2%}".removesuffix("%")


def show_backends(screen: Screen, report: Report) -> None:
    """A line for each backend."""
    table: list[Sequence[str]] = [_COLUMNS]
    for name in report.backends:
        backend = report.backend(name)
        table.append(
            (
                name,
                f"{backend.share:.1%}",
                str(backend.calls),
                str(backend.errors),
                *(
                    "-" if math.isnan(value) else f"{value:.2f}"
                    for value in (backend.p50, backend.p95, backend.p99)
                ),
                str(backend.max_in_flight),
                str(backend.restarts),
            )
        )
    widths = [max(len(row[column]) for row in table) for column in range(len(_COLUMNS))]
    rows = [
        (row[0], *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)))
        for row in table
    ]
    room = _room(screen, widths)
    if room >= NARROWEST_LINE:
        lines = ["answers", *_lines(report, room)]
        screen.rows((*row, line) for row, line in zip(rows, lines, strict=True))
        return
    screen.rows(rows)
    screen.line()
    lines = _lines(report, max(NARROWEST_LINE, _room(screen, widths[:1])))
    screen.rows(zip(report.backends, lines, strict=True))


def _room(screen: Screen, widths: Sequence[int]) -> int:
    """Characters that are left for a line of bars beside columns of these widths."""
    if screen.width is None:
        return WIDEST_LINE
    return min(WIDEST_LINE, screen.width - sum(widths) - 2 * len(widths) - 2)


def _lines(report: Report, width: int) -> list[str]:
    """The bars of each backend, answers over time; all have the same scale."""
    counts = [
        counts_over(
            (
                attempt.ended
                for attempt in report.attempts
                if attempt.backend == name and attempt.outcome == "answered" and attempt.ended is not None
            ),
            report.duration or 1.0,
            width,
        )
        for name in report.backends
    ]
    most = max((max(line) for line in counts), default=0)
    return [sparkline(line, most) for line in counts]


def _show_other_restarts(screen: Screen, report: Report) -> None:
    others = [
        f"{actor} {count}"
        for actor, count in report.restarts.items()
        if count and actor not in report.backends
    ]
    if others:
        screen.line(f"  restarts of other actors: {', '.join(others)}")


def _show_errors(screen: Screen, report: Report) -> None:
    requests, attempts = report.errors, report.attempt_errors
    if not requests and not attempts:
        return
    screen.heading("Errors")
    names = [name for name, _ in (requests + attempts).most_common()]
    rows = [
        ("error", "requests", "calls"),
        *((name, str(requests[name]), str(attempts[name])) for name in names),
    ]
    screen.rows((name, one.rjust(len("requests")), other.rjust(len("calls"))) for name, one, other in rows)


def _show_timeline(screen: Screen, timeline: Sequence[Moment]) -> None:
    shown = timeline[:MOST_MOMENTS]
    last = f"{timeline[-1].time:.1f} s"
    screen.rows((f"{moment.time:.1f} s".rjust(len(last)), moment.what) for moment in shown)
    if len(timeline) > len(shown):
        screen.aside(f"  and {len(timeline) - len(shown)} more; --json has them all")


def show_invariants(screen: Screen, report: Report) -> None:
    """All hold, or which do not."""
    if not report.violations:
        screen.rows([(SIGNS["ok"], "invariants", "all hold")])
        return
    screen.rows((SIGNS["failure"], "invariants", violation) for violation in report.violations)
