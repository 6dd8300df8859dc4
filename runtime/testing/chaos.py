"""Random scenarios in which everything happens at once: what our own tree is soaked in, one seed after the other."""

from __future__ import annotations

import random
from typing import Any, cast

from attrs import evolve

from showcaller.actors.backend_config import BackendConfig, Timeouts
from showcaller.actors.configuration import RuntimeConfig
from showcaller.actors.enums import BackendType, Capability, LoadBalanceStrategy
from showcaller.actors.response_validators import finish_reason, matches
from showcaller.actors.route_config import RouteConfig, TargetConfig
from showcaller.actors.settings import HealthConfig, QuotaConfig, RuntimeSettings
from showcaller.runtime.prompt import Options
from showcaller.runtime.testing import faults
from showcaller.runtime.testing.behaviour import Behaviour
from showcaller.runtime.testing.dice import Dice, SeededDice
from showcaller.runtime.testing.distributions import Constant, Distribution, HeavyTail, Lognormal
from showcaller.runtime.testing.fault import Fault
from showcaller.runtime.testing.report import Report
from showcaller.runtime.testing.scenario import Planned, Scenario
from showcaller.runtime.testing.traffic import Traffic
from showcaller.runtime.testing.vocabulary import draw_fault

NAMES = ("a", "b", "c", "d")
MODEL = "shared"
FIRST_TOKENS: tuple[Distribution, ...] = (Constant(0.1), Lognormal(0.3, 0.5), HeavyTail(0.1, 1.2))
INTERVALS: tuple[Distribution, ...] = (Constant(0.0), Constant(0.01), Lognormal(0.01, 1.0))
BUSY = {
    "supervisor": ("on_route", "on_granted", "on_refused", "on_attempt_finished", "on_retry_due", "on_down"),
    "quota_manager": ("on_reserve", "on_settle"),
    "deduplicator": ("on_coalesce", "on_flight_done"),
}
"""The handlers that have something to lose."""
TOOLS = [{"type": "function", "function": {"name": "search", "parameters": {"type": "object"}}}]
SCHEMA = {"type": "json_schema", "json_schema": {"name": "answer", "schema": {"type": "object"}}}
CHECKS: tuple[dict[str, Any], ...] = (
    {},
    {},
    {},
    # Each token of a simulated answer names the request, the attempt and its place, and ends with a space.
    {"transforms": ["strip_whitespace"], "validators": [matches(r"\S\Z")]},
    {"transforms": ["strip_whitespace"]},
    {"validators": [matches(r"\.[2-9]\.0 ")]},
    {"validators": [finish_reason("stop"), matches(r"[0-6]\.\d+\.0 ")]},
)
"""What answers must be like: as they are; only without the space; from another attempt than the first; not for all."""
DURATION = 20.0
"""Seconds of traffic and faults; a scenario is some thousands of steps."""


def chaos(seed: int) -> Scenario:
    """The scenario of a seed."""
    dice = SeededDice(random.Random(f"chaos {seed}"))
    config = draw_config(dice)
    struck = [draw_fault(dice, config) for _ in range(dice.whole(0, 12))]
    if dice.chance(0.7):
        struck += draw_storm(dice, config)
    planned = [Planned(dice.number(0.0, DURATION), fault) for fault in struck]
    return Scenario(
        config=config,
        seed=seed,
        traffic=with_twin([draw_traffic(dice, config) for _ in range(dice.whole(5, 10))]),
        faults=tuple(sorted(planned, key=lambda one: one.time)),
        behaviours={backend.name: draw_behaviour(dice) for backend in config.backends},
    )


def draw_storm(dice: Dice, config: RuntimeConfig) -> list[Fault]:
    """Faults that are rarely drawn and hard to survive: deaths in the middle of the way of a request, above all."""
    names = [backend.name for backend in config.backends]
    struck = [
        faults.crash(actor, dice.pick(handlers), after=dice.chance(0.3))
        for actor, handlers in BUSY.items()
        for _ in range(dice.whole(0, 3))
    ]
    struck += [faults.crash(name, "on_execute", after=dice.chance(0.5)) for name in names for _ in range(2)]
    struck += [faults.crash(name) for name in names]
    if dice.chance(0.3):
        # Most of them at once: more than may be left out for being unhealthy.
        struck += [faults.errors(name, "unavailable", 0.8, duration=8.0) for name in names[1:]]
    waits = dice.pick([1, 3, 30])
    return [
        *struck,
        faults.errors(dice.pick(names), "rate_limit", 0.5, duration=4.0, retry_after=waits),
        faults.errors(dice.pick(names), "server_error", duration=3.0),
        faults.errors(dice.pick(names), "unavailable", 0.6, duration=10.0),
        faults.errors(names[0], dice.pick(["context_overflow", "content_filter"]), 0.5, duration=6.0),
        faults.late_result(dice.pick(names), 2.0, 2),
        faults.stall(dice.pick(names), 0.5),
        faults.drain(dice.pick(names), 3.0),
        faults.restart_storm(dice.pick(names), dice.pick([1, 6, 9]), 2.5),
        faults.reset(dice.pick(names)),
        faults.reset(dice.pick(names)),
        faults.batch(12, max_size=dice.whole(2, 5), max_wait=1.0, max_concurrency=3, pause=0.1),
    ]


