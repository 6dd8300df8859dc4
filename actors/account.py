"""What a finished attempt means for the quota and for the observers."""

from __future__ import annotations

from showcaller.actors.messages import AttemptFinished, Observation, Settlement


def settlement_of(finished: AttemptFinished, backend: str) -> Settlement:
    """What was spent: what the backend counted, or the reserved worst case if it may have been executed."""
    error = finished.error
    tokens: int | None = None
    if finished.usage is not None:
        tokens = finished.usage.total_tokens
    elif error is not None and error.maybe_executed:
        tokens = finished.record.tokens
    return Settlement(key=finished.record.key, backend=backend, tokens=tokens)


def observation_of(
    finished: AttemptFinished, backend: str, at: float, *, slot: str, impatient: bool
) -> Observation:
    """What the observers are told.

    Args:
        finished: the end of the attempt.
        backend: the name of its backend.
        at: when, in wall seconds.
        slot: the id of the backend's slot.
        impatient: was it the caller's own deadline that came? That says nothing about the backend.
    """
    record, error = finished.record, finished.error
    request = record.flight.request
    return Observation(
        request_id=record.flight.id,
        number=record.number,
        backend=backend,
        slot=slot,
        at=at,
        latency=finished.latency,
        first_token=finished.first_token,
        error=None if error is None else type(error).__name__,
        blames_backend=error is not None and error.blames_backend and not impatient,
        usage=finished.usage,
        payload=request.payload,
        content=finished.content,
        metadata={} if request.context is None else request.context.metadata,
    )
