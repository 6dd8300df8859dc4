"""`showcaller run`: the main job shown end to end, on the embedded demo model; it judges itself."""

from __future__ import annotations

import importlib.util
import sys
import threading
import time
from typing import Final

from showcaller.actors.errors import ConfigurationError
from showcaller.actors.models import Answered
from showcaller.runtime.cli.account import Crash, settle
from showcaller.runtime.cli.download import shown_on
from showcaller.runtime.cli.ledger import Ledger
from showcaller.runtime.cli.load import ASKS, TELLS, TIMEOUT, Load
from showcaller.runtime.cli.output import SIGNS, Paragraph, Screen, in_home, megabytes
from showcaller.runtime.cli.simulate import Order, progress_on, simulate
from showcaller.runtime.cli.simulation_view import show_briefly, show_command
from showcaller.runtime.cli.stage import DOWN, FIRST, MODEL, ROUTE, SECOND, WEIGHTS, Stage, staged
from showcaller.runtime.cli.tree_view import view_of
from showcaller.runtime.testing.errors import SimulationError
from showcaller.runtime.transports.embedded_model import MISSING_PACKAGE
from showcaller.runtime.transports.model_store import KNOWN_MODELS, cached_model, ensure_model

QUESTION: Final = "Why is the sky blue? Answer in two sentences."
STREAMED_TOKENS: Final = 64
MOST_TOKENS: Final = 8
"""Of each answer under load, on a machine that is quick enough."""

ENOUGH_IN_FLIGHT: Final = 3
"""Requests that must be in flight at the backend that is crashed."""
LONGEST: Final = TIMEOUT + 10.0
"""Seconds after which what has no outcome is taken to be lost."""

SEED: Final = 7
RATE: Final = 3.0
"""Requests a second of the simulation."""
OUTAGES: Final = (f"{DOWN}@0+10m", f"{FIRST}@2m+2m")

_TICK = 0.12
_NEXT = (
    ('showcaller ask "Say hello"', "one answer; with OPENAI_API_KEY a good one"),
    ("showcaller simulate", "your own configuration under traffic and faults, without a call"),
    ("showcaller doctor", "what is missing on this machine"),
    ("showcaller --help", "everything else"),
)


def run(screen: Screen) -> bool:
    """Show it; is everything as it must be?

    Raises:
        ConfigurationError: the model cannot be had, or not be run here; the text says what to do.
        ShowcallerError: the streamed answer failed.
    """
    threads = threading.active_count()
    _fetch(screen)
    screen.heading("2  Three backends start")
    began = time.monotonic()
    with staged() as stage:
        _introduce(screen, stage, time.monotonic() - began)
        ledger = Ledger()
        speed = _stream(screen, stage, ledger)
        crash = _carry_the_load(screen, stage, ledger, speed)
        screen.heading("5  The account")
        fine = settle(screen, stage, ledger, crash)
        began = time.monotonic()
    seconds, left = time.monotonic() - began, threading.active_count() - threads
    sign = SIGNS["failure" if left else "ok"]
    screen.rows([(sign, "stop", f"took {seconds:.1f} s, and left {left or 'no'} thread behind")])
    held = _simulate(screen)
    screen.heading("What to type next")
    screen.rows(_NEXT)
    return fine and not left and held


def _fetch(screen: Screen) -> None:
    if importlib.util.find_spec("xllamacpp") is None:
        raise ConfigurationError(MISSING_PACKAGE)
    known = KNOWN_MODELS[MODEL]
    screen.heading("1  The model, fetched once")
    cached = cached_model(MODEL)
    if cached is None:
        with shown_on(sys.stderr) as progress:
            path = ensure_model(MODEL, progress=progress)
    else:
        path = cached
    origin = "fetched just now" if cached is None else "in the cache already"
    screen.rows(
        [
            (SIGNS["ok"], known.title, f"{megabytes(known.size)}, {origin}, {in_home(path)}"),
            (SIGNS["ok"], "sha256", f"{known.sha256[:32]}…, checked"),
        ]
    )


