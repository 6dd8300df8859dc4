"""How long the oldest attempt has been silent, whatever else comes, speaks and ends."""

from __future__ import annotations

import pytest
from attrs import define
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from showcaller.actors.policies.silent_attempts import SilentAttempts


@define(eq=False)
class Attempt:
    """What can be sent."""

    key: int
    is_silent: bool = True


@pytest.mark.parametrize(
    ("spoken", "ended", "longest"),
    [
        ((), (), 10.0),
        ((0,), (), 9.0),
        ((), (0,), 9.0),
        ((1,), (), 10.0),
        ((), (1,), 10.0),
        ((0, 1), (), 8.0),
        ((0,), (1,), 8.0),
        ((0, 1, 2), (), 0.0),
        ((), (0, 1, 2), 0.0),
    ],
)
def test_the_oldest_that_is_silent_counts(
    spoken: tuple[int, ...], ended: tuple[int, ...], longest: float
) -> None:
    """Three were sent at 0, 1 and 2 s; at 10 s some have spoken, and some have ended."""
    attempts, silent = [Attempt(number) for number in range(3)], SilentAttempts()
    for attempt in attempts:
        silent.sent(attempt, float(attempt.key))
    for number in spoken:
        attempts[number].is_silent = False
    for number in ended:
        silent.ended(attempts[number])
    assert silent.longest(10.0) == longest


def test_what_was_not_sent_may_end() -> None:
    """It was taken back before."""
    silent = SilentAttempts()
    silent.ended(Attempt(1))
    assert silent.longest(5.0) == 0.0


class Machine(RuleBasedStateMachine):
    """Attempts are sent, speak and end while time passes; the model is a list."""

    def __init__(self) -> None:
        super().__init__()
        self.silent = SilentAttempts()
        self.sent: list[tuple[Attempt, float]] = []
        self.now, self.number = 0.0, 0

    @rule(quarters=st.integers(1, 40))
    def time_passes(self, quarters: int) -> None:
        self.now += quarters / 4

    @rule()
    def send(self) -> None:
        self.number += 1
        attempt = Attempt(self.number)
        self.silent.sent(attempt, self.now)
        self.sent.append((attempt, self.now))

    @precondition(lambda self: self.sent)
    @rule(data=st.data())
    def speak(self, data: st.DataObject) -> None:
        data.draw(st.sampled_from(self.sent))[0].is_silent = False

    @precondition(lambda self: self.sent)
    @rule(data=st.data())
    def end(self, data: st.DataObject) -> None:
        one = data.draw(st.sampled_from(self.sent))
        self.silent.ended(one[0])
        self.sent.remove(one)

    @rule()
    def look(self) -> None:
        ages = [self.now - at for attempt, at in self.sent if attempt.is_silent]
        assert self.silent.longest(self.now) == max(ages, default=0.0)

    @invariant()
    def no_more_is_held_than_is_out(self) -> None:
        assert len(self.silent._sent) <= len(self.sent)


TestSilentAttempts = Machine.TestCase
