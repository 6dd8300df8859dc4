"""Every error a caller can see, under one root.

A failure of a backend says four things: may it be retried here (`retry_here`), may another backend be
tried (`retry_elsewhere`), when (`retry_after`, seconds), and could the call have been executed already
(`maybe_executed`). The text names the backend and the fix, and never a secret.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, ClassVar, Self


class ShowcallerError(Exception):
    """The root of all errors that Showcaller raises on purpose.

    Attributes:
        backend: the name of the backend concerned, or None.
        status: the HTTP status, or None.
        retry_after: seconds after which trying again makes sense, or None when that is not known.
        retry_here: may the same backend be tried again?
        retry_elsewhere: may another backend be tried?
        maybe_executed: could the call have been carried out although it failed?
    """

    retry_here: ClassVar[bool] = False
    retry_elsewhere: ClassVar[bool] = False

    def __init__(
        self,
        message: str,
        *,
        backend: str | None = None,
        status: int | None = None,
        retry_after: float | None = None,
        maybe_executed: bool = False,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.backend = backend
        self.status = status
        # A transport of the user's own may say what no clock reaches.
        self.retry_after = retry_after if retry_after is not None and 0.0 <= retry_after < math.inf else None
        self.maybe_executed = maybe_executed

    @property
    def blames_backend(self) -> bool:
        """Does it speak against the backend's health? A caller's mistake and a plea for a pause do not."""
        return self.retry_elsewhere

    def copy(self) -> Self:
        """A fresh instance for another waiter: same fields, no traceback, cause or context."""
        twin = type(self).__new__(type(self), *self.args)
        twin.args = self.args
        twin.__dict__.update(self.__dict__)
        if hasattr(self, "__notes__"):
            twin.__notes__ = [*self.__notes__]
        return twin

    def __reduce__(self) -> tuple[Any, ...]:
        return (_rebuild, (type(self), self.args, self.__dict__))


def _rebuild(cls: type[ShowcallerError], args: tuple[Any, ...], state: dict[str, Any]) -> ShowcallerError:
    error = cls.__new__(cls, *args)
    error.args = args
    error.__dict__.update(state)
    return error


# --- at the door -----------------------------------------------------------------------------------


class ConfigurationError(ShowcallerError, ValueError):
    """A setting or an argument is wrong; the text names field, value and fix."""


class UnknownModelError(ConfigurationError):
    """No route, backend or declared model has the name that was asked for."""


class OverloadedError(ShowcallerError):
    """Refused at the door: a runtime or a RequestQueue holds as much as it may, or is too busy to answer in time."""


class QueueClosedError(ShowcallerError):
    """A RequestQueue was closed: it takes nothing more, and what was in it has left."""


class RuntimeStoppedError(ShowcallerError):
    """The runtime is stopping or has stopped."""


class RequestCancelledError(ShowcallerError):
    """The caller gave the request up."""


class DeadlineExceededError(ShowcallerError, TimeoutError):
    """The request's one deadline passed before there was an answer."""


class BudgetExceededError(ShowcallerError):
    """A quota of the caller's own does not allow the request before its deadline."""


# --- a backend's failure ---------------------------------------------------------------------------


class BackendError(ShowcallerError):
    """A backend failed to answer."""

    retry_here = True
    retry_elsewhere = True


class BackendUnreachableError(BackendError):
    """No connection could be made; nothing was sent."""


class BackendTimeoutError(BackendError, TimeoutError):
    """The backend did not connect, begin, go on or finish in time; the text says which."""


class ServerError(BackendError):
    """The backend answered that it failed (HTTP 5xx, 408, 409, 425, or an error inside a stream)."""


class MalformedResponseError(BackendError):
    """The answer was truncated, empty or not of the protocol's form."""


class RedirectedError(MalformedResponseError):
    """The endpoint answered with a redirect (HTTP 3xx), which is not followed: the credential is for it alone."""

    retry_here = False


class ResponseValidationError(BackendError):
    """The answer came whole, and a validator or a transform of the request refused it.

    Attributes:
        content: the text that was refused, as far as it had been transformed.
    """

    def __init__(self, message: str, *, content: str = "", **fields: Any) -> None:
        super().__init__(message, **fields)
        self.content = content

    @property
    def blames_backend(self) -> bool:
        """It answered; that the answer will not do may be the fault of the caller's own check."""
        return False


class RateLimitError(BackendError):
    """The backend asked for a pause (HTTP 429)."""

    @property
    def blames_backend(self) -> bool:
        """It works; it is only busy."""
        return False


class BackendCrashedError(BackendError):
    """The actor or seat that held the attempt died."""


class BackendDrainedError(BackendError):
    """The backend was drained, and the attempt did not end before the drain's deadline."""

    retry_here = False

    @property
    def blames_backend(self) -> bool:
        """It was wanted."""
        return False

    @classmethod
    def of(cls, backend: str) -> Self:
        """The error for one backend."""
        return cls(
            f"{backend}: was drained before the attempt had ended", backend=backend, maybe_executed=True
        )


class AuthenticationError(BackendError):
    """The credential was refused (HTTP 401 or 403)."""

    retry_here = False


class BillingError(BackendError):
    """The account has no money or quota left (HTTP 402, or 429 insufficient_quota)."""

    retry_here = False


class ModelNotFoundError(BackendError):
    """The endpoint does not know the model (HTTP 404), or is none (405, 421)."""

    retry_here = False


class BackendRetiredError(BackendError):
    """The endpoint is gone for good (HTTP 410, or a Sunset in the past)."""

    retry_here = False


class ContextWindowExceededError(BackendError):
    """The prompt is longer than the model's context; only a bigger context helps."""

    retry_here = False
    retry_elsewhere = False


class ContentPolicyViolationError(BackendError):
    """A content filter refused the prompt or the answer."""

    retry_here = False
    retry_elsewhere = False


class InvalidRequestError(BackendError):
    """The backend refused the request as wrong in itself (HTTP 400, 415, 422)."""

    retry_here = False
    retry_elsewhere = False


class RequestTooLargeError(InvalidRequestError):
    """The request is larger than the endpoint takes, in bytes or at a time (HTTP 413); another may take more."""

    retry_elsewhere = True

    @property
    def blames_backend(self) -> bool:
        """It takes what is smaller."""
        return False


class StreamInterruptedError(BackendError):
    """A stream broke after its first chunk had reached the caller.

    Attributes:
        partial: the text that had been received.
    """

    retry_here = False
    retry_elsewhere = False

    def __init__(self, message: str, *, partial: str = "", **fields: Any) -> None:
        super().__init__(message, **fields)
        self.partial = partial


class AllBackendsFailedError(ShowcallerError):
    """Every attempt that was allowed has failed.

    Attributes:
        attempts: the error of each attempt, in order; each names its backend.
    """

    def __init__(self, message: str, *, attempts: Sequence[ShowcallerError] = (), **fields: Any) -> None:
        super().__init__(message, **fields)
        self.attempts = tuple(attempts)
