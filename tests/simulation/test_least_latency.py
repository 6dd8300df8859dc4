"""LEAST_LATENCY keeps away from a backend with a tail of slow answers, and comes back to it when that is over."""

from __future__ import annotations

import pytest

from showcaller.actors.attempt import LIVE, AttemptRecord
from showcaller.actors.backend_config import BackendConfig
from showcaller.actors.configuration import RuntimeConfig
from showcaller.actors.policies.silent_attempts import SilentAttempts
from showcaller.actors.route_config import RouteConfig
from showcaller.actors.settings import RuntimeSettings
from showcaller.runtime.testing import faults
from showcaller.runtime.testing.assertions import assert_invariants
from showcaller.runtime.testing.report import Report
from showcaller.runtime.testing.simulation import Simulation

DURATION = 300.0
RATE = 10.0


def run(
    names: str,
    *,
    seed: int,
    strategy: str = "least_latency",
    share: float = 0.0,
    slow_for: float = DURATION,
    streams: float = 0.0,
) -> Report:
    """Equal backends, of which the third takes ten times as long for a share of its answers, from the start."""
    config = RuntimeConfig(
        runtime=RuntimeSettings(model="fast"),
        backends=[
            BackendConfig(name=name, backend_type="openai", base_url="http://127.0.0.1:9/v1", model="m")
            for name in names
        ],
        routes=[RouteConfig(name="fast", routing_strategy=strategy, targets=list(names))],
    )
    with Simulation(config, seed=seed) as simulation:
        simulation.traffic(rate=RATE, duration=DURATION, streams=streams)
        if share:
            simulation.at(0.0, faults.slow("c", 10, slow_for, share=share))
        report = simulation.run()
    assert_invariants(report)
    return report


@pytest.mark.parametrize(
    ("seed", "share", "streams"), [(0, 0.2, 0.0), (1, 0.2, 0.0), (2, 0.2, 0.0), (3, 0.1, 0.0), (4, 0.2, 1.0)]
)
def test_a_tail_of_one_backend_in_three_is_hardly_felt(seed: int, share: float, streams: float) -> None:
    """The 99th percentile stays within 1.5 times that of the healthy pair alone."""
    pair = run("ab", seed=seed, streams=streams).p99("latency")
    report = run("abc", seed=seed, share=share, streams=streams)
    assert report.p99("latency") <= 1.5 * pair
    assert 0.0 < report.share()["c"] < 0.15


def test_who_takes_turns_feels_the_tail() -> None:
    """So that it is the strategy that keeps it away."""
    assert run("abc", seed=0, share=0.2, strategy="round_robin").p99("latency") > 6.0


def test_equal_backends_are_used_equally() -> None:
    """As long as nothing is wrong."""
    shares = run("abc", seed=1).share()
    assert all(0.28 < shares[name] < 0.39 for name in "abc")


def test_a_backend_that_is_quick_again_gets_its_share_again() -> None:
    """Slow for a minute of five: in the last three it gets nearly what the others get."""
    report = run("abc", seed=1, share=1.0, slow_for=60.0)
    late = [attempt.backend for attempt in report.attempts if attempt.started >= 120.0]
    assert 0.25 < late.count("c") / len(late) < 0.39
    early = [attempt.backend for attempt in report.attempts if 20.0 < attempt.started < 60.0]
    assert early.count("c") / len(early) < 0.1


def with_one_ill(
    kind: str,
    *,
    seed: int,
    streams: float,
    strategy: str = "least_latency",
    cancels: float = 0.0,
    begins: float = 60.0,
    duration: float = 120.0,
) -> Report:
    """Three equal backends, of which the third does so from a time on."""
    names = "abc"
    config = RuntimeConfig(
        runtime=RuntimeSettings(model="fast"),
        backends=[
            BackendConfig(name=name, backend_type="openai", base_url="http://127.0.0.1:9/v1", model="m")
            for name in names
        ],
        routes=[RouteConfig(name="fast", routing_strategy=strategy, targets=list(names))],
    )
    with Simulation(config, seed=seed) as simulation:
        simulation.traffic(rate=RATE, duration=duration, streams=streams, cancels=cancels, patience=10.0)
        simulation.at(begins, faults.errors("c", kind, duration=300.0))
        return simulation.run()


def calls_then(report: Report) -> list[str]:
    """Where the calls went since it is ill, when all else is as it should be."""
    assert_invariants(report)
    return [attempt.backend for attempt in report.attempts if attempt.started >= 60.0]


@pytest.mark.parametrize(("seed", "streams"), [(0, 0.0), (1, 1.0), (2, 0.0)])
def test_a_backend_that_begins_to_hang_gets_hardly_anything_more(seed: int, streams: float) -> None:
    """Of 600 calls those of the first second or two; without a look at what is under way it would be 16 to 26."""
    assert calls_then(with_one_ill("stalled", seed=seed, streams=streams)).count("c") <= 10


def test_callers_that_give_a_hanging_backend_up_do_not_make_it_quick() -> None:
    """All leave at some moment of their first 10 s; were that forgotten at once it would be 39 calls."""
    assert calls_then(with_one_ill("stalled", seed=0, streams=1.0, cancels=1.0)).count("c") <= 15


@pytest.mark.parametrize(
    ("kind", "strategy", "most"),
    [
        ("server_error", "least_latency", 0.02),
        ("rate_limit", "least_latency", 0.1),
        ("rate_limit", "least_connections", 0.25),
        ("rate_limit", "round_robin", 0.25),
    ],
)
def test_who_turns_everything_away_at_once_is_not_the_first_choice(
    kind: str, strategy: str, most: float
) -> None:
    """It never has anything to do, and would get nearly all if that were all that counts; nor does a request fail."""
    report = with_one_ill(kind, seed=0, streams=0.5, strategy=strategy)
    calls = calls_then(report)
    assert calls.count("c") / len(calls) <= most
    assert report.success_rate == 1.0


def youngest(self: SilentAttempts, now: float) -> float:
    """What was sent last is taken for the oldest."""
    return min((now - at for attempt, at in self._sent.values() if attempt.is_silent), default=0.0)


@pytest.mark.parametrize(
    ("owner", "name", "bug"),
    [
        (SilentAttempts, "longest", lambda self, now: 0.0),
        (SilentAttempts, "longest", youngest),
        (AttemptRecord, "is_silent", property(lambda self: self.state in LIVE)),
    ],
    ids=["unheard", "youngest", "a speaker"],
)
def test_the_invariants_see_a_silence_that_is_misjudged(
    owner: type, name: str, bug: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Planted here: random scenarios seldom have a backend that hangs and a route that should notice."""
    monkeypatch.setattr(owner, name, bug)
    report = with_one_ill("stalled", seed=0, streams=1.0, begins=5.0, duration=15.0)
    assert any("is quicker" in violation for violation in report.violations)
