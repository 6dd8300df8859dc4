"""The `showcaller` command: what can be typed, and how each ending becomes an exit code.

0 done, 1 a request or a check failed, 2 usage or configuration, 130 interrupted. An error that Showcaller
raises on purpose is one message on stderr, never a traceback.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from showcaller.actors.enums import ResponseTransform
from showcaller.actors.errors import ConfigurationError, ShowcallerError
from showcaller.runtime.cli.interrupt import INTERRUPTED, Interrupt
from showcaller.runtime.cli.output import Screen, open_screen

FAILED = 1
WRONG_USE = 2
BROKEN_PIPE = 128 + 13
"""What a shell reports of a program that SIGPIPE ended."""

F = TypeVar("F", bound=Callable[..., Any])

_NO_COLOR = "showcaller.no_color"


class Failure(click.ClickException):
    """An error of Showcaller's as the command line tells it."""

    exit_code = FAILED

    def show(self, file: Any = None) -> None:
        """Say it on stderr."""
        click.echo(f"showcaller: {self.message}", file=file, err=True)


class WrongUse(Failure):
    """The same for what is wrong before anything was sent."""

    exit_code = WRONG_USE


class CommandLine(click.Group):
    """A group that turns the endings of its commands into messages and exit codes."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            click.echo("showcaller: interrupted", err=True)
            ctx.exit(INTERRUPTED)
        except ConfigurationError as error:
            raise WrongUse(str(error)) from None
        except ShowcallerError as error:
            raise Failure(str(error)) from None
        except BrokenPipeError:
            _close_stdout()
            ctx.exit(BROKEN_PIPE)


def _close_stdout() -> None:
    """Nobody reads it any more: let the interpreter's last flush go nowhere."""
    with contextlib.suppress(OSError, io.UnsupportedOperation):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _note_no_color(ctx: click.Context, _: click.Parameter, given: bool) -> None:
    if given:
        ctx.meta[_NO_COLOR] = True


def _print_version(ctx: click.Context, _: click.Parameter, given: bool) -> None:
    if given:
        click.echo(f"showcaller {version()}")
        ctx.exit()


def version() -> str:
    """The version that is installed."""
    from importlib import metadata

    try:
        return metadata.version("showcaller")
    except metadata.PackageNotFoundError:
        return "(not installed: run from its sources)"


def screen() -> Screen:
    """Where the command of this moment writes its report."""
    return open_screen(sys.stdout, no_color=_NO_COLOR in click.get_current_context().meta)


_no_color = click.option(
    "--no-color",
    is_flag=True,
    expose_value=False,
    callback=_note_no_color,
    help="No colours; the environment variable NO_COLOR says the same.",
)
_config = click.option(
    "--config",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="A configuration; without it `showcaller` says where one is looked for.",
)


def _fault(name: str, shape: str, text: str) -> Callable[[F], F]:
    return click.option(f"--{name}", multiple=True, metavar=shape, help=f"{text} Repeatable.")


@click.group(
    cls=CommandLine,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_print_version,
    help="Show the version.",
)
@_no_color
@click.pass_context
def cli(ctx: click.Context) -> None:
    """Every model call of your process through one supervised tree of actors.

    Alone it says what would be used here, and why.
    """
    if ctx.invoked_subcommand is None:
        from showcaller.runtime.cli.overview import show_overview

        show_overview(screen())


@cli.command()
@click.argument("prompt")
@click.option("--model", metavar="NAME", help="A route, a backend or a model.")
@click.option("--system", metavar="TEXT", help="A system message before the prompt.")
@click.option("--timeout", type=float, metavar="SECONDS", help="The whole deadline.")
@click.option(
    "--transform",
    "transforms",
    type=click.Choice([one.value for one in ResponseTransform]),
    multiple=True,
    help="What to do to the answer, which then comes in one piece. Repeatable, in order.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of the text.")
@_config
@_no_color
def ask(
    prompt: str,
    model: str | None,
    system: str | None,
    timeout: float | None,
    transforms: tuple[str, ...],
    as_json: bool,
    config: Path | None,
) -> None:
    """Ask PROMPT and stream the answer; "-" reads the prompt from stdin."""
    from showcaller.runtime.cli.ask import ask as carry_out

    text = sys.stdin.read() if prompt == "-" else prompt
    carry_out(
        text,
        model=model,
        system=system,
        timeout=timeout,
        transforms=transforms,
        as_json=as_json,
        path=config,
    )


