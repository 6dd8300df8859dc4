"""What a configuration says of a route: a frozen and validated value."""

from __future__ import annotations

from collections.abc import Container
from typing import Any

from attrs import evolve, field, frozen

from showcaller.actors.backend_config import BackendConfig
from showcaller.actors.endpoints import (
    check_backend_name,
    check_route_name,
)
from showcaller.actors.enums import FallbackCause, LoadBalanceStrategy
from showcaller.actors.strategy import Strategy
from showcaller.actors.validators import (
    SECONDS,
    member,
    number,
    refuse,
    whole,
)


@frozen
class TargetConfig:
    """A backend on a route; without a weight it has the backend's own."""

    backend: str = field(validator=check_backend_name)
    weight: float | None = field(
        default=None, validator=number("use a number greater than 0", above=0, none=True)
    )


def _as_target(value: TargetConfig | BackendConfig | str) -> TargetConfig:
    if isinstance(value, TargetConfig):
        return value
    return TargetConfig(value.name if isinstance(value, BackendConfig) else value)


def _as_targets(value: Any) -> tuple[TargetConfig, ...]:
    if not isinstance(value, (list, tuple)) or not value:
        raise refuse(
            "RouteConfig", "targets", value, 'list at least one backend, such as [{ backend = "local" }]'
        )
    targets = tuple(_as_target(one) for one in value)
    names = [target.backend for target in targets]
    for name in names:
        if names.count(name) > 1:
            raise refuse(
                "RouteConfig", "targets", name, "list each backend once; a greater weight gives it more"
            )
    return targets


def _as_strategy(value: LoadBalanceStrategy | Strategy | str) -> LoadBalanceStrategy | Strategy:
    if isinstance(value, (LoadBalanceStrategy, str)) or not callable(getattr(value, "choose", None)):
        return member(LoadBalanceStrategy, value, "RouteConfig", "routing_strategy")
    if isinstance(value, type):
        raise refuse("RouteConfig", "routing_strategy", value, f"give an instance of it: {value.__name__}()")
    return value


def _names_of(cause: FallbackCause) -> Any:
    def convert(value: Any) -> tuple[str, ...]:
        listed = isinstance(value, (list, tuple)) and all(isinstance(one, str) and one for one in value)
        if not listed or len(set(value)) < len(value):
            fix = 'list routes, backends or models, each once, such as ["smart"]'
            raise refuse("RouteConfig", cause.value, value, fix)
        return tuple(value)

    return field(default=(), converter=convert)


@frozen(kw_only=True)
class RouteConfig:
    """A name that stands for several backends and how one of them is chosen.

    Attributes:
        name: what callers give as `model`.
        routing_strategy: a LoadBalanceStrategy or its value, or a Strategy of your own.
        targets: the backends; their names are accepted too.
        allowed_fails: failures in a row after which a backend is left alone for a while.
        cooldown_time: seconds for which it is left alone.
        slow_start: seconds after which a backend that has come back gets its whole share again, beginning with a
            tenth; 0: at once.
        fallbacks: where a request goes on when this route's backends fail or cannot be used, the preferred first:
            routes, backends or models, as `model` may name them.
        context_window_fallbacks: the same when the request is too long; only backends with a bigger window.
        content_policy_fallbacks: the same when a content filter has refused it.
    """

    name: str = field(validator=check_route_name)
    routing_strategy: LoadBalanceStrategy | Strategy = field(
        default=LoadBalanceStrategy.ROUND_ROBIN, converter=_as_strategy
    )
    targets: tuple[TargetConfig, ...] = field(converter=_as_targets)
    allowed_fails: int = field(default=5, validator=whole("use a whole number, 1 or more", least=1))
    cooldown_time: float = field(default=5.0, validator=number(SECONDS, above=0))
    slow_start: float = field(default=30.0, validator=number("use seconds, 0 or more", least=0))
    fallbacks: tuple[str, ...] = _names_of(FallbackCause.FAILURE)
    context_window_fallbacks: tuple[str, ...] = _names_of(FallbackCause.CONTEXT_WINDOW)
    content_policy_fallbacks: tuple[str, ...] = _names_of(FallbackCause.CONTENT_POLICY)

    def fallbacks_for(self, cause: FallbackCause) -> tuple[str, ...]:
        """The names to go on with, for that cause."""
        names: tuple[str, ...] = getattr(self, cause.value)
        return names

    def without_fallbacks(self, gone: Container[str]) -> RouteConfig:
        """The same without the fallbacks of those names."""
        left: dict[str, Any] = {
            cause.value: tuple(name for name in self.fallbacks_for(cause) if name not in gone)
            for cause in FallbackCause
        }
        return evolve(self, **left)
