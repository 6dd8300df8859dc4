"""What a test says about a report: that every invariant held."""

from __future__ import annotations

from showcaller.runtime.testing.report import Report

SHOWN = 40
"""So many of the last things that happened are shown."""


def assert_invariants(report: Report) -> None:
    """Every invariant held while the simulation ran.

    Raises:
        AssertionError: one did not; the text has every violation, the seed, and what happened last.
    """
    if not report.violations:
        return
    lines = [
        f"{len(report.violations)} violations with seed {report.seed}, digest {report.digest}:",
        *(f"  {violation}" for violation in report.violations),
        "the last things that happened:",
        *(f"  {line}" for line in report.trace[-SHOWN:]),
    ]
    raise AssertionError("\n".join(lines))
