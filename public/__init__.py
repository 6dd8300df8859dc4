"""Showcaller: an actor-based runtime that carries out model calls. Everything public is here.

Each name is imported when it is first asked for, so that `import showcaller` costs next to nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
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
    from showcaller.actors.policies.backend_health import BackendHealthMonitor
    from showcaller.actors.policies.circuit_breaker import CircuitBreaker
    from showcaller.actors.policies.load_balancer import LoadBalancer
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
    from showcaller.actors.strategy import Candidate, Strategy
    from showcaller.runtime.pending import Pending
    from showcaller.runtime.runtime import Runtime

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
    "BackendHealthMonitor",
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
    "Candidate",
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
    "Strategy",
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

_HOMES = {
    "showcaller.actors.configuration": "RuntimeConfig",
    "showcaller.actors.enums": """
        BackendState BackendType CircuitState LoadBalanceStrategy RequestPriority
        ResponseTransform Source
    """,
    "showcaller.actors.errors": """
        AllBackendsFailedError AuthenticationError BackendCrashedError BackendDrainedError
        BackendError BackendRetiredError BackendTimeoutError BackendUnreachableError
        BillingError BudgetExceededError ConfigurationError ContentPolicyViolationError
        ContextWindowExceededError DeadlineExceededError InvalidRequestError
        MalformedResponseError ModelNotFoundError OverloadedError RateLimitError
        RequestCancelledError RuntimeStoppedError ServerError ShowcallerError
        StreamInterruptedError UnknownModelError
    """,
    "showcaller.actors.messages": "Submit",
    "showcaller.actors.models": """
        Answered BackendResponse ChatRequest Errored Outcome RequestContext StreamChunk Usage
    """,
    "showcaller.actors.policies.backend_health": "BackendHealthMonitor",
    "showcaller.actors.policies.circuit_breaker": "CircuitBreaker",
    "showcaller.actors.policies.load_balancer": "LoadBalancer",
    "showcaller.actors.records": """
        ABTestVariant BackendCapability BackendHealthStatus BackendVersion BatchRequest
        CachedResponse QueuedRequest RecordedRequest UsageQuota UsageRecord
    """,
    "showcaller.actors.secrets": "CommandSecret EnvSecret FileSecret Secret",
    "showcaller.actors.settings": """
        BackendConfig Limits QuotaConfig RouteConfig RuntimeSettings TargetConfig Timeouts
    """,
    "showcaller.actors.strategy": "Candidate Strategy",
    "showcaller.runtime.pending": "Pending",
    "showcaller.runtime.runtime": "Runtime",
}
_HOME = {name: module for module, names in _HOMES.items() for name in names.split()}


def __getattr__(name: str) -> Any:
    """Import a public name, and keep it."""
    if name == "__version__":
        from importlib.metadata import version

        return version("showcaller")
    if name not in _HOME:
        raise AttributeError(f"module 'showcaller' has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(_HOME[name]), name)
    return value


def __dir__() -> list[str]:
    """The public names."""
    return sorted(__all__)
