"""What a fault is: a value that knows the call that made it, how long it lasts, and what to do.

Functions of `faults` return a Strike; the decorator `fault` makes of each one a function that returns a Fault.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from functools import wraps
from typing import TYPE_CHECKING, Any, ParamSpec

from attrs import field, fields, frozen

from showcaller.actors.backend_config import BackendConfig
from showcaller.actors.errors import ConfigurationError
from showcaller.actors.validators import is_number, nearest, refuse

if TYPE_CHECKING:
    from showcaller.runtime.testing.simulation import Simulation

P = ParamSpec("P")


@frozen(kw_only=True)
class Strike:
    """What a fault does.

    Attributes:
        begin: lets it go wrong; what it returns mends it when it is over, None: nothing is to be mended.
        lasts: seconds until it is over.
        heals: does everything work again some time after it is over?
    """

    begin: Callable[[Simulation], Callable[[], None] | None]
    lasts: float = 0.0
    heals: bool = True


@frozen(repr=False)
class Fault:
    """Something that goes wrong; made by the functions of `faults`. Its repr is the call that makes it again.

    Attributes:
        name: the function's name.
        arguments: what it was given.
        lasts: seconds until it is over; 0 when it is over at once.
        heals: does everything work again some time after it is over?
    """

    name: str
    arguments: Mapping[str, Any] = field(hash=False)
    lasts: float
    heals: bool
    _begin: Callable[[Simulation], Callable[[], None] | None] = field(eq=False)

    def __repr__(self) -> str:
        return f"faults.{self}"

    def __str__(self) -> str:
        parts = [
            code(value) if name in ("backend", "actor") else f"{name}={code(value)}"
            for name, value in self.arguments.items()
        ]
        return f"{self.name}({', '.join(parts)})"

    def apply(self, simulation: Simulation) -> None:
        """Let it go wrong now, and be over when it is.

        Raises:
            ConfigurationError: it is for a backend or an actor that the simulation does not have.
        """
        simulation.note(str(self))
        end = self._begin(simulation)
        if end is None:
            return
        mend = end

        def over() -> None:
            mend()
            simulation.note(f"{self} is over")

        clock = simulation.world.clock
        simulation.world.at(clock.now() + self.lasts, f"end of {self}", over)


def fault(make: Callable[P, Strike]) -> Callable[P, Fault]:
    """Make of a function that says what happens one that makes a Fault."""
    signature = inspect.signature(make)

    @wraps(make)
    def made(*args: P.args, **kwargs: P.kwargs) -> Fault:
        strike = make(*args, **kwargs)
        given: dict[str, Any] = {}
        for name, value in signature.bind(*args, **kwargs).arguments.items():
            given.update(value if name == "changes" else {name: value})
        return Fault(make.__name__, given, strike.lasts, strike.heals, strike.begin)

    return made


def code(value: Any) -> str:
    """A value as code; an exception class by its name, a configuration by what differs from the defaults."""
    if isinstance(value, type):
        return value.__name__
    if not isinstance(value, BackendConfig):
        return repr(value)
    plain = BackendConfig(
        name=value.name,
        backend_type=value.backend_type,
        base_url=value.base_url,
        model=value.model,
    )
    parts = [f"name={value.name!r}", f"backend_type={value.backend_type.value!r}"]
    for one in fields(BackendConfig):
        held = getattr(value, one.name)
        always = one.name in ("base_url", "model") and held is not None
        # A credential is of no use in a simulation, and has no business in what is printed.
        hidden = one.name in ("api_key", "headers")
        if always or (not hidden and held != getattr(plain, one.name)):
            parts.append(f"{one.name}={one.repr(held) if callable(one.repr) else repr(held)}")
    return f"BackendConfig({', '.join(parts)})"


# --- the checks of their arguments ---


def seconds(owner: str, **values: object) -> None:
    """Refuse what is not 0 or more seconds."""
    for name, value in values.items():
        if not is_number(value) or value < 0:
            raise refuse(owner, name, value, "use seconds, 0 or more")


def share_of(owner: str, value: object) -> None:
    """Refuse what is no share."""
    if not is_number(value) or not 0 < value <= 1:
        raise refuse(owner, "share", value, "use a share greater than 0 and up to 1.0, which is all")


def whole_number(owner: str, name: str, value: object, *, least: int = 1) -> None:
    """Refuse what is no whole number, or too small."""
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise refuse(owner, name, value, f"use a whole number, {least} or more")


def exception_class(owner: str, name: str, value: object) -> None:
    """Refuse what no `except Exception` could catch."""
    if not (isinstance(value, type) and issubclass(value, Exception)):
        raise refuse(owner, name, value, "use a subclass of Exception, such as OSError")


def known_backend(simulation: Simulation, owner: str, name: str) -> None:
    """Refuse the name of a backend that the simulation never had.

    Raises:
        ConfigurationError: there is and was none of that name.
    """
    if name not in simulation.backends:
        raise ConfigurationError(
            f"{owner}.backend = {name!r}: no backend has that name{nearest(name, simulation.backends)}"
        )
