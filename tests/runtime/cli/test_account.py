"""The account of the demo must be able to say no."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from showcaller.actors.errors import ServerError
from showcaller.actors.models import Errored
from showcaller.runtime.cli.account import Crash, settle
from showcaller.runtime.cli.ledger import Ledger
from showcaller.runtime.cli.output import open_screen
from showcaller.runtime.cli.stage import FIRST, Stage, staged


@pytest.fixture(scope="module")
def stage(model: Path) -> Iterator[Stage]:
    """A stage on which nothing was asked; it needs the model's file."""
    assert model.is_file()
    with staged() as stage:
        yield stage


@pytest.fixture
def verdict(stage: Stage, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[bool, str]]:
    """The account's verdict and text."""

    def judge(ledger: Ledger, crash: Crash | None = None) -> tuple[bool, str]:
        fine = settle(open_screen(sys.stdout), stage, ledger, crash)
        return fine, capsys.readouterr().out

    return judge


def test_a_request_without_outcome_is_lost(verdict: Callable[..., tuple[bool, str]]) -> None:
    """It was sent and nothing came."""
    ledger = Ledger()
    ledger.sent("r1")
    fine, text = verdict(ledger)
    assert not fine
    assert "✗  lost          1" in text


def test_a_second_outcome_is_a_duplicate(verdict: Callable[..., tuple[bool, str]]) -> None:
    """Even when it says the same."""
    ledger = Ledger()
    ledger.sent("r1")
    for _ in range(2):
        ledger.ended(Errored("r1", ServerError("no")), 0.1)
    fine, text = verdict(ledger)
    assert not fine
    assert "✗  duplicated    1" in text
    assert "ServerError" in text


def test_a_count_that_differs_from_the_runtimes_is_told(verdict: Callable[..., tuple[bool, str]]) -> None:
    """Both are shown, since one of them is wrong."""
    ledger = Ledger()
    ledger.sent("r1")
    _, text = verdict(ledger)
    assert "✗  second count  the runtime's own account says 0 accepted" in text


def test_what_the_crash_held_must_be_answered(verdict: Callable[..., tuple[bool, str]]) -> None:
    """And the actor be back."""
    _, text = verdict(Ledger(), Crash(backend=FIRST, held=frozenset({("r1", 1)})))
    assert "✗  crash" in text
    assert "answered: none" in text
