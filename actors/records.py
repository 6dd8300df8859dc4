"""What is kept about requests and backends: frozen values; a count changes by `attrs.evolve`.

Durations are held in seconds; the `_ms` names are derived. Points in time are wall seconds since the epoch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

from attrs import Attribute, field, frozen

from showcaller.actors.canonical import FrozenDict, frozen_mapping
from showcaller.actors.enums import BackendState, RequestPriority
from showcaller.actors.models import Outcome
from showcaller.actors.validators import boolean, json_mapping, kind, number, refuse, text, token, whole

_TIME = number("use seconds since the epoch, 0 or more", least=0)
_TIME_OR_NONE = number("use seconds since the epoch, 0 or more, or None", least=0, none=True)
_DURATION = number("use seconds, 0 or more", least=0)
_DURATION_OR_NONE = number("use seconds, 0 or more, or None", least=0, none=True)
_COUNT = whole("use a whole number, 0 or more", least=0)
_LIMIT = whole("use a whole number, 1 or more, or None for no limit", least=1, none=True)
_NAME = text("use a str that is not empty")
_TEXT = text("use a str", empty=True)
_REQUEST_ID = token("use 1 to 200 visible ASCII characters")
_JSON_MAPPING = json_mapping("use a mapping of str to JSON values")


def _names(owner: object, attribute: Attribute[Any], value: Any) -> None:
    if not isinstance(value, tuple) or not all(isinstance(one, str) and one for one in value):
        raise refuse(owner, attribute.name, value, "use a list of names")


def _as_tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, (list, set, frozenset)) else value


@frozen(kw_only=True)
class BackendHealthStatus:
    """How a backend has done lately.

    Attributes:
        backend: its name.
        state: what is believed of it.
        last_check: when it was last heard of, or None.
        attempts: how many were looked at: the last ones, and none that is too old.
        success_rate: successes among the attempts looked at, 0 to 1; 1 when there are none.
        avg_latency: seconds, over the successes looked at; 0 when there are none.
        latency_p50, latency_p95, latency_p99: seconds within which that share of the successes came, or None.
        error_count: failures among the attempts looked at.
    """

    backend: str = field(validator=_NAME)
    state: BackendState = field(
        default=BackendState.UNKNOWN, validator=kind(BackendState, "use a BackendState")
    )
    last_check: float | None = field(default=None, validator=_TIME_OR_NONE)
    attempts: int = field(default=0, validator=_COUNT)
    success_rate: float = field(default=1.0)
    avg_latency: float = field(default=0.0, validator=_DURATION)
    latency_p50: float | None = field(default=None, validator=_DURATION_OR_NONE)
    latency_p95: float | None = field(default=None, validator=_DURATION_OR_NONE)
    latency_p99: float | None = field(default=None, validator=_DURATION_OR_NONE)
    error_count: int = field(default=0, validator=_COUNT)

    @success_rate.validator
    def _check_rate(self, attribute: Attribute[Any], value: Any) -> None:
        number("use a share from 0 to 1", least=0)(self, attribute, value)
        if value > 1:
            raise refuse(self, "success_rate", value, "use a share from 0 to 1")

    @property
    def avg_latency_ms(self) -> float:
        """The average latency in milliseconds."""
        return self.avg_latency * 1000.0


@frozen(kw_only=True, eq=False)
class QueuedRequest:
    """A request that waits; the lesser one is served first: by priority, then by age.

    Attributes:
        priority: how urgent it is.
        timestamp: when it was queued, in seconds of whatever clock its queue uses.
        request_id: its id.
        prompt: what it asks.
        callback: called with its outcome, or None.
    """

    priority: RequestPriority = field(
        default=RequestPriority.NORMAL, validator=kind(RequestPriority, "use a RequestPriority")
    )
    timestamp: float = field(validator=number("use seconds"))
    request_id: str = field(validator=_REQUEST_ID)
    prompt: str = field(validator=_TEXT, repr=False)
    callback: Callable[[Outcome], object] | None = field(default=None, repr=False)

    @callback.validator
    def _check_callback(self, attribute: Attribute[Any], value: Any) -> None:
        if value is not None and not callable(value):
            raise refuse(self, "callback", value, "use a function of one Outcome, or None")

    def __lt__(self, other: QueuedRequest) -> bool:
        if not isinstance(other, QueuedRequest):
            return NotImplemented
        return (-self.priority, self.timestamp) < (-other.priority, other.timestamp)


@frozen(kw_only=True)
class BatchRequest:
    """Prompts that go out together.

    Attributes:
        requests: the prompts, in order.
        batch_id: its id.
        created_at: when it was closed, in the seconds of its batcher's clock.
        processed_count: how many have their outcome.
    """

    requests: tuple[str, ...] = field(converter=_as_tuple, validator=_names, repr=False)
    batch_id: str = field(validator=_REQUEST_ID)
    created_at: float = field(validator=_TIME)
    processed_count: int = field(default=0, validator=_COUNT)

    @processed_count.validator
    def _check_processed(self, attribute: Attribute[Any], value: Any) -> None:
        if value > len(self.requests):
            raise refuse(self, "processed_count", value, f"the batch has {len(self.requests)} requests")


@frozen(kw_only=True)
class UsageQuota:
    """Requests allowed and made; a limit of None allows any number.

    Attributes:
        daily_limit, hourly_limit: the most requests.
        current_daily, current_hourly: requests made in the current window.
        reset_daily_at, reset_hourly_at: when each window ends.
    """

    daily_limit: int | None = field(default=1000, validator=_LIMIT)
    hourly_limit: int | None = field(default=100, validator=_LIMIT)
    current_daily: int = field(default=0, validator=_COUNT)
    current_hourly: int = field(default=0, validator=_COUNT)
    reset_daily_at: float = field(validator=_TIME)
    reset_hourly_at: float = field(validator=_TIME)


@frozen(kw_only=True)
class BackendVersion:
    """What a backend says it is."""

    backend: str = field(validator=_NAME)
    version: str = field(validator=_NAME)
    capabilities: tuple[str, ...] = field(default=(), converter=_as_tuple, validator=_names)
    api_version: str | None = field(default=None, validator=text("use a str, or None", none=True))
    deprecated_features: tuple[str, ...] = field(default=(), converter=_as_tuple, validator=_names)


@frozen(kw_only=True)
class BackendCapability:
    """One thing a backend can do, such as tools or streaming."""

    name: str = field(validator=_NAME)
    description: str = field(default="", validator=_TEXT)
    enabled: bool = field(default=True, validator=boolean())
    parameters: Mapping[str, Any] = field(
        factory=FrozenDict, converter=frozen_mapping, validator=_JSON_MAPPING
    )


@frozen(kw_only=True)
class RecordedRequest:
    """A request and what came of it.

    Attributes:
        request_id: its id.
        timestamp: when it ended.
        prompt: what was asked.
        backend: who answered or failed, or None when it reached no backend.
        response: the text, or None when it failed.
        latency: seconds.
        success: was it answered?
        metadata: JSON values.
    """

    request_id: str = field(validator=_REQUEST_ID)
    timestamp: float = field(validator=_TIME)
    prompt: str = field(validator=_TEXT, repr=False)
    backend: str | None = field(default=None, validator=text("use a backend's name, or None", none=True))
    response: str | None = field(
        default=None, validator=text("use a str, or None", none=True, empty=True), repr=False
    )
    latency: float = field(default=0.0, validator=_DURATION)
    success: bool = field(default=True, validator=boolean())
    metadata: Mapping[str, Any] = field(
        factory=FrozenDict, converter=frozen_mapping, validator=_JSON_MAPPING, repr=False
    )

    @property
    def latency_ms(self) -> float:
        """The latency in milliseconds."""
        return self.latency * 1000.0


@frozen(kw_only=True)
class UsageRecord:
    """What one attempt used.

    Attributes:
        timestamp: when it ended.
        backend: its backend.
        tokens_used: input and output tokens.
        latency: seconds.
        success: was it answered?
        cost_estimate: US dollars, or None when no price is known.
    """

    timestamp: float = field(validator=_TIME)
    backend: str = field(validator=_NAME)
    tokens_used: int = field(default=0, validator=_COUNT)
    latency: float = field(default=0.0, validator=_DURATION)
    success: bool = field(default=True, validator=boolean())
    cost_estimate: Decimal | None = field(default=None)

    @cost_estimate.validator
    def _check_cost(self, attribute: Attribute[Any], value: Any) -> None:
        if value is not None and not (isinstance(value, Decimal) and value.is_finite() and value >= 0):
            raise refuse(self, "cost_estimate", value, "use a Decimal of US dollars, 0 or more, or None")

    @property
    def latency_ms(self) -> float:
        """The latency in milliseconds."""
        return self.latency * 1000.0


@frozen(kw_only=True)
class CachedResponse:
    """An answer that may be given again until `expires_at`."""

    content: str = field(validator=_TEXT, repr=False)
    created_at: float = field(validator=_TIME)
    expires_at: float = field(validator=_TIME)
    hit_count: int = field(default=0, validator=_COUNT)

    @expires_at.validator
    def _check_expiry(self, attribute: Attribute[Any], value: Any) -> None:
        if value <= self.created_at:
            raise refuse(self, "expires_at", value, "use a time after created_at")


@frozen(kw_only=True)
class ABTestVariant:
    """One side of an experiment: the backend it uses, its share and what was measured.

    Attributes:
        name: unique in its test.
        backend: who answers for it.
        weight: its share; greater than 0.
        metrics: measured means by name.
        sample_count: how many samples they stand on.
    """

    name: str = field(validator=_NAME)
    backend: str = field(validator=_NAME)
    weight: float = field(default=1.0, validator=number("use a number greater than 0", above=0))
    metrics: Mapping[str, float] = field(
        factory=FrozenDict, converter=frozen_mapping, validator=_JSON_MAPPING
    )
    sample_count: int = field(default=0, validator=_COUNT)
