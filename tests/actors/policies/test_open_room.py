"""The room for open requests: its bounds hold, and the others never take what is kept for CRITICAL."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from showcaller.actors.enums import RequestPriority
from showcaller.actors.policies.open_room import OpenRoom
from showcaller.actors.settings import RuntimeSettings

LOW, NORMAL, HIGH, CRITICAL = RequestPriority


def room_of(requests=10, size=1000, share=0.2):
    return OpenRoom(RuntimeSettings(max_open_requests=requests, max_open_bytes=size, critical_share=share))


@given(
    st.lists(st.tuples(st.sampled_from(RequestPriority), st.integers(1, 400), st.booleans()), max_size=60),
    st.integers(1, 12),
    st.sampled_from([0.0, 0.2, 0.5, 0.99]),
)
def test_no_bound_is_passed_and_critical_is_refused_only_when_all_is_taken(arrivals, requests, share):
    """A model that counts a list."""
    room, inside, size = room_of(requests, 1000, share), [], 1000
    kept, kept_bytes = int(requests * share), int(size * share)
    for priority, taken, leaves in arrivals:
        if leaves and inside:
            room.leave(*inside.pop(0))
        lower = [one for one in inside if one[0] is not CRITICAL]
        full = len(inside) >= requests or (inside and sum(one[1] for one in inside) + taken > size)
        if priority is not CRITICAL:
            full = full or len(lower) >= requests - kept
            full = full or (inside and sum(one[1] for one in lower) + taken > size - kept_bytes)
        refusal = room.refusal(priority, taken)
        assert (refusal is not None) is bool(full)
        if refusal is None:
            room.take(priority, taken)
            inside.append((priority, taken))


def test_of_a_small_room_nothing_is_kept():
    """Four places have no fifth part; nobody is shut out by rounding."""
    room = room_of(requests=4)
    for _ in range(4):
        assert room.refusal(LOW, 1) is None
        room.take(LOW, 1)
    assert room.refusal(CRITICAL, 1) is not None


@pytest.mark.parametrize("priority", [LOW, CRITICAL])
def test_one_alone_may_be_larger_than_the_room(priority):
    """Or it could never be sent."""
    assert room_of(size=10).refusal(priority, 1000) is None


def test_a_refusal_says_which_bound_it_was():
    """And how it can be raised."""
    room = room_of(requests=5, size=1000)
    for _ in range(4):
        room.take(NORMAL, 100)
    assert "4 requests below CRITICAL are open, which is max_open_requests = 5 less the 1" in str(
        room.refusal(HIGH, 1)
    )
    room.leave(NORMAL, 100)
    assert "300 bytes of requests below CRITICAL are open and this one has 501" in str(
        room.refusal(HIGH, 501)
    )
    assert room.refusal(CRITICAL, 501) is None
    assert "max_open_bytes = 1000;" in str(room.refusal(CRITICAL, 701))
