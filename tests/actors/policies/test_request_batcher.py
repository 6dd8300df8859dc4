"""The request batcher: what leaves together, when, and that nothing is lost, doubled or overtaken."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from showcaller.actors.errors import ConfigurationError, OverloadedError
from showcaller.actors.policies.request_batcher import RequestBatcher


def filled(requests: str, **options: Any) -> RequestBatcher:
    """One request for each letter, all at 0 s."""
    batcher = RequestBatcher(**options)
    for request in requests:
        batcher.add(request, 0.0)
    return batcher


@pytest.mark.parametrize(
    ("waiting", "now", "ready_at", "taken"),
    [
        ("", 100.0, None, None),
        ("a", 0.0, 5.0, None),
        ("a", 4.999, 5.0, None),
        ("a", 5.0, 5.0, ("a",)),
        ("a", 9.0, 9.0, ("a",)),
        ("ab", 4.0, 5.0, None),
        ("abc", 1.0, 1.0, ("a", "b", "c")),
        ("abcd", 1.0, 1.0, ("a", "b", "c")),
    ],
)
def test_a_batch_is_ready_by_number_or_by_age(
    waiting: str, now: float, ready_at: float | None, taken: tuple[str, ...] | None
) -> None:
    """Whichever is first; the oldest leave, and no more than a batch holds."""
    batcher = filled(waiting, max_size=3, max_wait=5.0)
    assert batcher.ready_at(now) == ready_at
    assert batcher.is_ready(now) is (taken is not None)
    batch = batcher.get_batch(now)
    assert (None if batch is None else batch.requests) == taken
    assert batcher.pending_count() == len(waiting) - len(taken or ())


def test_the_defaults_are_ten_requests_and_five_seconds() -> None:
    """As the contract says."""
    assert not filled("abcdefghi").is_ready(4.9)
    assert filled("abcdefghij").is_ready(0.0)
    assert filled("a").is_ready(5.0)


def test_a_batch_says_what_it_is() -> None:
    """Its id counts on, and nothing of it is processed yet."""
    batcher = filled("abc", max_size=2, name="mine")
    first, second = batcher.get_batch(1.0), batcher.get_batch(7.0)
    assert first is not None
    assert second is not None
    assert (first.batch_id, first.created_at, first.processed_count) == ("mine-1", 1.0, 0)
    assert (second.batch_id, second.created_at, second.requests) == ("mine-2", 7.0, ("c",))


def test_a_flush_takes_what_is_not_ready() -> None:
    """A batch at a time, and then there is none."""
    batcher = filled("abc", max_size=2)
    taken = [batcher.get_batch(0.0, flush=True) for _ in range(3)]
    assert [None if batch is None else batch.requests for batch in taken] == [("a", "b"), ("c",), None]


def test_the_age_of_the_next_batch_is_that_of_its_oldest() -> None:
    """Not that of one which has left."""
    batcher = RequestBatcher(max_size=2, max_wait=5.0)
    for request, at in (("a", 0.0), ("b", 1.0), ("c", 3.0)):
        batcher.add(request, at)
    batcher.get_batch(3.0)
    assert batcher.ready_at(3.0) == 8.0


def test_what_is_discarded_is_in_no_batch() -> None:
    """Only the oldest of its name, and with its age."""
    batcher = RequestBatcher(max_size=9, max_wait=5.0)
    for request, at in (("a", 0.0), ("b", 1.0), ("a", 2.0)):
        batcher.add(request, at)
    assert batcher.discard("a")
    assert batcher.ready_at(2.0) == 6.0
    assert not batcher.discard("x")
    batch = batcher.get_batch(6.0)
    assert batch is not None
    assert batch.requests == ("b", "a")


def test_what_is_too_much_is_refused() -> None:
    """The error says what to do, and there is room again when a batch has left."""
    batcher = filled("ab", max_size=2, max_pending=2)
    with pytest.raises(OverloadedError, match="max_pending; raise max_concurrency"):
        batcher.add("c", 0.0)
    assert batcher.pending_count() == 2
    batcher.get_batch(0.0)
    batcher.add("c", 0.0)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("max_size", value) for value in (0, -1, True, 1.5, "3", None)),
        *(("max_wait", value) for value in (-0.1, float("nan"), float("inf"), True, "5", None)),
        *(("max_pending", value) for value in (0, 9, True, 10.0)),
    ],
)
def test_a_wrong_bound_is_refused_by_name(name: str, value: Any) -> None:
    """With the value and the fix."""
    with pytest.raises(ConfigurationError, match=f"RequestBatcher.{name} = .*: use "):
        RequestBatcher(**{name: value})


@given(
    size=st.integers(1, 4),
    wait=st.sampled_from([0.0, 0.5, 3.0]),
    steps=st.lists(
        st.tuples(st.sampled_from(["add", "take", "flush", "discard"]), st.floats(0, 2)), max_size=40
    ),
)
def test_every_request_leaves_once_and_in_order(
    size: int, wait: float, steps: list[tuple[str, float]]
) -> None:
    """Against a model: a list of (request, time)."""
    batcher = RequestBatcher(size, wait, max_pending=size + 1)
    waiting: list[tuple[str, float]] = []
    now, number = 0.0, 0
    for what, later in steps:
        now += later
        due = len(waiting) >= size or (bool(waiting) and waiting[0][1] + wait <= now)
        assert batcher.is_ready(now) is due
        if what == "add" and len(waiting) == size + 1:
            with pytest.raises(OverloadedError):
                batcher.add("too much", now)
        elif what == "add":
            number += 1
            waiting.append((str(number), now))
            batcher.add(str(number), now)
        elif what == "discard":
            wanted = waiting.pop(len(waiting) // 2)[0] if waiting else "none"
            assert batcher.discard(wanted) is (wanted != "none")
        else:
            batch = batcher.get_batch(now, flush=what == "flush")
            leaving = waiting[:size] if due or what == "flush" else []
            del waiting[: len(leaving)]
            assert (batch.requests if batch else ()) == tuple(request for request, _ in leaving)
        assert batcher.pending_count() == len(waiting)
