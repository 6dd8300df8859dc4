"""A strategy of the user's own in the whole tree: it chooses, and what goes wrong in it is one request's."""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Sequence

import pytest

from showcaller.actors.errors import ConfigurationError
from showcaller.actors.models import Answered, Errored
from showcaller.actors.strategy import Candidate
from tests.tree.stage import OK, Script, Stage, stage


class Mine:
    """Does what a test says."""

    def __init__(self, do: Callable[[Sequence[Candidate]], object]) -> None:
        self.do = do

    def choose(self, candidates: Sequence[Candidate], rng: random.Random) -> str:
        return self.do(candidates)  # type: ignore[return-value]


def boom(candidates: Sequence[Candidate]) -> str:
    """Raise."""
    raise ZeroDivisionError("division by nothing")


def leave(candidates: Sequence[Candidate]) -> str:
    """End the thread."""
    raise SystemExit


def staged(strategy: Mine) -> Stage:
    """Two backends that answer."""
    return stage({"a": Script(OK), "b": Script(OK)}, strategy=strategy)  # type: ignore[arg-type]


def test_a_strategy_of_ones_own_decides() -> None:
    """By what it is told of each candidate, which includes the latencies that were seen."""
    seen: list[Sequence[Candidate]] = []

    def last(candidates: Sequence[Candidate]) -> str:
        seen.append(candidates)
        return candidates[-1].name

    scene = staged(Mine(last))
    for _ in range(2):
        pending = scene.submit()
        scene.advance(1.0)
        assert pending.result(0).backend == "b"
    assert [candidate.name for candidate in seen[1]] == ["a", "b"]
    assert seen[0][1].latency is None
    assert seen[1][1].latency is not None
    assert seen[1][0].latency is None
    scene.at_rest()


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (boom, "route 'fast': the routing_strategy Mine raised ZeroDivisionError"),
        (leave, "route 'fast': the routing_strategy Mine raised SystemExit"),
        (
            lambda candidates: "nobody",
            "route 'fast': the routing_strategy Mine returned 'nobody'; use one of a, b",
        ),
        (lambda candidates: None, "route 'fast': the routing_strategy Mine returned None; use one of a, b"),
    ],
)
def test_a_strategy_that_fails_fails_one_request(
    wrong: Callable[[Sequence[Candidate]], object], says: str, caplog: pytest.LogCaptureFixture
) -> None:
    """With an error that names it; those before, beside and after it are answered, and no actor dies."""
    script = [lambda candidates: "a", wrong, lambda candidates: "b"]
    scene = staged(Mine(lambda candidates: script.pop(0)(candidates)))
    with caplog.at_level(logging.ERROR, "showcaller.supervisor"):
        first, second, third = (scene.submit(prompt) for prompt in ("one", "two", "three"))
        other = scene.submit("four", model="a")
        scene.advance(2.0)
    assert isinstance(first.outcome, Answered)
    assert isinstance(third.outcome, Answered)
    assert isinstance(other.outcome, Answered)
    assert isinstance(second.outcome, Errored)
    assert isinstance(second.outcome.error, ConfigurationError)
    assert second.outcome.error.message.startswith(says)
    assert [record.getMessage().startswith(says) for record in caplog.records] == [True]
    assert scene.tree.children["supervisor"].generation == 1
    assert not script
    scene.at_rest()


def test_a_strategy_that_always_fails_fails_each_request_of_its_route() -> None:
    """However many wait at once, and nothing else."""
    scene = staged(Mine(boom))
    scene.submit("warm up")
    waiting = [scene.submit(f"prompt {number}") for number in range(2_000)]
    beside = scene.submit("another", model="b")
    scene.advance(2.0)
    assert all(isinstance(pending.outcome, Errored) for pending in waiting)
    assert isinstance(beside.outcome, Answered)
    assert scene.tree.children["supervisor"].generation == 1
    scene.at_rest()
