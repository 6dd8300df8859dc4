"""The records are frozen, checked, and evolve."""

from __future__ import annotations

import heapq
from decimal import Decimal
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from showcaller.actors.enums import BackendState, RequestPriority
from showcaller.actors.errors import ConfigurationError
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

VALID: dict[type, dict[str, Any]] = {
    BackendHealthStatus: {"backend": "a"},
    QueuedRequest: {"timestamp": 1.0, "request_id": "1", "prompt": "x"},
    BatchRequest: {"requests": ["a", "b"], "batch_id": "1", "created_at": 0},
    UsageQuota: {"reset_daily_at": 10, "reset_hourly_at": 5},
    BackendVersion: {"backend": "a", "version": "1"},
    BackendCapability: {"name": "tools"},
    RecordedRequest: {"request_id": "1", "timestamp": 0, "prompt": "x"},
    UsageRecord: {"timestamp": 0, "backend": "a"},
    CachedResponse: {"content": "x", "created_at": 1, "expires_at": 2},
    ABTestVariant: {"name": "a", "backend": "b"},
}

WRONG = [
    (BackendHealthStatus, {"success_rate": 1.1}),
    (BackendHealthStatus, {"success_rate": -0.1}),
    (BackendHealthStatus, {"success_rate": float("nan")}),
    (BackendHealthStatus, {"state": "healthy"}),
    (BackendHealthStatus, {"error_count": -1}),
    (BackendHealthStatus, {"avg_latency": -1}),
    (BackendHealthStatus, {"backend": ""}),
    (BackendHealthStatus, {"last_check": -1}),
    (BackendHealthStatus, {"attempts": -1}),
    (BackendHealthStatus, {"latency_p50": -0.1}),
    (BackendHealthStatus, {"latency_p95": float("inf")}),
    (BackendHealthStatus, {"latency_p99": "1"}),
    (QueuedRequest, {"priority": 1}),
    (QueuedRequest, {"timestamp": float("nan")}),
    (QueuedRequest, {"request_id": "a b"}),
    (QueuedRequest, {"callback": "x"}),
    (QueuedRequest, {"prompt": None}),
    (BatchRequest, {"requests": "ab"}),
    (BatchRequest, {"requests": [1]}),
    (BatchRequest, {"processed_count": 3}),
    (UsageQuota, {"daily_limit": 0}),
    (UsageQuota, {"current_hourly": True}),
    (UsageQuota, {"reset_daily_at": None}),
    (BackendVersion, {"capabilities": "tools"}),
    (BackendVersion, {"api_version": ""}),
    (BackendCapability, {"parameters": {"a": {1}}}),
    (BackendCapability, {"parameters": None}),
    (BackendCapability, {"parameters": {1: 2}}),
    (BackendCapability, {"enabled": 1}),
    (RecordedRequest, {"latency": -0.1}),
    (RecordedRequest, {"response": 5}),
    (RecordedRequest, {"metadata": []}),
    (UsageRecord, {"cost_estimate": 0.5}),
    (UsageRecord, {"cost_estimate": Decimal("NaN")}),
    (UsageRecord, {"cost_estimate": Decimal(-1)}),
    (UsageRecord, {"tokens_used": 1.0}),
    (CachedResponse, {"expires_at": 1}),
    (CachedResponse, {"hit_count": -1}),
    (ABTestVariant, {"weight": 0}),
    (ABTestVariant, {"weight": -1}),
    (ABTestVariant, {"sample_count": None}),
]


@pytest.mark.parametrize("cls", VALID, ids=lambda cls: cls.__name__)
def test_a_record_is_frozen_and_evolves(cls: type) -> None:
    """A count changes by making the next value."""
    record = cls(**VALID[cls])
    name = attrs.fields(cls)[0].name
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        setattr(record, name, getattr(record, name))
    assert attrs.evolve(record) is not record


@pytest.mark.parametrize("cls", VALID, ids=lambda cls: cls.__name__)
def test_a_record_knows_no_other_field(cls: type) -> None:
    """A misspelt field is not swallowed."""
    with pytest.raises(TypeError, match="unexpected"):
        cls(**VALID[cls], no_such_field=1)


@pytest.mark.parametrize(("cls", "wrong"), WRONG, ids=lambda value: getattr(value, "__name__", str(value)))
def test_a_wrong_field_is_refused_by_name(cls: type, wrong: dict[str, Any]) -> None:
    """The text names class, field, value and fix."""
    (name,) = wrong
    with pytest.raises(ConfigurationError) as caught:
        cls(**VALID[cls] | wrong)
    assert str(caught.value).startswith(f"{cls.__name__}.{name}")
    assert " = " in str(caught.value)
    assert ": " in str(caught.value)


def test_milliseconds_are_derived_from_seconds() -> None:
    """One duration is held, in seconds."""
    assert BackendHealthStatus(backend="a", avg_latency=0.5).avg_latency_ms == 500
    assert RecordedRequest(request_id="1", timestamp=0, prompt="x", latency=0.25).latency_ms == 250
    assert UsageRecord(timestamp=0, backend="a", latency=2).latency_ms == 2000
    assert BackendHealthStatus(backend="a").state is BackendState.UNKNOWN


@given(st.lists(st.tuples(st.sampled_from(RequestPriority), st.integers(0, 5))))
def test_queued_requests_are_served_by_priority_and_then_by_age(pairs: list[tuple[Any, int]]) -> None:
    """A heap of them gives the most urgent first, and of these the oldest."""
    heap = [
        QueuedRequest(priority=priority, timestamp=float(when), request_id=str(index), prompt="x")
        for index, (priority, when) in enumerate(pairs)
    ]
    heapq.heapify(heap)
    served = [heapq.heappop(heap) for _ in range(len(heap))]
    keys = [(-one.priority, one.timestamp) for one in served]
    assert keys == sorted(keys)


def test_a_mapping_in_a_record_is_a_snapshot() -> None:
    """Changing the mapping that was given changes nothing."""
    metrics = {"p50": 1.0}
    variant = ABTestVariant(name="a", backend="b", metrics=metrics)
    metrics["p50"] = 2.0
    assert variant.metrics == {"p50": 1.0}
