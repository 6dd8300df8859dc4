"""`showcaller simulate`: a configuration under traffic and faults in virtual time, and what became of it."""

from __future__ import annotations

import contextlib
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final, Self, TextIO

from attrs import field, frozen

from showcaller.actors.configuration import RuntimeConfig
from showcaller.actors.errors import ConfigurationError
from showcaller.runtime.cli.durations import as_typed, seconds_of
from showcaller.runtime.cli.fault_spec import FaultSpec, parse_faults
from showcaller.runtime.cli.output import is_rich
from showcaller.runtime.cli.stage import demo_config
from showcaller.runtime.config import load_config
from showcaller.runtime.search_path import find_config
from showcaller.runtime.testing.report import Report
from showcaller.runtime.testing.scenario import Scenario
from showcaller.runtime.testing.traffic import Traffic

DEMO: Final = "--demo"
"""Stands for the configuration of `showcaller run`."""
SLICES: Final = 100
"""So often the progress is shown."""
MOST_REQUESTS: Final = 10_000_000
"""More than anybody waits for; at some rate time would not pass at all."""

_NO_PORT: Final = 9
"""The discard service's; a simulation connects to nothing."""


@frozen(kw_only=True)
class Order:
    """What is to be simulated.

    Attributes:
        config: under test.
        source: where it comes from, as it is typed: a path, or --demo.
        found: was it looked for, because none was named?
        seed: decides everything that is random.
        duration: virtual seconds of traffic. rate: requests a second.
        model: what each request names; None: the configured one.
        faults: what goes wrong.
    """

    config: RuntimeConfig = field(repr=False)
    source: str
    found: bool = False
    seed: int
    duration: float
    rate: float
    model: str | None = None
    faults: tuple[FaultSpec, ...] = ()

    @classmethod
    def of(
        cls,
        path: Path | None,
        *,
        demo: bool = False,
        seed: int,
        duration: str,
        rate: float,
        model: str | None = None,
        faults: Mapping[str, Sequence[str]],
    ) -> Self:
        """What was typed.

        Args:
            path: the configuration; None: the one that is found, else the demo's.
            demo: take the demo's.
            seed, rate, model: as they are.
            duration: in words such as 10m.
            faults: the values of each option.

        Raises:
            ConfigurationError: something is wrong; the text names the option, the value and the form.
        """
        if demo and path is not None:
            raise ConfigurationError(f"{DEMO} {path}: name a configuration, or take the demo's")
        seconds = seconds_of(duration)
        if not seconds:
            raise ConfigurationError(f"--duration {duration}: use a time, such as 90, 90s, 10m or 1h")
        if not 0 < rate < float("inf"):
            raise ConfigurationError(f"--rate {rate:g}: use requests a second, more than 0")
        if rate * seconds > MOST_REQUESTS:
            fix = f"that is more than {MOST_REQUESTS:,} requests in all; use a lower rate or a shorter --duration"
            raise ConfigurationError(f"--rate {rate:g}: {fix}")
        taken = None if demo else path or find_config()
        config = demo_config(_NO_PORT) if taken is None else load_config(taken)
        if not config.backends:
            raise ConfigurationError(f"{taken}: there is no backend in it to simulate")
        config.route_for(model)
        specs = [
            spec for option, texts in faults.items() for spec in parse_faults(option, texts, config, seconds)
        ]
        return cls(
            config=config,
            source=DEMO if taken is None else str(taken),
            found=not demo and path is None,
            seed=seed,
            duration=seconds,
            rate=rate,
            model=model,
            faults=tuple(specs),
        )

    @property
    def scenario(self) -> Scenario:
        """The same as a scenario."""
        return Scenario(
            config=self.config,
            seed=self.seed,
            traffic=(
                Traffic(
                    rate=self.rate,
                    duration=self.duration,
                    options={} if self.model is None else {"model": self.model},
                ),
            ),
            faults=tuple(spec.planned for spec in self.faults),
        )

    @property
    def command(self) -> str:
        """The command that simulates the same again."""
        words = ["showcaller", "simulate", self.source, "--seed", str(self.seed)]
        words += ["--duration", as_typed(self.duration), "--rate", f"{self.rate:g}"]
        if self.model is not None:
            words += ["--model", self.model]
        for spec in self.faults:
            words += [spec.option, spec.text]
        return shlex.join(words)


def simulate(order: Order, progress: Callable[[float], object] = lambda share: None) -> Report:
    """Carry it out.

    Args:
        order: what.
        progress: told from time to time which part of the virtual time has passed.

    Raises:
        SimulationError: the run cannot go on.
    """
    with order.scenario.simulation() as simulation:
        for number in range(1, SLICES + 1):
            simulation.advance(order.duration * number / SLICES - simulation.now)
            progress(number / SLICES)
        return simulation.run()


@contextlib.contextmanager
def progress_on(stream: TextIO) -> Iterator[Callable[[float], object]]:
    """A bar on a terminal for the time of the block, and nothing elsewhere."""
    if not is_rich(stream):
        yield lambda share: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

    columns = (TextColumn("Simulating"), BarColumn(), TaskProgressColumn())
    with Progress(*columns, console=Console(file=stream), transient=True) as bar:
        task = bar.add_task("", total=1.0)
        yield lambda share: bar.update(task, completed=share)
