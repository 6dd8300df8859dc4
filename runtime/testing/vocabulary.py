"""How each fault is drawn for a random scenario: one table for seeds and for Hypothesis.

The first of everything is the simplest, so that what Hypothesis finds shrinks towards it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from attrs import evolve, frozen

from showcaller.actors.configuration import RuntimeConfig
from showcaller.runtime.testing import faults
from showcaller.runtime.testing.dice import Dice
from showcaller.runtime.testing.distributions import Constant, Distribution, HeavyTail, Lognormal
from showcaller.runtime.testing.fault import Fault
from showcaller.runtime.testing.mishaps import MIDWAY, STATUSES
from showcaller.runtime.testing.tree_faults import ACTORS, handlers_of
from showcaller.runtime.testing.upstream_faults import UNHEALED

KINDS: Final = (
    *("server_error", "rate_limit", "unreachable", "stalled", "stalled_midway", "truncated", "stream_error"),
    *("unavailable", "overloaded", "bad_gateway", "empty", "malformed", "no_connect"),
    *("unauthorized", "forbidden", "billing", "insufficient_quota", "not_found", "bad_request"),
    *("content_filter", "context_overflow", "raises", "no_outcome", "hangs", "retired"),
)
"""The kinds of errors, the common ones first."""
OBSERVERS: Final = ("recorder", "analytics", "health_monitor")
LONGEST: Final = 12.0
"""Seconds that a drawn fault lasts at most."""


@frozen
class Drawing:
    """How one kind of fault is drawn.

    Attributes:
        make: draws one.
        weight: how often it is drawn, compared with the others.
        heals: does everything work again after it, for all that can be drawn?
    """

    make: Callable[[_Draw], Fault]
    weight: int = 2
    heals: bool = True


class _Draw:
    """The dice of one draw, and the names that there are."""

    def __init__(self, dice: Dice, config: RuntimeConfig, *, heals: bool) -> None:
        self.dice = dice
        self.config = config
        self.heals = heals

    @property
    def backend(self) -> str:
        """One of the backends."""
        return self.dice.pick([backend.name for backend in self.config.backends])

    @property
    def actor(self) -> str:
        """One of all actors."""
        return self.dice.pick((*ACTORS, *(backend.name for backend in self.config.backends)))

    @property
    def duration(self) -> float:
        """How long a condition lasts."""
        return self.dice.number(0.1, LONGEST)

    @property
    def delay(self) -> float:
        """How late a message comes."""
        return self.dice.number(0.0, LONGEST)

    @property
    def share(self) -> float:
        """All, or some."""
        return 1.0 if self.dice.chance(0.5) else self.dice.number(0.05, 0.9)

    def errors(self) -> Fault:
        """Errors of any kind."""
        dice = self.dice
        kind = dice.pick([kind for kind in KINDS if not self.heals or kind not in UNHEALED])
        backend, share, duration = self.backend, self.share, self.duration
        if kind in MIDWAY:
            return faults.errors(backend, kind, share, duration=duration, after_chunks=dice.whole(0, 6))
        if kind in STATUSES and STATUSES[kind].waits and dice.chance(0.6):
            wait = dice.pick([1, 0, 3, 30, 3600])
            return faults.errors(backend, kind, share, duration=duration, retry_after=wait)
        return faults.errors(backend, kind, share, duration=duration)

    def crash(self) -> Fault:
        """A death at any handler of any actor."""
        actor, dice = self.actor, self.dice
        handler = dice.pick(handlers_of(actor)) if dice.chance(0.7) else None
        return faults.crash(actor, handler, after=dice.chance(0.5), base=dice.chance(0.1))

    def storm(self) -> Fault:
        """Some deaths; of a backend's actor also too many, after which it waits for five minutes."""
        dice = self.dice
        if not self.heals and dice.chance(0.5):
            return faults.restart_storm(self.backend, dice.whole(6, 8), dice.number(0.5, 2.5))
        return faults.restart_storm(self.actor, dice.whole(2, 3), dice.number(0.0, 3.0))

    def distribution(self) -> Distribution:
        """One of latencies."""
        dice = self.dice
        kinds: list[Callable[[], Distribution]] = [
            lambda: Constant(dice.number(0.0, 5.0)),
            lambda: Lognormal(dice.number(0.05, 2.0), dice.number(0.1, 1.5)),
            lambda: HeavyTail(dice.number(0.05, 1.0), dice.number(0.5, 2.0)),
        ]
        return dice.pick(kinds)()

    def batch(self) -> Fault:
        """A caller that uses a batcher."""
        dice = self.dice
        return faults.batch(
            dice.whole(1, 12),
            max_size=dice.whole(1, 5),
            max_wait=dice.pick([0.5, 0.0, 2.0]),
            max_concurrency=dice.pick([32, 1, 3]),
            pause=dice.pick([0.0, 0.05, 0.3]),
        )

    def addition(self) -> Fault:
        """A backend beside the others, or one of a name that is taken."""
        like = self.dice.pick(self.config.backends)
        name = self.dice.pick(("added", "added-too", None))
        return faults.add(like if name is None else evolve(like, name=name, entry=name))

    def replacement(self) -> Fault:
        """Another configuration under the same name."""
        backend, timeout, dice = self.backend, self.dice.number(0.0, 5.0), self.dice
        if dice.chance(0.5):
            return faults.replace(backend, drain_timeout=timeout, max_parallel_requests=dice.whole(1, 8))
        return faults.replace(backend, drain_timeout=timeout, rate_limit_rpm=dice.pick([None, 10, 100]))