@cli.command()
@click.option("--json", "as_json", is_flag=True, help="The checks as one JSON object.")
@_config
@_no_color
@click.pass_context
def doctor(ctx: click.Context, as_json: bool, config: Path | None) -> None:
    """Check this machine and the configuration; each finding with its cause and its fix."""
    from showcaller.runtime.cli.doctor import examine, report, report_json

    checks = examine(config)
    if as_json:
        report_json(checks)
    else:
        report(screen(), checks)
    if any(check.failed for check in checks):
        ctx.exit(FAILED)


@cli.command()
@_no_color
@click.pass_context
def run(ctx: click.Context) -> None:
    """The main job, shown end to end on the embedded demo model; takes less than a minute."""
    from showcaller.runtime.cli.run import run as carry_out

    if not carry_out(screen()):
        ctx.exit(FAILED)


@cli.command()
@click.argument("path", metavar="[CONFIG]", required=False, type=click.Path(path_type=Path))
@click.option("--demo", is_flag=True, help="The configuration of `showcaller run` instead.")
@click.option("--seed", type=int, default=0, metavar="N", help="Decides everything that is random.")
@click.option("--duration", default="10m", metavar="TIME", help="Of the traffic, such as 90, 90s, 10m or 1h.")
@click.option("--rate", type=float, default=5.0, metavar="R", help="Requests a second, on average.")
@click.option("--model", metavar="NAME", help="A route, a backend or a model.")
@_fault("outage", "BACKEND@START+DURATION", "Its calls fail, as openai@60+120.")
@_fault(
    "slow",
    "BACKEND@START+DURATIONxFACTOR[:SHARE]",
    "It is slower, as openai@60+120x10, or one call in five, as openai@60+120x10:0.2.",
)
@_fault("errors", "BACKEND@START+DURATION:KIND", "Its calls fail of one thing, as openai@60+30:rate_limit.")
@_fault("crash", "ACTOR@TIME", "An actor dies, as supervisor@90.")
@click.option("--json", "as_json", is_flag=True, help="The report as one JSON object.")
@_no_color
@click.pass_context
def simulate(
    ctx: click.Context,
    /,
    path: Path | None,
    demo: bool,
    seed: int,
    duration: str,
    rate: float,
    model: str | None,
    as_json: bool,
    **faults: tuple[str, ...],
) -> None:
    """Simulate CONFIG under traffic and faults, in virtual time and without a call or a key.

    Without CONFIG it takes the one that is found, and else the demo's. The same seed gives the same run.
    """
    from showcaller.runtime.cli.simulate import Order, progress_on
    from showcaller.runtime.cli.simulate import simulate as carry_out
    from showcaller.runtime.cli.simulation_view import show_report
    from showcaller.runtime.testing.errors import SimulationError

    order = Order.of(
        path,
        demo=demo,
        seed=seed,
        duration=duration,
        rate=rate,
        model=model,
        faults={f"--{name}": texts for name, texts in faults.items()},
    )
    try:
        with progress_on(sys.stderr) as progress:
            report = carry_out(order, progress)
    except SimulationError as error:
        raise Failure(f"the simulation cannot go on: {error}; the same again: {order.command}") from None
    if as_json:
        click.echo(json.dumps({"command": order.command, **report.as_dict()}, ensure_ascii=False))
    else:
        show_report(screen(), report, order)
    if report.violations:
        ctx.exit(FAILED)


@cli.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of the text.")
@click.option("--pid", type=int, metavar="N", help="Only the runtimes of that process.")
@click.option("--watch", is_flag=True, help="Again every second, until Ctrl-C.")
@_no_color
def status(as_json: bool, pid: int | None, watch: bool) -> None:
    """How your running runtimes are: their trees, backends, quotas and requests."""
    from showcaller.runtime.cli.status import show

    problem = show(screen(), pid=pid, as_json=as_json, watch=watch)
    if problem is not None:
        raise Failure(problem)


def main() -> None:
    """Run the command line and exit."""
    Interrupt().install()
    for stream in (sys.stdin, sys.stdout, sys.stderr):
        # What cannot be read or shown as a character becomes a question mark, not a crash.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    cli(prog_name="showcaller")