def draw_config(dice: Dice) -> RuntimeConfig:
    """Two to four backends of one model, two routes over them with fallbacks, and limits that matter."""
    names = NAMES[: dice.whole(2, 4)]
    backends = [draw_backend(dice, name) for name in names]
    fast = dice.pick([names, names[:-1], names[:1]])
    routes = [
        RouteConfig(
            name=name,
            routing_strategy=dice.pick(list(LoadBalanceStrategy)),
            targets=[TargetConfig(target, float(dice.whole(1, 5))) for target in targets],
            allowed_fails=dice.pick([1, 3, 5, 10]),
            cooldown_time=dice.number(0.5, 5.0),
            slow_start=dice.pick([30.0, 5.0, 0.0]),
            fallbacks=dice.pick(further),
            context_window_fallbacks=dice.pick(further),
            content_policy_fallbacks=dice.pick(further),
        )
        for name, targets, further in (
            ("fast", fast, [("few",), (names[-1],), (MODEL,), ("few", names[0]), ()]),
            ("few", names[1:], [(), (names[0],)]),
        )
    ]
    return RuntimeConfig(
        runtime=RuntimeSettings(
            model="fast",
            timeout=dice.number(5.0, 40.0),
            num_retries=dice.whole(0, 4),
            retry_budget=dice.pick([0.1, 0.1, 0.0, 1.0]),
            retry_burst=dice.pick([100, 5, 0]),
            max_open_requests=dice.pick([10_000, 40, 10]),
            critical_share=dice.pick([0.2, 0.0, 0.5]),
            ageing=dice.pick([10.0, 1.0, 0.2]),
            reader_timeout=dice.number(2.0, 10.0),
        ),
        backends=backends,
        routes=routes,
        quota=QuotaConfig(
            requests_per_hour=dice.pick([None, 60, 1000]), requests_per_day=dice.pick([None, 100, 10_000])
        ),
        health=HealthConfig(probe_interval=dice.pick([None, 0.5, 3.0]), probe_timeout=dice.pick([0.2, 5.0])),
    )


def draw_backend(dice: Dice, name: str) -> BackendConfig:
    """An HTTP endpoint that is never called."""
    return BackendConfig(
        name=name,
        backend_type=BackendType.OPENAI_COMPATIBLE,
        base_url="http://127.0.0.1:9/v1",
        model=MODEL,
        enabled=dice.chance(0.95),
        timeout=Timeouts(
            connect=dice.number(0.1, 2.0),
            first_token=dice.number(0.5, 4.0),
            idle=dice.number(0.3, 3.0),
            total=dice.number(2.0, 15.0),
        ),
        max_retries=dice.whole(0, 2),
        max_parallel_requests=dice.pick([1, 2, 4, 16]),
        rate_limit_rpm=dice.pick([None, None, 20, 120]),
        rate_limit_tpm=dice.pick([None, None, 5_000, 50_000]),
        idempotent=dice.chance(0.85),
        supports=dice.pick([list(Capability), list(Capability), ["tools"], ["json_schema"], []]),
        context_window=dice.pick([None, None, 200, 450, 450, 3_000]),
    )


def draw_behaviour(dice: Dice) -> Behaviour:
    """Quick, slow, or quick with a heavy tail."""
    return Behaviour(
        connect=Constant(dice.pick([0.0, 0.005])),
        first_token=dice.pick(FIRST_TOKENS),
        token_interval=dice.pick(INTERVALS),
        answer_tokens=dice.pick([(1, 1), (1, 20), (10, 120)]),
        context_window=dice.pick([None, None, 200]),
        most_chunks=dice.pick([8, 3, 400]),
    )


def draw_traffic(dice: Dice, config: RuntimeConfig) -> Traffic:
    """Requests of one kind."""
    burst = dice.chance(0.25)
    duration = dice.number(0.5, 2.0) if burst else dice.number(5.0, DURATION)
    names = ("fast", "fast", "few", MODEL, *(backend.name for backend in config.backends))
    options: dict[str, Any] = {
        "model": dice.pick(names),
        "temperature": dice.pick([1.0, 0.0]),
        "priority": dice.pick(["normal", "low", "high", "critical"]),
        "timeout": dice.pick([None, 0.3, 3.0, 20.0, 100.0]),
        "max_tokens": dice.pick([None, 5, 2_000]),
        "idempotent": dice.pick([None, None, False]),
        "tools": dice.pick([None, None, None, TOOLS]),
        "response_format": dice.pick([None, None, None, SCHEMA]),
        **dice.pick(CHECKS),
    }
    return Traffic(
        rate=dice.number(10.0, 60.0) if burst else dice.number(1.0, 8.0),
        duration=duration,
        start=dice.number(0.0, DURATION - duration),
        prompts=dice.pick([None, ("hello", "bye"), ("long " * 300, "short")]),
        streams=dice.pick([0.0, 0.5, 1.0]),
        cancels=dice.pick([0.0, 0.0, 0.3]),
        read_pause=dice.pick([0.0, 0.0, 0.05, 1.0]),
        reads=dice.pick([None, None, None, 2]),
        options=cast(Options, {name: value for name, value in options.items() if value is not None}),
    )


def with_twin(traffic: list[Traffic]) -> tuple[Traffic, ...]:
    """Beside the first traffic whose requests may share answers, the same with other checks, so that they must not."""
    for one in traffic:
        if one.options.get("temperature") == 0.0 and one.prompts is not None:
            other = CHECKS[0] if one.options.get("transforms") else CHECKS[4]
            unset = {"transforms": None, "validators": None}
            return (*traffic, evolve(one, options=cast(Options, {**one.options, **unset, **other})))
    return tuple(traffic)


def soak(seed: int) -> Report:
    """Run the scenario of a seed; when its faults are over, see whether everything works again."""
    scenario = chaos(seed)
    with scenario.simulation() as simulation:
        simulation.run()
        simulation.advance(max(0.0, scenario.calm_from - simulation.now))
        simulation.inspector.check_recovery()
        return Report.of(simulation)
