"""What `showcaller` alone says: what would be used here, why nothing else is, and what to try."""

from __future__ import annotations

from pathlib import Path

from showcaller.actors.errors import ConfigurationError
from showcaller.runtime.cli.output import SIGNS, Screen, in_home
from showcaller.runtime.detect import Candidate, detect
from showcaller.runtime.search_path import Place, config_places, find_config

_TRY = (
    ('showcaller ask "Say hello"', "one answer, streamed"),
    ("showcaller doctor", "what is missing here, and how to mend it"),
    ("showcaller run", "a supervised tree at work, a crash included"),
)


def show_overview(screen: Screen) -> None:
    """Say it; no network, and nothing is started."""
    screen.line("Showcaller: every model call of a process through one supervised tree of actors")
    path = find_config()
    screen.heading("Configuration")
    screen.rows(
        (
            _sign(place, path),
            in_home(place.path),
            "found" if place.found else "not there",
            f"({place.origin})",
        )
        for place in config_places()
    )
    if path is None:
        _show_auto(screen)
    else:
        _show_file(screen, path)
    screen.heading("Try")
    screen.rows(_TRY)


def _sign(place: Place, taken: Path | None) -> str:
    if place.path != taken:
        return SIGNS["aside"]
    return SIGNS["ok" if place.found else "failure"]


def _show_auto(screen: Screen) -> None:
    choice = detect(allow_demo=True)
    screen.heading("No configuration, so AUTO takes the first of these that it can use")
    screen.rows(_row(one) for one in choice.candidates)
    chosen = choice.chosen
    if chosen is None:
        screen.line("  It can use none of them: `showcaller doctor` has the fixes.")
    elif detect().chosen is None:
        screen.aside(f"  The command line does. Runtime.start() takes {chosen.name} only when asked for:")
        screen.aside("  SHOWCALLER_BACKEND=embedded, or a configuration that names it.")


def _row(candidate: Candidate) -> tuple[str, str, str]:
    return (SIGNS["ok" if candidate.chosen else "aside"], candidate.name, candidate.reason)


def _show_file(screen: Screen, path: Path) -> None:
    from showcaller.runtime.config import load_config

    try:
        config = load_config(path)
    except ConfigurationError as error:
        screen.heading("It cannot be used")
        screen.line(f"  {SIGNS['failure']} {error}")
        return
    screen.heading("It says, so AUTO is not asked")
    screen.rows(
        [
            ("backends", ", ".join(backend.name for backend in config.backends) or "none"),
            ("routes", ", ".join(route.name for route in config.routes) or "none"),
            ("model", config.runtime.model or "none: each request names its own"),
        ]
    )
