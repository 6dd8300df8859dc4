"""Pauses of limits: whoever is refused, and in whatever order, a backend that refused somebody is asked later."""

from __future__ import annotations

from attrs import define
from hypothesis import given
from hypothesis import strategies as st

from showcaller.actors.enums import RequestPriority
from showcaller.actors.limit_pauses import LimitPauses

NOW, AGEING = 1000.0, 10.0


class Clock:
    """Stands still."""

    def now(self):
        return NOW


@define(eq=False)
class Slot:
    """What a pause is made at."""

    quota_until: float = 0.0


@define(eq=False)
class Waiting:
    """What a pause is kept for."""

    priority: RequestPriority
    since: float
    until: float
    done: bool = False


waiting = st.builds(
    Waiting,
    st.sampled_from(RequestPriority),
    st.floats(NOW - 5 * AGEING, NOW),
    st.floats(NOW + 0.001, NOW + 100.0),
)


@given(st.lists(waiting, min_size=1, max_size=8), st.data())
def test_who_was_refused_and_waits_again_asks_no_more_at_once(flights, data):
    """Else two that are refused by turns would ask for ever, and no time would pass."""
    slot = Slot()
    pauses = LimitPauses(Clock(), AGEING)
    for flight in data.draw(st.permutations(flights)):
        pauses.begin(slot, flight, flight.until)
        pauses.end_for(flight, [slot])
        pauses.end_idle()
        assert slot.quota_until > NOW


@given(st.lists(waiting, min_size=1, max_size=8))
def test_the_pause_is_kept_for_the_most_urgent_and_of_these_for_who_waits_longest(flights):
    """And it is over when that one has gone elsewhere."""
    slot = Slot()
    pauses = LimitPauses(Clock(), AGEING)
    for flight in flights:
        pauses.begin(slot, flight, flight.until)
    most = max(pauses._class_of(flight) for flight in flights)
    first = max(
        (flight for flight in flights if pauses._class_of(flight) == most),
        key=lambda flight: flight.until,
    )
    assert slot.quota_until == first.until
    pauses.end_of(first)
    assert slot.quota_until == 0.0
