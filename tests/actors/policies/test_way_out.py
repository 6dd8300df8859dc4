"""The way out: untried backends in the order of lanes, unless a full lane keeps the request."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from showcaller.actors.policies.way_out import Standing, way_out

FRESH, TRIED, FULL, AWAY = Standing.FRESH, Standing.TRIED, Standing.FULL, Standing.AWAY
standings = st.lists(st.lists(st.sampled_from(Standing), max_size=4), max_size=5)


@pytest.mark.parametrize(
    ("lanes", "way"),
    [
        ([], (None, False)),
        ([[]], (None, False)),
        ([[FRESH]], (0, True)),
        ([[TRIED]], (0, False)),
        ([[FULL]], (None, False)),
        ([[AWAY]], (None, False)),
        ([[TRIED, FRESH], [FRESH]], (0, True)),
        ([[TRIED], [FRESH]], (1, True)),
        ([[AWAY, AWAY], [FRESH]], (1, True)),
        ([[FULL], [FRESH]], (None, False)),
        ([[FULL, AWAY], [FRESH]], (None, False)),
        ([[TRIED, FULL], [FRESH]], (0, False)),
        ([[TRIED], [TRIED]], (0, False)),
        ([[TRIED], [AWAY]], (0, False)),
        ([[AWAY], [TRIED]], (1, False)),
        ([[TRIED], [FULL], [FRESH]], (0, False)),
        ([[AWAY], [TRIED], [], [FRESH, TRIED]], (3, True)),
    ],
)
def test_lanes_are_looked_at_in_order(lanes: list[list[Standing]], way: tuple[int | None, bool]) -> None:
    """Away passes on, full keeps, and what has failed before is the last."""
    assert way_out(lanes) == way


@given(standings)
def test_a_request_leaves_for_the_first_untried_backend_that_no_full_lane_is_before(
    lanes: list[list[Standing]],
) -> None:
    """Else for the first that has failed it, up to there; else it waits."""
    number, fresh = way_out(lanes)
    kept = next((at for at, lane in enumerate(lanes) if FULL in lane and FRESH not in lane), len(lanes))
    reach = lanes[: kept + 1]
    untried = [at for at, lane in enumerate(reach) if FRESH in lane]
    tried = [at for at, lane in enumerate(reach) if TRIED in lane]
    assert fresh is bool(untried)
    assert number == next(iter(untried or tried), None)


@given(standings, standings)
def test_what_comes_after_the_way_out_is_not_looked_at(
    lanes: list[list[Standing]], further: list[list[Standing]]
) -> None:
    """More fallbacks change nothing for a request that has a fresh backend."""
    if way_out(lanes)[1]:
        assert way_out([*lanes, *further]) == way_out(lanes)
