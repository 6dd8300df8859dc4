"""An orderly stop of the tree: what it ends, what it hears of until then, and how long it waits."""

from __future__ import annotations

from showcaller.actors.kernel.child import ChildState
from showcaller.actors.messages import WindDown
from showcaller.actors.transport import Sent
from tests.tree.stage import HANG, OK, Script, answer, stage


def test_an_orderly_stop_ends_the_tree_in_reverse() -> None:
    """The guardian is the last to go, and nobody is restarted meanwhile."""
    s = stage({"a": Script(OK), "b": Script(OK)})
    guardian = s.tree.guardian
    assert guardian is not None
    guardian.tell(WindDown())
    s.advance(1)
    assert [type(message).__name__ for message in s.told] == ["Down"]
    assert s.told[0].crash is None
    states = {child.state for child in s.tree.children.values()}
    states |= {slot.child.state for slot in s.tree.roster.slots.values() if slot.child is not None}
    assert states == {ChildState.STOPPED}


def test_a_stop_hears_the_seats_that_are_at_their_end_and_waits_for_nothing_else() -> None:
    """What was spent is in the account, and the tree ends with the last report."""
    s = stage({"a": Script([Sent(), 0.4, answer("late")])})
    s.submit("paid", max_tokens=10)
    s.advance(0.2)
    guardian = s.tree.guardian
    assert guardian is not None
    guardian.tell(WindDown())
    s.advance(0.199)
    assert s.told == []
    assert s.tree.quotas.outstanding == 1
    s.advance(0.002)
    assert [type(message).__name__ for message in s.told] == ["Down"]
    assert s.tree.quotas.outstanding == 0


def test_a_stop_waits_a_quarter_of_a_second_for_a_seat_that_hangs() -> None:
    """It may never come back."""
    s = stage({"a": Script(HANG)})
    s.submit()
    s.advance(0.2)
    guardian = s.tree.guardian
    assert guardian is not None
    guardian.tell(WindDown())
    s.advance(0.249)
    assert s.told == []
    s.advance(0.002)
    assert [type(message).__name__ for message in s.told] == ["Down"]


def test_an_orderly_stop_leaves_no_recording_unsent() -> None:
    """What was collected for the observers and not yet sent goes out before they stop."""
    s = stage({"a": Script(OK)})
    s.submit()
    s.advance(0.1)
    assert s.tree.recordings.get_recordings() == []
    guardian = s.tree.guardian
    assert guardian is not None
    guardian.tell(WindDown())
    s.settle()
    assert [kept.backend for kept in s.tree.recordings.get_recordings()] == ["a"]
