"""What follows a failed attempt: another attempt, when, and where; or the end.

One number of retries holds for the whole request, one deadline for all of them, one budget for all requests.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import frozen

from showcaller.actors.enums import FallbackCause
from showcaller.actors.errors import (
    BackendError,
    BackendUnreachableError,
    ContentPolicyViolationError,
    ContextWindowExceededError,
    ShowcallerError,
)

if TYPE_CHECKING:
    import random


MAX_DOUBLINGS = 64
"""After that many even a millisecond has outgrown every bound."""


@frozen(kw_only=True)
class RetryPolicy:
    """How failed attempts are repeated.

    Attributes:
        num_retries: attempts after the first, for the whole request.
        min_delay, max_delay: bounds of the backoff in seconds; a delay is drawn between 0 and the backoff
            (full jitter, as in the AWS Architecture Blog's "Exponential Backoff And Jitter").
    """

    num_retries: int = 2
    min_delay: float = 0.5
    max_delay: float = 8.0


@frozen
class Retry:
    """Try again after `delay` seconds; `elsewhere` when another backend is to be tried.

    `paid`: it takes a token from the retry budget.
    """

    delay: float
    elsewhere: bool
    paid: bool = True


@frozen
class Stop:
    """Do not try again; `reason` says why."""

    reason: str


NO_BUDGET = Stop("the retry budget of the runtime is used up")


def cause_of(error: ShowcallerError) -> FallbackCause:
    """Which fallbacks may cure it."""
    if isinstance(error, ContextWindowExceededError):
        return FallbackCause.CONTEXT_WINDOW
    if isinstance(error, ContentPolicyViolationError):
        return FallbackCause.CONTENT_POLICY
    return FallbackCause.FAILURE


def decide(
    policy: RetryPolicy,
    error: ShowcallerError,
    *,
    failures: int,
    repeatable: bool,
    here: bool,
    others: bool,
    remaining: float,
    can_pay: bool,
    rng: random.Random,
    again: bool = False,
) -> Retry | Stop:
    """What to do after a failure.

    Args:
        policy: the rules.
        error: what the attempt failed of.
        failures: failed attempts of the request so far, this one included.
        repeatable: may it be sent again? Not when it may have been executed and is not idempotent.
        here: may the request be tried at the same backend once more?
        others: is there a backend that was not tried yet and could be now, among those that may cure this error?
        remaining: seconds until the request's deadline.
        can_pay: has the retry budget a token left? It is not asked for one when nothing was sent and another
            backend is tried: that one's is the first call of the request (gRPC's transparent retry, gRFC A6),
            and the outage of one backend is not to starve the others.
        rng: draws the jitter.
        again: is there another backend, which has failed it before and may be tried once more? Then nobody need
            sit out the pause that this one asks for.
    """
    # What its own kind of fallback may cure, no other backend does.
    abroad = error.retry_elsewhere or cause_of(error) is not FallbackCause.FAILURE
    if not isinstance(error, BackendError) or not (error.retry_here or abroad):
        return Stop("the error is not one that another attempt could cure")
    if not repeatable:
        return Stop("it may have been executed already, and the request is not idempotent")
    if failures > policy.num_retries:
        return Stop(f"num_retries = {policy.num_retries} is used up")
    elsewhere = others and abroad
    if elsewhere:
        delay = 0.0
    elif not (here and error.retry_here):
        return Stop("no backend is left that could be tried")
    elif error.retry_after is not None and not (again and abroad):
        delay = error.retry_after
    else:
        # Bounded, because no float holds the doubled delay of the thousandth retry.
        delay = rng.random() * min(
            policy.max_delay, policy.min_delay * 2.0 ** min(failures - 1, MAX_DOUBLINGS)
        )
    if delay >= remaining:
        return Stop("the deadline would pass before it may be tried again")
    paid = not (elsewhere and isinstance(error, BackendUnreachableError) and not error.maybe_executed)
    if paid and not can_pay:
        return NO_BUDGET
    return Retry(delay, elsewhere=elsewhere, paid=paid)
