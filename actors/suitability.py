"""The lanes that a request begins with, by what it needs; and its refusal when nothing there could carry it out."""

from __future__ import annotations

from showcaller.actors.enums import FallbackCause
from showcaller.actors.errors import ConfigurationError, ContextWindowExceededError
from showcaller.actors.needs import Needs
from showcaller.actors.roster import Roster
from showcaller.actors.route_config import RouteConfig


def lanes_for(roster: Roster, route: RouteConfig, needs: Needs) -> tuple[str, ...]:
    """The lanes of a request, the preferred first: its own and its fallbacks.

    One that is too long for every backend of its own lane has that lane's context window fallbacks instead.

    Raises:
        ContextWindowExceededError: no backend there holds it.
        ConfigurationError: none supports what it needs.
    """
    config = roster.config
    lanes = config.lanes_of(route.name, FallbackCause.FAILURE)
    own = roster.slots_of(route)
    if any(needs.are_met_by(slot.config) for slot in own):
        return lanes
    if any(needs.capabilities <= slot.config.supports for slot in own):
        lanes = config.lanes_of(route.name, FallbackCause.CONTEXT_WINDOW)
    routes = [route, *(config.names[lane] for lane in lanes)]
    slots = dict.fromkeys(slot for one in routes for slot in roster.slots_of(one))
    if not slots or any(needs.are_met_by(slot.config) for slot in slots):
        return lanes
    reasons = "; ".join(f"{slot.name}: {needs.lacking(slot.config)}" for slot in slots)
    problem = f"no backend of {route.name!r} or its fallbacks has what this request needs, {needs}: {reasons}"
    if any(needs.capabilities <= slot.config.supports for slot in slots):
        raise ContextWindowExceededError(
            f"{problem}; shorten it, lower max_tokens, or give the route context_window_fallbacks that hold more"
        )
    raise ConfigurationError(
        f"{problem}; name another model, give the route fallbacks that can, or correct the backends' `supports`"
    )
