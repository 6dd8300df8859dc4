"""Hypothesis strategies: configurations, requests, fault scripts, scenarios and schedules.

What is drawn shrinks towards few faults, early and short, little traffic, and first in, first out.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar, cast

from attrs import frozen

try:
    from hypothesis import strategies as st
except ModuleNotFoundError as missing:
    raise ModuleNotFoundError(
        'the strategies need Hypothesis: pip install "showcaller[testing]"', name=missing.name
    ) from missing

from showcaller.actors.configuration import RuntimeConfig
from showcaller.actors.errors import UnknownModelError
from showcaller.runtime.config import load_config
from showcaller.runtime.prompt import Options
from showcaller.runtime.testing.behaviour import Behaviour
from showcaller.runtime.testing.chaos import draw_config
from showcaller.runtime.testing.client import Plan
from showcaller.runtime.testing.fault import Fault
from showcaller.runtime.testing.scenario import Planned, Scenario
from showcaller.runtime.testing.schedule import DRAWN, DrawnSchedule
from showcaller.runtime.testing.traffic import Traffic
from showcaller.runtime.testing.vocabulary import draw_fault

T = TypeVar("T")

_FINEST = 1e-4
"""Numbers that are nearer to each other are drawn as one."""
_PROMPTS = ("hello", "bye", "long " * 300)
_KINDS = 3
"""So many kinds of traffic at most."""
_CHANGES = frozenset({"add", "drain", "remove", "replace"})
"""Faults after which the configuration is another one."""


class HypothesisDice:
    """Dice that Hypothesis decides, and shrinks.

    Args:
        draw: what a composite strategy draws with.
    """

    def __init__(self, draw: st.DrawFn) -> None:
        self._draw = draw

    def pick(self, values: Sequence[T]) -> T:
        """One of them; the first is the simplest."""
        return self._draw(st.sampled_from(list(values)))

    def number(self, least: float, most: float) -> float:
        """A number between two, of some three digits; the least is the simplest."""
        if most - least < _FINEST:
            return least
        step = 10.0 ** (math.floor(math.log10(most - least)) - 2)
        steps = self._draw(st.integers(0, int((most - least) / step)))
        return max(least, min(most, round(least + steps * step, 6)))

    def whole(self, least: int, most: int) -> int:
        """A whole number between two, both included."""
        return self._draw(st.integers(least, most))

    def chance(self, share: float) -> bool:
        """True in about so many cases of one; what is more likely is simpler."""
        if share > 0.5:
            return not self.chance(1.0 - share)
        return self._draw(st.integers(0, 99)) >= 100 - round(share * 100)


@frozen
class _Source:
    """Draws without saying each value, which for a schedule would be hundreds of lines."""

    draw: st.DrawFn


def configs() -> st.SearchStrategy[RuntimeConfig]:
    """Valid configurations: a few backends of one model, routes of every strategy, limits and quotas."""
    return _configs()


def requests(models: Sequence[str] = ()) -> st.SearchStrategy[Plan]:
    """What one caller does: `sim.send` takes it.

    Args:
        models: names that it may give as `model`; without them it gives none.
    """
    seconds = st.sampled_from([1.0, 0.0, 0.1, 10.0])
    return st.builds(
        Plan,
        prompt=st.sampled_from(_PROMPTS),
        options=_options(models, named=False),
        stream=st.booleans(),
        cancel_after=st.none() | seconds,
        read_pause=st.sampled_from([0.0, 0.05, 1.0]),
        reads=st.none() | st.integers(0, 3),
    )


def fault_scripts(
    config: RuntimeConfig | str | Path,
    *,
    duration: float = 60.0,
    max_faults: int = 4,
    heals: bool = False,
    changes: bool = False,
) -> st.SearchStrategy[tuple[Planned, ...]]:
    """Faults in the order in which they strike; each is for `sim.at(planned.time, planned.fault)`.

    Args:
        config: what they happen to; a RuntimeConfig, or the path of a TOML file.
        duration: the last moment at which one strikes, in seconds.
        max_faults: how many there are at most.
        heals: only those after which everything works again.
        changes: also backends that are added, drained, removed, and replaced by others.

    Raises:
        ConfigurationError: the file cannot be read, or something in it is wrong.
    """
    planned = _planned(_loaded(config), duration, heals, changes)
    return st.lists(planned, max_size=max_faults).map(_in_order)


def scenarios(
    config: RuntimeConfig | str | Path,
    *,
    duration: float = 60.0,
    max_faults: int = 4,
    max_requests: int = 100,
    heals: bool = False,
    changes: bool = False,
    behaviours: Mapping[str, Behaviour] | None = None,
) -> st.SearchStrategy[Scenario]:
    """Scenarios of a configuration; `scenario.run()` gives the report.

    Args:
        config: a RuntimeConfig, or the path of a TOML file.
        duration: for how many seconds requests arrive, and faults strike.
        max_faults: how many faults there are at most.
        max_requests: about how many requests there are at most.
        heals: only faults after which everything works again.
        changes: also backends that are added, drained, removed, and replaced by others.
        behaviours: how backends answer, by name; the others as Behaviour.of_type says.

    Raises:
        ConfigurationError: the file cannot be read, or something in it is wrong.
    """
    loaded = _loaded(config)
    script = fault_scripts(loaded, duration=duration, max_faults=max_faults, heals=heals, changes=changes)
    traffic = _traffic(loaded, duration, max_requests / _KINDS)
    return st.builds(
        Scenario,
        config=st.just(loaded),
        traffic=st.lists(traffic, min_size=1, max_size=_KINDS).map(tuple),
        faults=script,
        behaviours=st.just(dict(behaviours or {})),
        seed=st.integers(0, 9999),
    )


def schedules(limit: int = DRAWN) -> st.SearchStrategy[DrawnSchedule]:
    """Schedules that shrink towards first in, first out: for `Simulation(schedule=)` and `Scenario.run`.

    Args:
        limit: how many choices Hypothesis makes; after those it is first in, first out.
    """
    return _schedules(limit)


@st.composite
def _configs(draw: st.DrawFn) -> RuntimeConfig:
    return draw_config(HypothesisDice(draw))


@st.composite
def _schedules(draw: st.DrawFn, limit: int) -> DrawnSchedule:
    return DrawnSchedule(_Source(draw), limit)


@st.composite
def _faults(draw: st.DrawFn, config: RuntimeConfig, heals: bool) -> Fault:
    return draw_fault(HypothesisDice(draw), config, heals=heals)


@st.composite
def _planned(draw: st.DrawFn, config: RuntimeConfig, duration: float, heals: bool, changes: bool) -> Planned:
    faults = _faults(config, heals)
    if not changes:
        faults = faults.filter(lambda fault: fault.name not in _CHANGES)
    time = HypothesisDice(draw).number(0.0, duration)
    return Planned(time, draw(faults))


@st.composite
def _traffic(draw: st.DrawFn, config: RuntimeConfig, duration: float, most: float) -> Traffic:
    dice = HypothesisDice(draw)
    rate = float(dice.pick([1, 2, 5, 10, 20, 50]))
    lasts = dice.number(min(1.0, duration), max(min(1.0, duration), min(duration, most / rate)))
    return Traffic(
        rate=rate,
        duration=lasts,
        start=dice.number(0.0, duration - lasts),
        prompts=dice.pick([None, _PROMPTS[:1], _PROMPTS]),
        streams=dice.pick([0.0, 0.5, 1.0]),
        cancels=dice.pick([0.0, 0.2]),
        options=draw(_options(tuple(config.names), named=not _has_default(config))),
    )


def _options(models: Sequence[str], *, named: bool) -> st.SearchStrategy[Options]:
    """Options of a request; simple is to give none, but for a model where one has to be named."""
    optional: dict[str, st.SearchStrategy[Any]] = {
        "priority": st.sampled_from(["high", "low", "critical"]),
        "temperature": st.sampled_from([0.0, 1.0]),
        "timeout": st.sampled_from([30.0, 5.0, 0.5]),
        "max_tokens": st.sampled_from([10, 1, 2000]),
        "idempotent": st.booleans(),
    }
    model = {"model": st.sampled_from(list(models))} if models else {}
    required, free = (model, optional) if named else ({}, {**model, **optional})
    return cast("st.SearchStrategy[Options]", st.fixed_dictionaries(required, optional=free))


def _has_default(config: RuntimeConfig) -> bool:
    try:
        config.route_for(None)
    except UnknownModelError:
        return False
    return True


def _in_order(planned: list[Planned]) -> tuple[Planned, ...]:
    return tuple(sorted(planned, key=lambda one: one.time))


def _loaded(config: RuntimeConfig | str | Path) -> RuntimeConfig:
    return config if isinstance(config, RuntimeConfig) else load_config(config)
