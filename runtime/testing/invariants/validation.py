"""Checks of answers: nobody gets one that his validators would refuse, and none is refused without cause."""

from __future__ import annotations

from attrs import evolve

from showcaller.actors.errors import ResponseValidationError
from showcaller.actors.messages import AttemptFinished
from showcaller.actors.models import BackendResponse, ChatRequest
from showcaller.runtime.testing.invariants.findings import Findings


class ValidationChecks:
    """Does to each answer by hand what its request asks for."""

    def __init__(self, findings: Findings) -> None:
        self._findings = findings

    def answered(self, request: ChatRequest, response: BackendResponse) -> None:
        """A client has this answer to this request."""
        text = _transformed(request, response.message["content"])
        if response.content != text:
            self._say(response.request_id, "its answer is not what its own transforms make of the message")
        if not _is_accepted(request, evolve(response, content=text)):
            self._say(response.request_id, "has an answer that one of its validators refuses")

    def finished(self, message: AttemptFinished) -> None:
        """An AttemptFinished is about to be handled."""
        if not isinstance(message.error, ResponseValidationError):
            return
        flight = message.record.flight
        text = _transformed(flight.request, message.content)
        said = {"role": "assistant", "content": message.content}
        response = BackendResponse(
            content=text, message=said, backend=message.record.slot, model="", request_id=flight.id
        )
        if _is_accepted(flight.request, response):
            self._say(flight.id, "an answer of it was refused that each of its validators accepts")
        if message.usage is None:
            self._say(flight.id, "an answer of it was refused, and what it has cost is lost")

    def _say(self, request_id: str, text: str) -> None:
        self._findings.say("checks", f"request {request_id}", text)


def _transformed(request: ChatRequest, text: str) -> str:
    for transformer in request.transforms:
        text = transformer.transform(text)
    return text


def _is_accepted(request: ChatRequest, response: BackendResponse) -> bool:
    return all(validator(response) in (True, None) for validator in request.validators)
