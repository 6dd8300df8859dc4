"""Showcaller: an actor-based runtime that carries out model calls. Everything public is here.

Each name is imported when it is first asked for, so that `import showcaller` costs next to nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from showcaller.actors.answer_checks import validate_response_content
    from showcaller.actors.backend_config import BackendConfig, Limits, Timeouts
    from showcaller.actors.configuration import RuntimeConfig
    from showcaller.actors.enums import (
        BackendState,
        BackendType,
        Capability,
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
        QueueClosedError,
        RateLimitError,
        RedirectedError,
        RequestCancelledError,
        RequestTooLargeError,
        ResponseValidationError,
        RuntimeStoppedError,
        ServerError,
        ShowcallerError,
        StreamInterruptedError,
        UnknownModelError,
    )
    from showcaller.actors.escalation import Escalation
    from showcaller.actors.kernel.errors import ForkedProcessError
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
    from showcaller.actors.policies.request_batcher import RequestBatcher
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
    from showcaller.actors.route_config import RouteConfig, TargetConfig
    from showcaller.actors.secrets import CommandSecret, EnvSecret, FileSecret, Secret
    from showcaller.actors.settings import HealthConfig, QuotaConfig, RuntimeSettings
    from showcaller.actors.strategy import Candidate, Strategy
    from showcaller.actors.transforms import (
        ExtractCodeTransformer,
        ExtractJsonTransformer,
        MarkdownToTextTransformer,
        ResponseTransformerBase,
        StripWhitespaceTransformer,
    )
    from showcaller.runtime.batcher import Batcher
    from showcaller.runtime.pending import Pending
    from showcaller.runtime.request_queue import RequestQueue
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
    "Batcher",
    "BillingError",
    "BudgetExceededError",
    "CachedResponse",
    "Candidate",
    "Capability",
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
    "Escalation",
    "ExtractCodeTransformer",
    "ExtractJsonTransformer",
    "FileSecret",
    "ForkedProcessError",
    "HealthConfig",
    "InvalidRequestError",
    "Limits",
    "LoadBalanceStrategy",
    "LoadBalancer",
    "MalformedResponseError",
    "MarkdownToTextTransformer",
    "ModelNotFoundError",
    "Outcome",
    "OverloadedError",
    "Pending",
    "QueueClosedError",
    "QueuedRequest",
    "QuotaConfig",
    "RateLimitError",
    "RecordedRequest",
    "RedirectedError",
    "RequestBatcher",
    "RequestCancelledError",
    "RequestContext",
    "RequestPriority",
    "RequestQueue",
    "RequestTooLargeError",
    "ResponseTransform",
    "ResponseTransformerBase",
    "ResponseValidationError",
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
    "StripWhitespaceTransformer",
    "Submit",
    "TargetConfig",
    "Timeouts",
    "UnknownModelError",
    "Usage",
    "UsageQuota",
    "UsageRecord",
    "validate_response_content",
]

_HOMES = {
    "showcaller.actors.answer_checks": "validate_response_content",
    "showcaller.actors.backend_config": "BackendConfig Limits Timeouts",
    "showcaller.actors.configuration": "RuntimeConfig",
    "showcaller.actors.enums": """
        BackendState BackendType Capability CircuitState LoadBalanceStrategy RequestPriority
        ResponseTransform Source
    """,
    "showcaller.actors.errors": """
        AllBackendsFailedError AuthenticationError BackendCrashedError BackendDrainedError
        BackendError BackendRetiredError BackendTimeoutError BackendUnreachableError
        BillingError BudgetExceededError ConfigurationError ContentPolicyViolationError
        ContextWindowExceededError DeadlineExceededError InvalidRequestError
        MalformedResponseError ModelNotFoundError OverloadedError QueueClosedError RateLimitError
        RedirectedError RequestCancelledError RequestTooLargeError ResponseValidationError
        RuntimeStoppedError ServerError ShowcallerError StreamInterruptedError UnknownModelError
    """,
    "showcaller.actors.escalation": "Escalation",
    "showcaller.actors.kernel.errors": "ForkedProcessError",
    "showcaller.actors.messages": "Submit",
    "showcaller.actors.models": """
        Answered BackendResponse ChatRequest Errored Outcome RequestContext StreamChunk Usage
    """,
    "showcaller.actors.policies.backend_health": "BackendHealthMonitor",
    "showcaller.actors.policies.circuit_breaker": "CircuitBreaker",
    "showcaller.actors.policies.load_balancer": "LoadBalancer",
    "showcaller.actors.policies.request_batcher": "RequestBatcher",
    "showcaller.actors.records": """
        ABTestVariant BackendCapability BackendHealthStatus BackendVersion BatchRequest
        CachedResponse QueuedRequest RecordedRequest UsageQuota UsageRecord
    """,
    "showcaller.actors.route_config": "RouteConfig TargetConfig",
    "showcaller.actors.secrets": "CommandSecret EnvSecret FileSecret Secret",
    "showcaller.actors.settings": "HealthConfig QuotaConfig RuntimeSettings",
    "showcaller.actors.strategy": "Candidate Strategy",
    "showcaller.actors.transforms": """
        ExtractCodeTransformer ExtractJsonTransformer MarkdownToTextTransformer
        ResponseTransformerBase StripWhitespaceTransformer
    """,
    "showcaller.runtime.batcher": "Batcher",
    "showcaller.runtime.pending": "Pending",
    "showcaller.runtime.request_queue": "RequestQueue",
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
