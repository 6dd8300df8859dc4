"""A whole configuration: what `model` may name, and that each name means one thing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeVar

from attrs import evolve, field, frozen

from showcaller.actors.backend_config import BackendConfig
from showcaller.actors.canonical import FrozenDict
from showcaller.actors.endpoints import is_entry_name
from showcaller.actors.enums import FallbackCause, LoadBalanceStrategy
from showcaller.actors.errors import UnknownModelError
from showcaller.actors.route_config import RouteConfig, TargetConfig
from showcaller.actors.settings import HealthConfig, QuotaConfig, RuntimeSettings
from showcaller.actors.validators import kind, nearest, refuse, shown

T = TypeVar("T")


def _as_backends(value: Sequence[BackendConfig]) -> tuple[BackendConfig, ...]:
    return _all_of(BackendConfig, "backends", value)


def _as_routes(value: Sequence[RouteConfig]) -> tuple[RouteConfig, ...]:
    return _all_of(RouteConfig, "routes", value)


def _all_of(cls: type[T], name: str, value: object) -> tuple[T, ...]:
    fix = f"give a list of {cls.__name__}"
    if not isinstance(value, (list, tuple)):
        raise refuse("RuntimeConfig", name, value, fix)
    for one in value:
        if not isinstance(one, cls):
            raise refuse("RuntimeConfig", name, one, fix)
    return tuple(value)


@frozen(kw_only=True)
class RuntimeConfig:
    """A whole configuration; its names are known to be unique and to exist.

    Attributes:
        runtime: what holds for the whole runtime.
        backends: every backend; a list is accepted.
        routes: every route; a list is accepted.
        quota: what may be spent.
        health: how backends are watched.
        names: each name a request may give as `model`, with the route it stands for.

    Raises:
        ConfigurationError: a name is used twice or is not known, or fallbacks lead back to where they began; the
            text names it, its place and the fix.
    """

    runtime: RuntimeSettings = field(
        factory=RuntimeSettings, validator=kind(RuntimeSettings, "use a RuntimeSettings")
    )
    backends: tuple[BackendConfig, ...] = field(default=(), converter=_as_backends)
    routes: tuple[RouteConfig, ...] = field(default=(), converter=_as_routes)
    quota: QuotaConfig = field(factory=QuotaConfig, validator=kind(QuotaConfig, "use a QuotaConfig"))
    health: HealthConfig = field(factory=HealthConfig, validator=kind(HealthConfig, "use a HealthConfig"))
    names: Mapping[str, RouteConfig] = field(init=False, repr=False, eq=False)

    def __attrs_post_init__(self) -> None:
        object.__setattr__(self, "names", FrozenDict(self._names()))
        for cause in FallbackCause:
            sound: set[str] = set()
            for route in self.routes:
                self._check_fallbacks(route, cause, (route.name,), sound)
        if self.runtime.model is not None and self.names:
            self.route_for(None)

    def route_for(self, model: str | None) -> RouteConfig:
        """The route that a request's `model` stands for.

        A backend, or a model that backends declare, stands for a weighted route over those backends. None
        stands for `runtime.model`, or for the only route, or without routes for the only backend.

        Raises:
            UnknownModelError: nothing has that name, none was given and none is configured, or there is no backend.
        """
        if not self.names:
            fix = 'add one, such as [backends.local] with type = "embedded", or by runtime.backends.add()'
            raise UnknownModelError(f"there is no backend that could answer: {fix}")
        wanted = model if model is not None else self.runtime.model
        if wanted is None:
            only = self.routes or self.backends
            if len(only) != 1:
                known = ", ".join(sorted(self.names)[:12])
                raise UnknownModelError(
                    f"no model is named: pass model= or set runtime.model; known: {known}"
                )
            wanted = only[0].name
        route = self.names.get(wanted)
        if route is None:
            place = "model" if model is not None else "runtime.model"
            problem = f"no route, backend or model has this name{nearest(wanted, self.names)}"
            raise UnknownModelError(f"{place} = {shown(wanted)}: {problem}")
        return route

    def lanes_of(self, name: str, cause: FallbackCause) -> tuple[str, ...]:
        """Where a request may go that is routed by a name, in the order of preference.

        For FAILURE that is the name itself, then its fallbacks, each followed by its own. For the other causes it
        is what comes after that name: the fallbacks for that cause, each followed by its own and by where it
        may go on after a failure.
        """
        if cause is FallbackCause.FAILURE:
            return tuple(self._follow(name, cause, {}))
        _, *others = self._follow(name, cause, {})
        lanes: dict[str, None] = {}
        for other in others:
            self._follow(other, FallbackCause.FAILURE, lanes)
        return tuple(lanes)

    def without(self, backend: str) -> RuntimeConfig:
        """The same without a backend, a route that has no other target, and the fallbacks and default that meant it."""
        routes = []
        for route in self.routes:
            targets = tuple(target for target in route.targets if target.backend != backend)
            if targets:
                routes.append(evolve(route, targets=targets))
        backends = tuple(one for one in self.backends if one.name != backend)
        plain = evolve(
            self,
            runtime=evolve(self.runtime, model=None),
            backends=backends,
            routes=[route.without_fallbacks(self.names) for route in routes],
        )
        gone = set(self.names) - set(plain.names)
        kept = evolve(plain, routes=[route.without_fallbacks(gone) for route in routes])
        return evolve(kept, runtime=self.runtime) if self.runtime.model in kept.names else kept

    def _follow(self, name: str, cause: FallbackCause, seen: dict[str, None]) -> dict[str, None]:
        """Add to `seen` a name and all that it falls back on, depth first; what has two names is there once."""
        route = self.names.get(name)
        lane = name if route is None else route.name
        if lane not in seen:
            seen[lane] = None
            for fallback in () if route is None else route.fallbacks_for(cause):
                self._follow(fallback, cause, seen)
        return seen

    def _check_fallbacks(
        self, route: RouteConfig, cause: FallbackCause, path: tuple[str, ...], sound: set[str]
    ) -> None:
        if route.name in sound:
            return
        for name in route.fallbacks_for(cause):
            place = f"routes.{route.name}.{cause.value}"
            if name not in self.names:
                problem = f"no route, backend or model has this name{nearest(name, self.names)}"
                raise refuse("RuntimeConfig", place, name, problem)
            if name in path:
                cycle = " -> ".join([*path[path.index(name) :], name])
                raise refuse("RuntimeConfig", place, name, f"it leads back to itself: {cycle}; take one out")
            self._check_fallbacks(self.names[name], cause, (*path, name), sound)
        sound.add(route.name)

    def _names(self) -> dict[str, RouteConfig]:
        named: dict[str, RouteConfig] = {}
        what: dict[str, str] = {}

        def claim(name: str, meaning: str, route: RouteConfig) -> None:
            if name in named:
                fix = f"it names {what[name]} and {meaning}; rename one of them"
                raise refuse("RuntimeConfig", "names", name, fix)
            named[name] = route
            what[name] = meaning

        weights = {backend.name: backend.weight for backend in self.backends}
        for route in self.routes:
            if not is_entry_name(route.name):
                fix = 'use letters, digits and "_.:-", without "/" or spaces'
                raise refuse("RuntimeConfig", "routes", route.name, fix)
            claim(route.name, f"the route {route.name}", self._with_weights(route, weights))
        by_model: dict[str, list[BackendConfig]] = {}
        for backend in self.backends:
            claim(backend.name, f"the backend {backend.name}", _implied(backend.name, [backend]))
            if backend.model is not None:
                by_model.setdefault(backend.model, []).append(backend)
                if backend.name == backend.entry:
                    alias = f"{backend.name}/{backend.model}"
                    claim(
                        alias, f"the model of the backend {backend.name}", _implied(backend.name, [backend])
                    )
        for model, declaring in by_model.items():
            if [backend.name for backend in declaring] != [model]:
                names = ", ".join(backend.name for backend in declaring)
                claim(model, f"the model {model} of {names}", _implied(model, declaring))
        return named

    def _with_weights(self, route: RouteConfig, weights: Mapping[str, float]) -> RouteConfig:
        targets = []
        for target in route.targets:
            if target.backend not in weights:
                raise refuse(
                    "RuntimeConfig",
                    f"routes.{route.name}.targets",
                    target.backend,
                    self._unknown(target.backend),
                )
            weight = weights[target.backend] if target.weight is None else target.weight
            targets.append(TargetConfig(target.backend, weight))
        return evolve(route, targets=tuple(targets))

    def _unknown(self, name: str) -> str:
        siblings = [backend.name for backend in self.backends if backend.entry == name]
        if siblings:
            return f"this entry declares models; name one of {', '.join(siblings)}"
        return "no backend has this name" + nearest(name, [backend.name for backend in self.backends])


def _implied(name: str, backends: list[BackendConfig]) -> RouteConfig:
    return RouteConfig(
        name=name,
        routing_strategy=LoadBalanceStrategy.WEIGHTED,
        targets=tuple(TargetConfig(backend.name, backend.weight) for backend in backends),
    )