DRAWINGS: Final[Mapping[str, Drawing]] = {
    "outage": Drawing(lambda d: faults.outage(d.backend, d.duration), 4),
    "errors": Drawing(lambda d: d.errors(), 10),
    "slow": Drawing(lambda d: faults.slow(d.backend, d.dice.number(1.5, 30.0), d.duration, d.share), 3),
    "latency": Drawing(lambda d: faults.latency(d.backend, d.distribution(), d.duration), 2),
    "slow_close": Drawing(lambda d: faults.slow_close(d.backend, d.delay, d.duration)),
    "late_result": Drawing(lambda d: faults.late_result(d.backend, d.delay, d.dice.whole(1, 3))),
    "duplicate_result": Drawing(
        lambda d: faults.duplicate_result(d.backend, d.dice.whole(1, 3), delay=d.dice.pick([0.0, d.delay]))
    ),
    "lost_result": Drawing(lambda d: faults.lost_result(d.backend, d.dice.whole(1, 2)), heals=False),
    "crash": Drawing(lambda d: d.crash(), 10),
    "restart_storm": Drawing(lambda d: d.storm()),
    "fail_start": Drawing(lambda d: faults.fail_start(d.actor, d.dice.whole(1, 2))),
    "fail_init": Drawing(lambda d: faults.fail_init(d.actor, d.dice.whole(1, 2))),
    "no_thread": Drawing(lambda d: faults.no_thread(d.actor, d.dice.whole(1, 2))),
    "stall": Drawing(lambda d: faults.stall(d.actor, d.dice.number(0.01, 6.0)), 3),
    "slow_actor": Drawing(lambda d: faults.slow_actor(d.actor, d.dice.number(0.001, 0.1), d.duration)),
    "broken": Drawing(
        lambda d: faults.broken(d.dice.pick(OBSERVERS), OSError, duration=d.duration, share=d.share)
    ),
    "overload": Drawing(lambda d: faults.overload(d.actor, d.duration)),
    "wall_skip": Drawing(lambda d: faults.wall_skip(d.dice.pick([60.0, -60.0, 3600.0, -3600.0, 1e5, -1e5]))),
    "suspend": Drawing(lambda d: faults.suspend(d.dice.number(0.1, 60.0))),
    "cancel": Drawing(lambda d: faults.cancel(d.share)),
    "cancel_nth": Drawing(lambda d: faults.cancel(nth=d.dice.whole(1, 4)), 1),
    "cancel_everything": Drawing(lambda d: faults.cancel_everything(), 1),
    "add": Drawing(lambda d: d.addition()),
    "drain": Drawing(lambda d: faults.drain(d.backend, d.dice.number(0.0, 5.0)), heals=False),
    "remove": Drawing(lambda d: faults.remove(d.backend, d.dice.number(0.0, 5.0)), heals=False),
    "replace": Drawing(lambda d: d.replacement(), heals=False),
    "reset": Drawing(lambda d: faults.reset(d.backend)),
    "batch": Drawing(lambda d: d.batch(), 1),
}
"""By the name of the fault, or what tells two ways of drawing it apart."""


def draw_fault(dice: Dice, config: RuntimeConfig, *, heals: bool = False) -> Fault:
    """One fault for a configuration.

    Args:
        dice: decides everything.
        config: whose backends it strikes.
        heals: only faults after which everything works again.
    """
    table = [one for one in DRAWINGS.values() if one.heals or not heals]
    chosen = dice.pick([one for one in table for _ in range(one.weight)])
    return chosen.make(_Draw(dice, config, heals=heals))
