"""`showcaller doctor`: every check in one list, as text or as JSON."""

from __future__ import annotations

import json
from pathlib import Path

import attrs
import click

from showcaller.runtime.cli.checks import Check, machine_checks
from showcaller.runtime.cli.config_checks import config_checks
from showcaller.runtime.cli.output import SIGNS, Screen


def examine(path: Path | None) -> list[Check]:
    """All the checks.

    Args:
        path: the configuration that was named, or None.
    """
    return [*machine_checks(), *config_checks(path)]


def report(screen: Screen, checks: list[Check]) -> None:
    """The checks as lines, each fix under its cause."""
    rows = []
    for check in checks:
        rows.append((SIGNS[check.status], check.name, check.cause))
        if check.fix is not None:
            rows.append(("", "", f"fix: {check.fix}"))
    screen.rows(rows)
    failures = sum(check.failed for check in checks)
    warnings = sum(check.status == "warning" for check in checks)
    screen.line()
    screen.line(f"{len(checks)} checks: {failures} to mend, {warnings} to know of")


def report_json(checks: list[Check]) -> None:
    """The checks as one JSON object on stdout."""
    ok = not any(check.failed for check in checks)
    click.echo(
        json.dumps({"ok": ok, "checks": [attrs.asdict(check) for check in checks]}, ensure_ascii=False)
    )
