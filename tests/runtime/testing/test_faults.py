"""Faults as values: what they refuse, how they print, and how they are drawn."""

from __future__ import annotations

import random

import pytest

from showcaller.actors.backend_config import BackendConfig
from showcaller.actors.enums import BackendType
from showcaller.actors.errors import (
    ConfigurationError,
)
from showcaller.actors.kernel.message import Down
from showcaller.runtime.testing import faults
from showcaller.runtime.testing.chaos import chaos
from showcaller.runtime.testing.dice import SeededDice
from showcaller.runtime.testing.distributions import Constant, HeavyTail, Lognormal
from showcaller.runtime.testing.errors import Injected
from showcaller.runtime.testing.tree_faults import handlers_of
from showcaller.runtime.testing.vocabulary import DRAWINGS, draw_fault
from tests.runtime.testing.pair import EVERYBODY, Seen, backend, config

EACH = {
    "outage": faults.outage("a", 120),
    "errors": faults.errors("a", "rate_limit", 0.5, duration=30.0, retry_after=3),
    "slow": faults.slow("a", 4.0, 30.0, share=0.1),
    "latency": faults.latency("a", HeavyTail(0.1, 1.2), duration=5),
    "slow_close": faults.slow_close("a", 2.0, 30.0),
    "late_result": faults.late_result("a", 2.0),
    "duplicate_result": faults.duplicate_result("a", times=3),
    "lost_result": faults.lost_result("a"),
    "crash": faults.crash("supervisor", "on_granted", after=True),
    "restart_storm": faults.restart_storm("a", 3, every=1.0),
    "fail_start": faults.fail_start("a", 2),
    "fail_init": faults.fail_init("recorder"),
    "no_thread": faults.no_thread("a", times=2),
    "stall": faults.stall("supervisor", 3.0),
    "slow_actor": faults.slow_actor("recorder", 0.1, 10.0),
    "broken": faults.broken("recorder", OSError, duration=10.0),
    "overload": faults.overload("recorder", 10.0),
    "wall_skip": faults.wall_skip(-3600.0),
    "suspend": faults.suspend(60.0),
    "cancel": faults.cancel(0.5),
    "cancel_everything": faults.cancel_everything(),
    "batch": faults.batch(20, max_size=4, pause=0.5),
    "reset": faults.reset("a"),
    "add": faults.add(
        backend("c", max_parallel_requests=2, timeout=9.0, api_key="sk-a-credential", supports=["tools"])
    ),
    "drain": faults.drain("a", timeout=3.0),
    "remove": faults.remove("a"),
    "replace": faults.replace("a", max_parallel_requests=2, idempotent=False),
}
SPACE = {
    "faults": faults,
    "BackendConfig": BackendConfig,
    "BackendType": BackendType,
    "Constant": Constant,
    "HeavyTail": HeavyTail,
    "Lognormal": Lognormal,
}
VALUES = {"ACTORS", "KINDS", "Fault"}


def test_each_fault_is_in_the_tables():
    """Of this file, and of what random scenarios draw."""
    assert set(EACH) == set(faults.__all__) - VALUES
    assert {name.removesuffix("_nth") for name in DRAWINGS} == set(EACH)


@pytest.mark.parametrize("name", EACH)
def test_the_repr_of_a_fault_makes_it_again(name):
    """It is code, and shows no credential."""
    fault = EACH[name]
    text = repr(fault)
    assert "sk-a-credential" not in text
    again = eval(text, {**SPACE, "Timeouts": type(backend("c").timeout)})
    assert repr(again) == text
    assert (again.lasts, again.heals) == (fault.lasts, fault.heals)
    if name != "add":
        assert again == fault


def test_a_repr_is_the_call():
    """As it would be written."""
    assert repr(EACH["outage"]) == "faults.outage('a', duration=120)"
    assert repr(EACH["broken"]) == "faults.broken('recorder', error=OSError, duration=10.0)"
    assert repr(EACH["replace"]) == "faults.replace('a', max_parallel_requests=2, idempotent=False)"


@pytest.mark.parametrize(
    "name",
    [
        name
        for name in EACH
        if name not in ("wall_skip", "suspend", "cancel", "cancel_everything", "batch", "add")
    ],
)
def test_a_name_that_does_not_exist_is_refused_when_the_fault_strikes(name, sim):
    """With the names that do."""
    fault = faults.crash("supervisor") if name == "crash" else EACH[name]
    again = getattr(faults, name)(**{**fault.arguments, next(iter(fault.arguments)): "nobody"})
    with pytest.raises(ConfigurationError, match=rf"{name}\.\w+ = 'nobody': no .*(known|mean)"):
        again.apply(sim)


