"""Faults of backends: what their calls run into, and what becomes of the results on their way back."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

from attrs import evolve

from showcaller.actors.validators import is_number, nearest, refuse
from showcaller.runtime.testing.backend import Condition
from showcaller.runtime.testing.behaviour import Behaviour
from showcaller.runtime.testing.distributions import Distribution
from showcaller.runtime.testing.fault import Strike, fault, known_backend, seconds, share_of, whole_number
from showcaller.runtime.testing.mishaps import (
    AS_THEY_ARE,
    KINDS,
    MIDWAY,
    STATUSES,
    Mishap,
    disconnected,
    unreachable,
)
from showcaller.runtime.testing.saboteur import Meddling

if TYPE_CHECKING:
    from showcaller.runtime.testing.simulation import Simulation

UNHEALED = frozenset({"retired", "hangs"})
"""Kinds of errors after which a backend does not work again, or not with all of its seats."""


@fault
def outage(backend: str, duration: float) -> Strike:
    """A backend is gone: what is in flight is cut, and nothing connects any more, for `duration` seconds."""
    seconds("outage", duration=duration)
    return _weather("outage", backend, Condition(mishap=unreachable, cuts=disconnected), duration)


@fault
def errors(
    backend: str,
    kind: str,
    share: float = 1.0,
    *,
    duration: float,
    retry_after: int | None = None,
    after_chunks: int = 1,
) -> Strike:
    """Calls fail instead of being answered.

    Args:
        backend: whose.
        kind: how. Refused by status: rate_limit, insufficient_quota, billing, unauthorized, forbidden,
            not_found, retired, bad_request, content_filter, context_overflow, server_error, bad_gateway,
            unavailable, overloaded. Not connected: unreachable, no_connect. Answered wrongly: empty,
            malformed, truncated, stream_error. Silent: stalled, stalled_midway. Bugs of a transport: hangs,
            raises, no_outcome.
        share: which part of the calls that begin meanwhile.
        duration: seconds.
        retry_after: what a Retry-After header says, in seconds; of rate_limit, server_error, bad_gateway,
            unavailable and overloaded.
        after_chunks: after how many chunks of a stream it comes; of truncated, stream_error and stalled_midway.
    """
    seconds("errors", duration=duration)
    share_of("errors", share)
    mishap = _mishap(kind, retry_after, after_chunks)
    condition = Condition(mishap=mishap, share=share)
    return _weather("errors", backend, condition, duration, heals=kind not in UNHEALED)


def _mishap(kind: str, retry_after: int | None, after_chunks: int) -> Mishap:
    if kind not in KINDS:
        raise refuse("errors", "kind", kind, f"use a kind of error that is known{nearest(str(kind), KINDS)}")
    whole_number("errors", "after_chunks", after_chunks, least=0)
    if retry_after is not None:
        waits = [name for name, status in STATUSES.items() if status.waits]
        if kind not in waits:
            raise refuse("errors", "retry_after", retry_after, f"only for the kinds {', '.join(waits)}")
        whole_number("errors", "retry_after", retry_after, least=0)
    if kind in STATUSES:
        return STATUSES[kind].mishap(retry_after)
    return AS_THEY_ARE[kind] if kind in AS_THEY_ARE else MIDWAY[kind](after_chunks)


@fault
def slow(backend: str, factor: float, duration: float, share: float = 1.0) -> Strike:
    """Calls take `factor` times as long for `duration` seconds; with a `share` below 1.0 only some: a tail."""
    seconds("slow", duration=duration)
    share_of("slow", share)
    if not is_number(factor) or factor <= 0:
        raise refuse("slow", "factor", factor, "use a number greater than 0; 2.0 is half as fast")
    condition = Condition(change=lambda usually: usually.slower(factor), share=share)
    return _weather("slow", backend, condition, duration)


@fault
def latency(backend: str, distribution: Distribution, duration: float) -> Strike:
    """The first token takes as long as `distribution` says, for `duration` seconds."""
    seconds("latency", duration=duration)
    if not callable(getattr(distribution, "draw", None)):
        raise refuse("latency", "distribution", distribution, "use a distribution, such as Lognormal(0.5)")

    def change(usually: Behaviour) -> Behaviour:
        return evolve(usually, first_token=distribution)

    return _weather("latency", backend, Condition(change=change), duration)


def _weather(
    owner: str, backend: str, condition: Condition, duration: float, *, heals: bool = True
) -> Strike:
    def begin(simulation: Simulation) -> Callable[[], None]:
        known_backend(simulation, owner, backend)
        upstream = simulation.backends[backend]
        upstream.begin(condition)
        return lambda: upstream.end(condition)

    return Strike(begin=begin, lasts=duration, heals=heals)


# --- results ---


@fault
def slow_close(backend: str, delay: float, duration: float) -> Strike:
    """For `duration` seconds each seat of a backend comes back `delay` seconds after its answer."""
    seconds("slow_close", delay=delay, duration=duration)
    return _meddle("slow_close", backend, math.inf, passes=False, again=(delay,), duration=duration)


@fault
def late_result(backend: str, delay: float, times: int = 1) -> Strike:
    """The supervisor hears of the end of the next attempts `delay` seconds late; clients have their answers."""
    seconds("late_result", delay=delay)
    whole_number("late_result", "times", times)
    return _meddle("late_result", backend, times, passes=False, again=(delay,))


@fault
def duplicate_result(backend: str, times: int = 1, *, delay: float = 0.0) -> Strike:
    """The supervisor hears of the end of the next attempts twice, the second time `delay` seconds later."""
    seconds("duplicate_result", delay=delay)
    whole_number("duplicate_result", "times", times)
    return _meddle("duplicate_result", backend, times, passes=True, again=(delay,))


@fault
def lost_result(backend: str, times: int = 1) -> Strike:
    """The supervisor never hears of the end of the next attempts: their seats are abandoned in the end."""
    whole_number("lost_result", "times", times)
    return _meddle("lost_result", backend, times, passes=False, again=(), heals=False)


def _meddle(
    owner: str,
    backend: str,
    left: float,
    *,
    passes: bool,
    again: tuple[float, ...],
    duration: float | None = None,
    heals: bool = True,
) -> Strike:
    def begin(simulation: Simulation) -> Callable[[], None] | None:
        known_backend(simulation, owner, backend)
        meddling = Meddling(backend, left, passes, again)
        simulation.saboteur.meddling.append(meddling)
        return None if duration is None else lambda: simulation.saboteur.meddling.remove(meddling)

    lasts = max(again, default=0.0) if duration is None else duration + max(again)
    return Strike(begin=begin, lasts=lasts, heals=heals)
