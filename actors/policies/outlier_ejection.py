"""Outlier ejection: which of a lane's unhealthy backends get nothing while another can take it.

At most half of them: when more are unhealthy, the cause is rather something that they share, and the rest
would not carry what all have carried. A lone backend is never ejected.
"""

from __future__ import annotations

from collections.abc import Mapping


def ejected(unhealthy: Mapping[str, float], of: int) -> set[str]:
    """The names of those to be left out: the worst, and of those that are equal the last.

    Args:
        unhealthy: the share of successes of each unhealthy backend in service, in the lane's order.
        of: how many backends of the lane are in service.
    """
    most = of // 2
    if len(unhealthy) <= most:
        return set(unhealthy)
    places = {name: place for place, name in enumerate(unhealthy)}
    worst_first = sorted(unhealthy, key=lambda name: (unhealthy[name], -places[name]))
    return set(worst_first[:most])
