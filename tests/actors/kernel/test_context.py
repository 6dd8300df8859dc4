"""Which threads must not wait."""

from __future__ import annotations

import asyncio
import threading

import pytest

from showcaller.actors.kernel.cell import Cell
from showcaller.actors.kernel.context import (
    Beats,
    about_to_wait,
    forbid_waiting,
    is_paced,
    paced_by,
    stepping,
)
from showcaller.actors.kernel.errors import BlockingCallError
from showcaller.actors.kernel.mailbox import Mailbox


def test_waiting_is_forbidden_while_the_thread_steps_and_only_there():
    """Also inside another one; on other threads it is allowed."""
    forbid_waiting("get()")
    with stepping("outer"):
        with (
            stepping("inner"),
            pytest.raises(BlockingCallError, match=r"get\(\) waits, and the thread of inner"),
        ):
            forbid_waiting("get()")
        with pytest.raises(BlockingCallError, match="outer"):
            forbid_waiting("get()")
        allowed = threading.Event()
        other = threading.Thread(target=lambda: (forbid_waiting("get()"), allowed.set()), daemon=True)
        other.start()
        assert allowed.wait(10.0)
    forbid_waiting("get()")


class Pacemaker:
    """Keeps what it was asked for."""

    def __init__(self):
        self.waits, self.refusals = [], []

    def pass_until(self, ready, timeout):
        self.waits.append((ready(), timeout))

    def refused(self, error):
        self.refusals.append(error)


def test_a_wait_takes_as_long_as_it_was_given():
    """Nothing else decides on an ordinary thread."""
    assert about_to_wait("get()", lambda: False, None) is None
    assert about_to_wait("get()", lambda: False, 2.5) == 2.5


def test_where_a_pacemaker_lets_time_pass_there_is_nothing_left_to_wait_for():
    """It was asked to let time pass, with the same bound; outside of it nothing has changed."""
    pacemaker = Pacemaker()
    assert not is_paced()
    with paced_by(pacemaker):
        assert is_paced()
        assert about_to_wait("get()", lambda: False, 2.5) == 0.0
        assert about_to_wait("get()", lambda: True, None) == 0.0
    assert pacemaker.waits == [(False, 2.5), (True, None)]
    assert about_to_wait("get()", lambda: False, 2.5) == 2.5


def test_a_pacemaker_hears_of_a_step_that_would_wait():
    """The call is refused as anywhere, and no time passes."""
    pacemaker = Pacemaker()
    with paced_by(pacemaker), stepping("core"), pytest.raises(BlockingCallError, match="core") as caught:
        about_to_wait("get()", lambda: False, None)
    assert pacemaker.refusals == [caught.value]
    assert pacemaker.waits == []


def test_an_actor_that_dies_of_what_ends_programs_says_so(keeper):
    """Whoever steps it can let that go on; another death leaves nothing there."""
    ended, crashed = (Cell("slot", 1, keeper, Mailbox, 10) for _ in range(2))
    for cell, error in ((ended, KeyboardInterrupt()), (crashed, ValueError())):
        cell.crashed(error)
        cell.end()
    assert isinstance(ended.interrupt, KeyboardInterrupt)
    assert crashed.interrupt is None


def test_where_a_pacemaker_keeps_the_time_a_coroutine_lets_one_thing_happen_after_the_other():
    """Until what it waits for is there, and the loop's other tasks go on in between; elsewhere it waits for nothing."""
    happened = []

    class Beating(Pacemaker):
        def beat(self):
            happened.append("beat")

    async def wait():
        await Beats(lambda: happened.count("beat") == 2)
        happened.append("there")

    async def both():
        await asyncio.gather(wait(), other())

    async def other():
        happened.append("other")

    with paced_by(Beating()):
        asyncio.run(both())
    assert happened == ["beat", "other", "beat", "there"]
    asyncio.run(wait())
    assert happened[-1] == "there"
