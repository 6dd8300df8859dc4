"""The faults of `showcaller simulate` as they are typed, such as openai@60+120, and what they mean."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

from attrs import frozen

from showcaller.actors.configuration import RuntimeConfig
from showcaller.actors.errors import ConfigurationError
from showcaller.actors.validators import nearest
from showcaller.runtime.cli.durations import DURATION, seconds_of
from showcaller.runtime.testing import faults
from showcaller.runtime.testing.fault import Fault
from showcaller.runtime.testing.scenario import Planned


@frozen
class FaultSpec:
    """One fault.

    Attributes:
        option: with which it was given.
        text: as it was typed.
        planned: what it means.
    """

    option: str
    text: str
    planned: Planned


@frozen
class _Form:
    """How an option's value is written.

    Attributes:
        shape, example: in words, and one value.
        rest: the regular expression of what follows the name and "@".
        of: makes the fault of a name and the parts of the rest, of which the first is its time.
    """

    shape: str
    example: str
    rest: re.Pattern[str]
    of: Callable[[str, Sequence[Any]], Fault]


def _seconds(text: str) -> float:
    seconds = seconds_of(text)
    assert seconds is not None
    return seconds


_D: Final = f"({DURATION})"
_FORMS: Final = {
    "--outage": _Form(
        "BACKEND@START+DURATION",
        "openai@60+120",
        re.compile(rf"{_D}\+{_D}", re.ASCII),
        lambda name, parts: faults.outage(name, _seconds(parts[1])),
    ),
    "--slow": _Form(
        "BACKEND@START+DURATIONxFACTOR[:SHARE]",
        "openai@60+120x10",
        re.compile(rf"{_D}\+{_D}x(\d+(?:\.\d+)?)(?::(\d+(?:\.\d+)?))?", re.ASCII),
        lambda name, parts: faults.slow(
            name, float(parts[2]), _seconds(parts[1]), 1.0 if parts[3] is None else float(parts[3])
        ),
    ),
    "--errors": _Form(
        "BACKEND@START+DURATION:KIND",
        "openai@60+30:rate_limit",
        re.compile(rf"{_D}\+{_D}:(\w+)", re.ASCII),
        lambda name, parts: faults.errors(name, parts[2], duration=_seconds(parts[1])),
    ),
    "--crash": _Form(
        "ACTOR@TIME",
        "supervisor@90",
        re.compile(_D, re.ASCII),
        lambda name, parts: faults.crash(name),
    ),
}


def parse_faults(
    option: str, texts: Iterable[str], config: RuntimeConfig, duration: float
) -> list[FaultSpec]:
    """What an option's values mean.

    Args:
        option: one of --outage, --slow, --errors and --crash.
        texts: its values.
        config: whose backends they name.
        duration: seconds of the whole; each fault strikes before that.

    Raises:
        ConfigurationError: a value is wrong; the text names the option, the value and the form.
    """
    return [FaultSpec(option, text, _parse(option, text, config, duration)) for text in texts]


def _parse(option: str, text: str, config: RuntimeConfig, duration: float) -> Planned:
    form = _FORMS[option]
    # A backend's name may have an "@" of its own.
    name, _, rest = text.rpartition("@")
    found = form.rest.fullmatch(rest)
    if not name or found is None:
        raise ConfigurationError(
            f"{option} {text}: use {form.shape}, such as {form.example}; times are seconds, or 90s, 10m, 1h"
        )
    known = [backend.name for backend in config.backends]
    if option == "--crash":
        known += faults.ACTORS
    if name not in known:
        what = "actor" if option == "--crash" else "backend"
        raise ConfigurationError(f"{option} {text}: no {what} is named {name!r}{nearest(name, known)}")
    parts = found.groups()
    time = _seconds(parts[0])
    if time >= duration:
        raise ConfigurationError(f"{option} {text}: it would strike after the end, at {duration:g} s")
    try:
        return Planned(time, form.of(name, parts))
    except ConfigurationError as error:
        raise ConfigurationError(f"{option} {text}: {error}") from None