@pytest.mark.parametrize(
    ("make", "field"),
    [
        (lambda: faults.outage("a", -1), "outage.duration"),
        (lambda: faults.outage("a", float("nan")), "outage.duration"),
        (lambda: faults.errors("a", "rate_limits", duration=1), "errors.kind"),
        (lambda: faults.errors("a", "stalled", 0.0, duration=1), "errors.share"),
        (lambda: faults.errors("a", "stalled", 1.1, duration=1), "errors.share"),
        (lambda: faults.errors("a", "stalled", duration=1, retry_after=3), "errors.retry_after"),
        (lambda: faults.errors("a", "rate_limit", duration=1, retry_after=-3), "errors.retry_after"),
        (lambda: faults.errors("a", "truncated", duration=1, after_chunks=-1), "errors.after_chunks"),
        (lambda: faults.slow("a", 0.0, 1.0), "slow.factor"),
        (lambda: faults.slow("a", 2.0, "1"), "slow.duration"),
        (lambda: faults.latency("a", 2.0, 1.0), "latency.distribution"),
        (lambda: faults.slow_close("a", -2.0, 1.0), "slow_close.delay"),
        (lambda: faults.late_result("a", 2.0, 0), "late_result.times"),
        (lambda: faults.duplicate_result("a", True), "duplicate_result.times"),
        (lambda: faults.lost_result("a", 1.5), "lost_result.times"),
        (lambda: faults.crash("supervisor", "on_grant"), "crash.handler"),
        (lambda: faults.crash("a", "on_granted"), "crash.handler"),
        (lambda: faults.restart_storm("a", 0, 1.0), "restart_storm.crashes"),
        (lambda: faults.restart_storm("a", 2, -1.0), "restart_storm.every"),
        (lambda: faults.fail_start("a", 0), "fail_start.times"),
        (lambda: faults.fail_init("a", 0), "fail_init.times"),
        (lambda: faults.no_thread("a", 0), "no_thread.times"),
        (lambda: faults.stall("a", -1), "stall.duration"),
        (lambda: faults.slow_actor("a", -1, 1), "slow_actor.pause"),
        (lambda: faults.broken("a", "OSError", duration=1), "broken.error"),
        (lambda: faults.broken("a", KeyboardInterrupt, duration=1), "broken.error"),
        (lambda: faults.overload("a", -1), "overload.duration"),
        (lambda: faults.wall_skip(float("inf")), "wall_skip.by"),
        (lambda: faults.suspend(-1), "suspend.duration"),
        (lambda: faults.cancel(0), "cancel.share"),
        (lambda: faults.cancel(nth=0), "cancel.nth"),
        (lambda: faults.batch(0), "batch.requests"),
        (lambda: faults.batch(1, pause=-1.0), "batch.pause"),
        (lambda: faults.add("a"), "add.config"),
        (lambda: faults.drain("a", -1), "drain.timeout"),
        (lambda: faults.remove("a", -1), "remove.timeout"),
        (lambda: faults.replace("a", drain_timeout=-1), "replace.drain_timeout"),
        (lambda: faults.replace("a", max_paralel_requests=1), "replace.max_paralel_requests"),
    ],
)
def test_a_value_that_cannot_be_is_refused_when_the_fault_is_made(make, field):
    """By name."""
    with pytest.raises(ConfigurationError, match=field.replace(".", r"\.") + " = "):
        make()


def test_every_actor_has_handlers_to_crash_in():
    """Not those that are Pykka's own, except the stop."""
    for actor in EVERYBODY:
        handlers = handlers_of(actor)
        assert "on_wind_down" in handlers
        assert "on_stop" in handlers
        assert "on_receive" not in handlers
        assert "on_start" not in handlers
    assert "on_execute" in handlers_of("a")
    assert "on_granted" in handlers_of("supervisor")


# --- what is drawn ---


def drawn(count, **options):
    dice = SeededDice(random.Random(7))
    return [draw_fault(dice, config(), **options) for _ in range(count)]


def test_every_fault_and_every_kind_of_error_is_drawn():
    """Sooner or later, and each can be written down and made again."""
    seen = drawn(3000)
    assert {fault.name for fault in seen} == set(EACH)
    assert {fault.arguments["kind"] for fault in seen if fault.name == "errors"} == set(faults.KINDS)
    for fault in seen:
        assert repr(eval(repr(fault), dict(SPACE))) == repr(fault)
        assert 0 <= fault.lasts <= 60


def test_only_what_heals_is_drawn_when_that_is_wanted():
    """So that everything must work again in the end."""
    assert all(fault.heals for fault in drawn(2000, heals=True))
    assert not all(fault.heals for fault in drawn(2000))


@pytest.mark.parametrize("seed", range(12))
def test_whatever_is_drawn_no_actor_dies_of_anything_else(seed):
    """Every death in a random scenario is one that a fault has caused."""
    scenario = chaos(seed)
    with scenario.simulation() as sim:
        seen = Seen()
        sim.world.observers.append(seen)
        sim.run()
        crashes = [down.crash for down in seen.of(Down) if down.crash is not None]
    assert [str(crash) for crash in crashes if not isinstance(crash.error, Injected | RuntimeError)] == []
