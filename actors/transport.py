"""The seam between an attempt and how it is carried out: a transport is an iterator of events.

A seat pulls the iterator; a simulation pulls the same iterator in virtual time. A transport never
retries, never chooses, and keeps every deadline it is given.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Protocol

from attrs import field, frozen

from showcaller.actors.backend_config import Timeouts
from showcaller.actors.cancel import CancelScope
from showcaller.actors.errors import ShowcallerError
from showcaller.actors.models import Usage


@frozen(kw_only=True, eq=False)
class Attempt:
    """One try of one request at one backend.

    Attributes:
        request_id: the request's id, for logs and headers.
        number: 1 for the first attempt of a request.
        backend: the backend's name.
        payload: canonical JSON object with `messages` and the options, without `model` and `stream`.
        stream: are chunks wanted as they come?
        deadline: when the attempt must have ended, in seconds of the runtime's clock.
        timeout: the backend's timeouts in seconds; `deadline` already holds the total.
        cancel: set when the answer is no longer wanted.
    """

    request_id: str
    number: int
    backend: str
    payload: bytes = field(repr=False)
    stream: bool
    deadline: float
    timeout: Timeouts
    cancel: CancelScope = field(repr=False, factory=CancelScope)


@frozen
class Sent:
    """The request has begun to leave: from here on it may have been executed."""


@frozen
class Chunk:
    """A piece of a streamed answer: its text, and the delta as the backend sent it."""

    text: str
    delta: Mapping[str, Any] | None = None


@frozen(kw_only=True)
class Done:
    """The whole answer; the last event of a success.

    Attributes:
        message: the assistant message, ready to append to a conversation.
        finish_reason: as the backend named it: stop, length, tool_calls, ...
        usage: tokens as counted by the backend, or an estimate that says so.
        model: the model that answered, as the backend names it.
        raw: the decoded response body; for a stream None.
    """

    message: Mapping[str, Any]
    finish_reason: str | None
    usage: Usage
    model: str
    raw: Mapping[str, Any] | None = None


@frozen
class Failed:
    """The attempt failed; the last event of a failure."""

    error: ShowcallerError


@frozen
class Pause:
    """Nothing happens for that many seconds (how a scripted transport spends virtual time)."""

    seconds: float


TransportEvent = Sent | Chunk | Done | Failed | Pause


class Transport(Protocol):
    """Carries out attempts. One transport serves many attempts at once, from several threads."""

    def attempt(self, attempt: Attempt) -> Iterator[TransportEvent]:
        """Carry out one attempt.

        Yields `Sent` when the request begins to leave, `Chunk`s when `attempt.stream`, and exactly one
        `Done` or `Failed` as the last event. Closing the iterator early cancels upstream and gives the
        connection back or drops it. After `attempt.cancel` is set the iterator ends soon, with `Failed`.
        """

    def close(self) -> None:
        """Free every connection, thread and process; what is in flight fails. Safe to call twice."""
