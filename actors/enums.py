"""The closed vocabularies of the domain."""

from __future__ import annotations

import enum


class BackendType(enum.Enum):
    """How a backend is reached."""

    AUTO = "auto"
    OPENAI_COMPATIBLE = "openai"
    GITHUB_MODELS = "github_models"
    ANTHROPIC = "anthropic"
    COPILOT_CLI = "copilot_cli"
    GH_COPILOT = "gh_copilot"
    EMBEDDED = "embedded"
    REPLAYED = "replayed"
    SIMULATED = "simulated"


class BackendState(enum.Enum):
    """What the health monitor believes of a backend."""

    HEALTHY = "healthy"
    DEGRADED = "degraded"
    UNHEALTHY = "unhealthy"
    UNKNOWN = "unknown"
    RETIRED = "retired"
    FAILED = "failed"


class CircuitState(enum.Enum):
    """The states of a circuit breaker."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


class RequestPriority(enum.IntEnum):
    """How urgent a request is; the greater value is served first."""

    LOW = 0
    NORMAL = 1
    HIGH = 2
    CRITICAL = 3


class ResponseTransform(enum.Enum):
    """The named transformations of an answer's text."""

    NONE = "none"
    STRIP_WHITESPACE = "strip_whitespace"
    EXTRACT_CODE = "extract_code"
    EXTRACT_JSON = "extract_json"
    MARKDOWN_TO_TEXT = "markdown_to_text"


class LoadBalanceStrategy(enum.Enum):
    """How a route chooses among its eligible backends."""

    ROUND_ROBIN = "round_robin"
    LEAST_CONNECTIONS = "least_connections"
    WEIGHTED = "weighted"
    FAILOVER = "failover"
    LEAST_LATENCY = "least_latency"


class Capability(enum.Enum):
    """What a backend may be able to do beyond plain chat."""

    TOOLS = "tools"
    IMAGES = "images"
    JSON_SCHEMA = "json_schema"


class FallbackCause(enum.Enum):
    """Why a request leaves a route for another; each has fallbacks of its own."""

    FAILURE = "fallbacks"
    CONTEXT_WINDOW = "context_window_fallbacks"
    CONTENT_POLICY = "content_policy_fallbacks"


class Source(enum.Enum):
    """Where an answer came from."""

    LIVE = "live"
    CACHE = "cache"
    COALESCED = "coalesced"
    REPLAY = "replay"
