"""What a configuration says of the runtime, its quota and its health monitor, as frozen and validated values."""

from __future__ import annotations

from typing import Any

from attrs import Attribute, field, frozen

from showcaller.actors.validators import (
    SECONDS,
    boolean,
    is_number,
    number,
    refuse,
    text,
    whole,
)


def _check_share(owner: object, attribute: Attribute[Any], value: Any) -> None:
    if not is_number(value) or not 0 <= value < 1:
        raise refuse(owner, attribute.name, value, "use a share from 0 to less than 1, such as 0.2")


_A_QUOTA = "use a whole number of requests, 1 or more, or leave it out for no limit"


@frozen(kw_only=True)
class QuotaConfig:
    """What this process may spend; None is no limit."""

    requests_per_hour: int | None = field(default=None, validator=whole(_A_QUOTA, least=1, none=True))
    requests_per_day: int | None = field(default=None, validator=whole(_A_QUOTA, least=1, none=True))


@frozen(kw_only=True)
class HealthConfig:
    """How backends are watched.

    Attributes:
        probe_interval: seconds without news of a backend, more or less a fifth, after which it is probed; None: never.
        probe_timeout: seconds that a probe may take.
    """

    probe_interval: float | None = field(
        default=None, validator=number("use seconds, above 0, or leave it out", above=0, none=True)
    )
    probe_timeout: float = field(default=5.0, validator=number(SECONDS, above=0))


@frozen(kw_only=True)
class RuntimeSettings:
    """What holds for the whole runtime.

    Attributes:
        model: the route, backend or model of a request that names none.
        timeout: seconds; the whole deadline of a request that gives none.
        num_retries: attempts after the first, for the whole request and not for each hop.
        retry_budget: retries that each request adds to what all may spend; one more comes every second.
        retry_burst: retries that are saved up at most, and there at the start; with 0 only what was never sent
            is tried again, elsewhere.
        max_open_requests: requests open at once; more are refused at the door.
        max_open_bytes: bytes of open requests; more are refused at the door, except one that comes alone.
        critical_share: which part of both only requests of priority CRITICAL may take.
        ageing: seconds for which a request waits before it counts as one class higher, CRITICAL excepted.
        stop_timeout: seconds that a stop waits for what is open.
        reader_timeout: seconds after which a stream whose reader stalls is cancelled.
        control: does it say its status to `showcaller status`, at a socket that only its own user can reach?
    """

    model: str | None = field(
        default=None, validator=text("name a route, a backend or a model, or leave it out", none=True)
    )
    timeout: float = field(default=120.0, validator=number(SECONDS, above=0))
    num_retries: int = field(default=2, validator=whole("use a whole number, 0 or more", least=0))
    retry_budget: float = field(
        default=0.1, validator=number("use retries a request, 0 or more, such as 0.1", least=0)
    )
    retry_burst: int = field(
        default=100, validator=whole("use a whole number of retries, 0 or more", least=0)
    )
    max_open_requests: int = field(default=10_000, validator=whole("use a whole number, 1 or more", least=1))
    max_open_bytes: int = field(
        default=256 * 2**20, validator=whole("use a whole number of bytes, 1 or more", least=1)
    )
    critical_share: float = field(default=0.2, validator=_check_share)
    ageing: float = field(default=10.0, validator=number(SECONDS, above=0))
    stop_timeout: float = field(default=5.0, validator=number("use seconds, 0 or more", least=0))
    reader_timeout: float = field(default=60.0, validator=number(SECONDS, above=0))
    control: bool = field(default=True, validator=boolean())
