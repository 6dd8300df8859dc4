"""`showcaller status`: how the running runtimes of this user are, once or every second."""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Callable, Iterator, Sequence

import click

from showcaller.runtime.cli.output import RichScreen, Screen
from showcaller.runtime.cli.status_view import Sheet, as_line, draw, in_a_sentence
from showcaller.runtime.control_client import NoAnswer, Report, ask_all, find_runtimes

Answers = Sequence["Report | NoAnswer"]

EVERY = 1.0
"""Seconds between two looks."""

NOBODY = (
    "no runtime of yours is running here: start one, such as `showcaller run`, and try again while it runs; one with "
    "control = false is not seen, nor one with another XDG_RUNTIME_DIR or TMPDIR, nor one in another container"
)


def show(
    screen: Screen,
    *,
    pid: int | None,
    as_json: bool,
    watch: bool,
    pause: Callable[[float], None] = time.sleep,
) -> str | None:
    """Show it; what is wrong, or None.

    Args:
        screen: where.
        pid: only the runtimes of this process.
        as_json: as a JSON object on a line.
        watch: again, with a pause in between, until none is left.
        pause: waits for so many seconds.
    """
    answers = _look(pid)
    if not answers:
        return _nobody(pid)
    if not watch:
        reports = [one for one in answers if isinstance(one, Report)]
        if as_json:
            _print_json(answers)
        elif reports:
            draw(screen, reports, whole=pid is not None)
        return "; ".join(in_a_sentence(one) for one in answers if isinstance(one, NoAnswer)) or None
    with _drawing_on(screen, as_json=as_json, whole=pid is not None) as once_more:
        while answers:
            once_more(answers)
            pause(EVERY)
            answers = _look(pid)
    if not as_json:
        screen.aside("  ended")
    return None


def _look(pid: int | None) -> Answers:
    return ask_all(found for found in find_runtimes(os.environ) if pid in (None, found.pid))


def _nobody(pid: int | None) -> str:
    others = sorted({one.pid for one in _look(None)})
    if pid is None or not others:
        return NOBODY
    return f"process {pid} has no running runtime of yours; these have: {', '.join(map(str, others))}"


@contextlib.contextmanager
def _drawing_on(screen: Screen, *, as_json: bool, whole: bool) -> Iterator[Callable[[Answers], None]]:
    """How each look is shown: drawn over the last one on a terminal, a line for each runtime elsewhere."""
    if as_json:
        yield _print_json
    elif isinstance(screen, RichScreen):
        from rich.live import Live

        sheet = Sheet(screen)
        with Live(console=screen.console, auto_refresh=False, transient=False) as live:

            def redraw(answers: Answers) -> None:
                draw(sheet, answers, whole=whole)
                live.update(sheet.take(), refresh=True)

            yield redraw
    else:

        def add_lines(answers: Answers) -> None:
            for answer in answers:
                screen.line(as_line(answer))

        yield add_lines


def _print_json(answers: Answers) -> None:
    runtimes = [
        {"pid": one.pid, "name": one.name, "uptime": one.uptime, "status": one.document}
        for one in answers
        if isinstance(one, Report)
    ]
    silent = [
        {"pid": one.pid, "name": one.name, "reason": one.reason}
        for one in answers
        if isinstance(one, NoAnswer)
    ]
    click.echo(json.dumps({"runtimes": runtimes, "silent": silent}, ensure_ascii=False))
