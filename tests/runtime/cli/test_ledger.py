"""The demo's own count."""

from __future__ import annotations

import pytest

from showcaller.actors.errors import ServerError
from showcaller.actors.models import Answered, BackendResponse, Errored
from showcaller.runtime.cli.ledger import Ledger


def answered(request_id: str, backend: str = "a") -> Answered:
    """An answer."""
    message = {"role": "assistant", "content": "x"}
    return Answered(
        request_id,
        BackendResponse(content="x", message=message, backend=backend, model="m", request_id=request_id),
    )


def test_an_outcome_may_come_before_its_sending_is_noted() -> None:
    """A callback can be quicker than the return of `tell`."""
    ledger = Ledger()
    ledger.ended(answered("r1"), 0.1)
    ledger.sent("r1")
    assert (ledger.accepted, ledger.answered, ledger.lost, ledger.duplicated) == (1, 1, 0, 0)


def test_an_outcome_of_a_request_that_was_never_sent_is_one_too_many() -> None:
    """Somebody else's answer is nobody's."""
    ledger = Ledger()
    ledger.ended(answered("r1"), 0.1)
    assert ledger.duplicated == 1


def test_failures_are_outcomes() -> None:
    """They are not lost."""
    ledger = Ledger()
    ledger.sent("r1")
    ledger.ended(Errored("r1", ServerError("no")), 0.1)
    assert (ledger.lost, ledger.answered, len(ledger.errors), ledger.outcomes) == (0, 0, 1, 1)


def test_answers_are_counted_by_backend() -> None:
    """For the shares."""
    ledger = Ledger()
    for number, backend in enumerate("aab"):
        ledger.ended(answered(f"r{number}", backend), 0.1)
    assert ledger.by_backend() == {"a": 2, "b": 1}
    response = ledger.response("r2")
    assert response is not None
    assert response.backend == "b"


@pytest.mark.parametrize(("share", "seconds"), [(0.5, 50.0), (0.99, 99.0), (1.0, 100.0)])
def test_percentiles_are_by_nearest_rank(share: float, seconds: float) -> None:
    """Among 1 to 100 seconds the p-th is p."""
    ledger = Ledger()
    for second in range(100, 0, -1):
        ledger.ended(answered(f"r{second}"), float(second))
    assert ledger.percentile(share) == seconds


def test_nothing_has_no_percentile() -> None:
    """And is no crash."""
    assert Ledger().percentile(0.99) == 0.0
