"""The error that a flight ends with: the one that says most, with every attempt's own reason."""

from __future__ import annotations

from collections.abc import Sequence

from showcaller.actors.attempt import AttemptRecord
from showcaller.actors.errors import (
    AllBackendsFailedError,
    BackendCrashedError,
    BudgetExceededError,
    ConfigurationError,
    DeadlineExceededError,
    ShowcallerError,
    StreamInterruptedError,
)
from showcaller.actors.flight import Flight
from showcaller.actors.policies.retry import Stop
from showcaller.actors.slot import BackendSlot


def final_error(flight: Flight) -> ShowcallerError:
    """After the last attempt: its own error when it was the only one, or when no other could have cured it."""
    errors = flight.errors
    last = errors[-1]
    if len(errors) == 1 or not (last.retry_here or last.retry_elsewhere):
        return last
    reasons = "; ".join(f"{number}. {error.message}" for number, error in enumerate(errors, 1))
    waits = [error.retry_after for error in errors if error.retry_after is not None]
    return AllBackendsFailedError(
        f"all {len(errors)} attempts of request {flight.id} failed: {reasons}",
        attempts=errors,
        retry_after=min(waits, default=None),
        maybe_executed=any(error.maybe_executed for error in errors),
    )


def not_retried(flight: Flight, why: Stop) -> ShowcallerError:
    """The same, when there would have been another attempt but for what all requests share."""
    error = final_error(flight).copy()
    error.message = (
        f"{error.message}; request {flight.id} was not tried again: {why.reason}; try again later, or raise "
        "retry_budget or retry_burst"
    )
    error.args = (error.message,)
    return error


def interrupted(flight: Flight, cause: ShowcallerError, partial: str) -> StreamInterruptedError:
    """A stream that broke after its first chunk, and the text until then."""
    return StreamInterruptedError(
        f"the stream of request {flight.id} broke after it had begun: {cause.message}; `.partial` has the text so far",
        partial=partial,
        backend=cause.backend,
        maybe_executed=True,
    )


def nothing_in_service(flight: Flight, slots: Sequence[BackendSlot]) -> AllBackendsFailedError:
    """No backend of its lanes takes it: each is out of service, or has not what it needs."""
    why = ((slot, slot.out_of_service or flight.needs.lacking(slot.config)) for slot in slots)
    reasons = "; ".join(f"{slot.name}: {reason}" for slot, reason in why) or "it has none"
    return AllBackendsFailedError(
        f"no backend of {flight.lane!r} is in service: {reasons}; add one, or see runtime.status()",
        attempts=flight.errors,
    )


def too_late(
    flight: Flight, wait: float, limit: str | None, slots: Sequence[BackendSlot], now: float
) -> ShowcallerError:
    """Nothing may be sent before the deadline: because of a limit of the caller's own, or of the backends."""
    if limit is not None:
        return BudgetExceededError(
            f"the quota {limit} is used up for {wait:.0f} s more, which is past the deadline of request {flight.id}; "
            "raise the quota or the timeout",
            retry_after=wait,
        )
    return AllBackendsFailedError(
        f"every backend of {flight.lane!r} is cooling down for {wait:.0f} s more, which is past the deadline of "
        f"request {flight.id}: {'; '.join(_waits(slot, now) for slot in slots)}; try again then, raise the timeout, "
        "or add a backend" + "".join(f"; {error.message}" for error in flight.errors[-1:]),
        attempts=flight.errors,
        retry_after=wait,
    )


def _waits(slot: BackendSlot, now: float) -> str:
    """What one backend waits for."""
    if slot.out_of_service:
        return f"{slot.name}: {slot.out_of_service}"
    until, why = max(
        (slot.breaker.open_until or 0.0, "left alone after failures"),
        (slot.not_before, "asked for a pause"),
        (slot.quota_until, "its limits are used up"),
    )
    return f"{slot.name}: {why}, {max(0.0, until - now):.0f} s"


def out_of_time(flight: Flight) -> DeadlineExceededError:
    """The last attempt ended when the deadline of everyone who waits had passed."""
    return DeadlineExceededError(
        f"request {flight.id} had no outcome before its deadline; raise its timeout, or see runtime.status(); "
        f"its last attempt: {flight.errors[-1].message}",
        maybe_executed=True,
    )


def doomed(flight: Flight, least: float, now: float) -> DeadlineExceededError:
    """What is left of its time is less than the backends need at their best."""
    before = "".join(f"; before that: {error.message}" for error in flight.errors[-1:])
    return DeadlineExceededError(
        f"request {flight.id} was not sent to {flight.lane!r}: {max(0.0, flight.deadline - now):.3f} s were left of "
        f"its timeout, and the quickest of its backends has lately needed more than {least:.3f} s; raise the "
        f"timeout, send less at a time, or add a backend{before}",
        maybe_executed=flight.dispatches > 0,
    )


def hangs_in_checks(record: AttemptRecord) -> ConfigurationError:
    """An answer was there, and a transform or validator of the request has not come back from it."""
    return ConfigurationError(
        f"request {record.flight.id} was given up: a transform or validator of it had not come back from the answer of "
        f"{record.slot} when the attempt's time was over; make it quicker, or raise the timeout",
        backend=record.slot,
        maybe_executed=True,
    )


def poisoned(flight: Flight, actor: str) -> BackendCrashedError:
    """An actor has died twice of the message that brought the flight."""
    return BackendCrashedError(
        f"request {flight.id} was given up: the {actor} died of it twice; this is a bug, and the log has the place"
    )
