"""Backends that can be probed, on a stage that probes them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from showcaller.actors.errors import RequestCancelledError, ShowcallerError
from showcaller.actors.settings import HealthConfig
from showcaller.actors.transport import Attempt, Failed, Pause, Sent, TransportEvent
from tests.tree.stage import Script, Stage, stage

INTERVAL = 30.0
LONGEST = INTERVAL * 1.2


class Probed(Script):
    """A script that can be probed as well: that takes `seconds`, and fails of `error` if there is one."""

    def __init__(self, *plays: list[TransportEvent | float | Exception]) -> None:
        super().__init__(*plays)
        self.probes: list[Attempt] = []
        self.seconds = 0.1
        self.error: ShowcallerError | Exception | None = None
        self.ended = 0

    def probe(self, attempt: Attempt) -> Iterator[TransportEvent]:
        self.probes.append(attempt)
        try:
            yield Sent()
            yield Pause(self.seconds)
            if attempt.cancel.cancelled:
                yield Failed(RequestCancelledError("cancelled"))
            elif isinstance(self.error, ShowcallerError):
                yield Failed(self.error)
            elif self.error is not None:
                raise self.error
        finally:
            self.ended += 1


def watched(scripts: dict[str, Script], **options: Any) -> Stage:
    """A stage whose backends are probed."""
    return stage(scripts, health=HealthConfig(probe_interval=INTERVAL, probe_timeout=5.0), **options)


def first_probe(s: Stage, script: Probed) -> float:
    """Lets time pass until a probe is under way; when it began."""
    while not script.probes:
        s.advance(0.5)
    return script.probes[0].deadline - script.probes[0].timeout.total