def _introduce(screen: Screen, stage: Stage, seconds: float) -> None:
    says = {FIRST: "the model, in this process", SECOND: "the same; loaded once, two answers at a time"}
    screen.rows(
        (
            SIGNS["ok" if name in says else "warning"],
            name,
            f"weight {weight}",
            says.get(name, "an HTTP endpoint that is down on purpose"),
        )
        for name, weight in WEIGHTS.items()
    )
    screen.aside(f"  {len(stage.runtime.status().actors)} actors more, all within {seconds:.2f} s")


def _stream(screen: Screen, stage: Stage, ledger: Ledger) -> float:
    """Stream one answer; the model's speed in tokens a second."""
    screen.heading("3  A streamed answer (135M demo model: judge the plumbing, not the prose)")
    screen.aside(f"  {QUESTION}")
    paragraph = Paragraph(screen)
    began, first = time.monotonic(), 0.0
    with stage.runtime.stream(
        QUESTION, model=FIRST, max_tokens=STREAMED_TOKENS, temperature=0.0, timeout=TIMEOUT
    ) as stream:
        ledger.sent(stream.request_id)
        for chunk in stream:
            first = first or time.monotonic()
            paragraph.write(chunk.text)
        response = stream.response
    paragraph.end()
    seconds = time.monotonic() - first
    ledger.ended(Answered(response.request_id, response), time.monotonic() - began)
    speed = response.usage.output_tokens / max(seconds, 0.001)
    loading = f"the model was loaded and began after {first - began:.1f} s"
    screen.aside(f"  {response.usage.output_tokens} tokens, {speed:.0f} a second; {loading}")
    return speed


def _carry_the_load(screen: Screen, stage: Stage, ledger: Ledger, speed: float) -> Crash | None:
    """Send everything, and let a backend's actor die in the middle."""
    # A busy machine gets shorter answers, and no longer demo.
    tokens = max(2, min(MOST_TOKENS, int(speed / 8)))
    weights = ":".join(str(weight) for weight in WEIGHTS.values())
    total = ASKS + TELLS
    screen.heading(f"4  {ASKS} asks and {TELLS} tells by WEIGHTED {weights}, and a crash in the middle")
    load = Load(stage.runtime, ledger, model=ROUTE, max_tokens=tokens)
    crash: Crash | None = None
    before = ledger.outcomes
    ends = time.monotonic() + LONGEST
    load.start()
    try:
        with view_of(screen) as view:
            while time.monotonic() < ends:
                done = ledger.outcomes - before
                words = f"{done} of {total} have their outcome"
                view.show(stage.runtime.status(), ledger.by_backend(), words)
                if crash is None and done >= total // 2:
                    crash = _crash(stage)
                    if crash is not None:
                        view.say(f"crashed {crash.backend} with {len(crash.held)} requests in flight at it")
                if done >= total and not load.sending:
                    break
                time.sleep(_TICK)
    finally:
        load.stop()
    return crash


def _simulate(screen: Screen) -> bool:
    """The same configuration in virtual time, with an outage; do all invariants hold?"""
    screen.heading(f"6  The same in simulation: ten minutes, and {FIRST} is out for two of them")
    order = Order.of(None, demo=True, seed=SEED, duration="10m", rate=RATE, faults={"--outage": OUTAGES})
    try:
        with progress_on(sys.stderr) as progress:
            report = simulate(order, progress)
    except SimulationError as error:
        screen.rows([(SIGNS["failure"], str(error))])
        held = False
    else:
        show_briefly(screen, report)
        held = not report.violations
    screen.aside("  the same again, to the last digit of the digest:")
    show_command(screen, order)
    return held


def _crash(stage: Stage) -> Crash | None:
    """Let the first backend's actor die and nothing that it sent come back, if there is enough of it."""
    witness = stage.witnesses[FIRST]
    if witness.in_flight < ENOUGH_IN_FLIGHT:
        return None
    held = witness.fall_silent()
    stage.runtime.backends.crash(FIRST)
    return Crash(backend=FIRST, held=held)
