"""Showcaller: an actor-based runtime that carries out model calls. Everything public is here."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from showcaller.actors.configuration import RuntimeConfig
from showcaller.actors.enums import (
    BackendState,
    BackendType,
    CircuitState,
    LoadBalanceStrategy,
    RequestPriority,
    ResponseTransform,
    Source,
)
from showcaller.actors.errors import (
    AllBackendsFailedError,
    AuthenticationError,
    BackendCrashedError,
    BackendDrainedError,
    BackendError,
    BackendRetiredError,
    BackendTimeoutError,
    BackendUnreachableError,
    BillingError,
    BudgetExceededError,
    ConfigurationError,
    ContentPolicyViolationError,
    ContextWindowExceededError,
    DeadlineExceededError,
    InvalidRequestError,
    MalformedResponseError,
    ModelNotFoundError,
    OverloadedError,
    RateLimitError,
    RequestCancelledError,
    RuntimeStoppedError,
    ServerError,
    ShowcallerError,
    StreamInterruptedError,
    UnknownModelError,
)
from showcaller.actors.messages import Submit
from showcaller.actors.models import (
    Answered,
    BackendResponse,
    ChatRequest,
    Errored,
    Outcome,
    RequestContext,
    StreamChunk,
    Usage,
)
from showcaller.actors.policies.circuit_breaker import CircuitBreaker
from showcaller.actors.policies.load_balancer import LoadBalancer
from showcaller.actors.secrets import CommandSecret, EnvSecret, FileSecret, Secret
from showcaller.actors.settings import (
    BackendConfig,
    Limits,
    QuotaConfig,
    RouteConfig,
    RuntimeSettings,
    TargetConfig,
    Timeouts,
)
from showcaller.runtime.pending import Pending
from showcaller.runtime.runtime import Runtime

if TYPE_CHECKING:
    from showcaller.actors.records import (
        ABTestVariant,
        BackendCapability,
        BackendHealthStatus,
        BackendVersion,
        BatchRequest,
        CachedResponse,
        QueuedRequest,
        RecordedRequest,
        UsageQuota,
        UsageRecord,
    )

__all__ = [
    "ABTestVariant",
    "AllBackendsFailedError",
    "Answered",
    "AuthenticationError",
    "BackendCapability",
    "BackendConfig",
    "BackendCrashedError",
    "BackendDrainedError",
    "BackendError",
    "BackendHealthStatus",
    "BackendResponse",
    "BackendRetiredError",
    "BackendState",
    "BackendTimeoutError",
    "BackendType",
    "BackendUnreachableError",
    "BackendVersion",
    "BatchRequest",
    "BillingError",
    "BudgetExceededError",
    "CachedResponse",
    "ChatRequest",
    "CircuitBreaker",
    "CircuitState",
    "CommandSecret",
    "ConfigurationError",
    "ContentPolicyViolationError",
    "ContextWindowExceededError",
    "DeadlineExceededError",
    "EnvSecret",
    "Errored",
    "FileSecret",
    "InvalidRequestError",
    "Limits",
    "LoadBalanceStrategy",
    "LoadBalancer",
    "MalformedResponseError",
    "ModelNotFoundError",
    "Outcome",
    "OverloadedError",
    "Pending",
    "QueuedRequest",
    "QuotaConfig",
    "RateLimitError",
    "RecordedRequest",
    "RequestCancelledError",
    "RequestContext",
    "RequestPriority",
    "ResponseTransform",
    "RouteConfig",
    "Runtime",
    "RuntimeConfig",
    "RuntimeSettings",
    "RuntimeStoppedError",
    "Secret",
    "ServerError",
    "ShowcallerError",
    "Source",
    "StreamChunk",
    "StreamInterruptedError",
    "Submit",
    "TargetConfig",
    "Timeouts",
    "UnknownModelError",
    "Usage",
    "UsageQuota",
    "UsageRecord",
]


def __getattr__(name: str) -> Any:
    """What few programs need is imported when it is asked for, so that `import showcaller` stays quick."""
    if name == "__version__":
        from importlib.metadata import version

        return version("showcaller")
    if name in __all__:
        return getattr(import_module("showcaller.actors.records"), name)
    raise AttributeError(f"module 'showcaller' has no attribute {name!r}")
