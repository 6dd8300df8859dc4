"""What a request's transforms and validators make of an answer: the answer as it is wanted, or why it will not do.

They are the caller's code. What they raise by mistake is that request's failure, and never the backend's.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn

from attrs import evolve

from showcaller.actors.errors import ConfigurationError, ResponseValidationError
from showcaller.actors.json_text import parse_json
from showcaller.actors.models import BackendResponse, ChatRequest
from showcaller.actors.redaction import redact
from showcaller.actors.response_validators import FinishReason, JsonSchema, Matches, Validator, non_empty
from showcaller.actors.transforms import (
    NAMED,
    ExtractJsonTransformer,
    FunctionTransformer,
    ResponseTransformerBase,
    name_of,
)

LONGEST_REASON = 300
VALUES = (*(type(one) for one in NAMED.values()), FinishReason, Matches, JsonSchema)
"""What is equal when it is written alike."""


def is_checked(request: ChatRequest) -> bool:
    """Is there anything to do to its answer?"""
    return bool(request.transforms or request.validators or request.response_format)


def fingerprint(request: ChatRequest) -> str:
    """Tells the checks of two open requests apart: functions and objects of the caller's own by their identity."""
    marks = [*map(_mark, request.transforms), "", *map(_mark, request.validators)]
    return "\0".join(marks)


def _mark(one: object) -> str:
    if type(one) in VALUES:
        return repr(one)
    return str(id(one.function if isinstance(one, FunctionTransformer) else one))


def parsed_of(request: ChatRequest, content: str) -> Any:
    """The JSON value of the content, if the request asked for JSON; None when it did not, or when it is none."""
    form = request.response_format
    wanted = form is not None and str(form["type"]).startswith("json")
    if not wanted and not any(isinstance(one, ExtractJsonTransformer) for one in request.transforms):
        return None
    try:
        return parse_json(content)
    except ValueError:
        return None


def check(request: ChatRequest, response: BackendResponse) -> BackendResponse:
    """The answer with its content transformed and `parsed`, once every validator has accepted it.

    An answer of tool calls alone has no text, and nothing is transformed.

    Args:
        request: whose transforms and validators.
        response: what the backend said.

    Raises:
        ResponseValidationError: a validator or a transform refused it.
        ConfigurationError: one of them raised something else, or returned what it must not; its cause is what was
            raised.
    """
    content = response.content
    if content or not response.tool_calls:
        for transformer in request.transforms:
            content = _transformed(transformer, content, response)
    checked = evolve(response, content=content, parsed=parsed_of(request, content))
    for validator in request.validators:
        _validate(validator, checked)
    return checked


def validate_response_content(content: str, *validators: Validator) -> bool:
    """Would these validators accept an answer of this text? Without any: is it more than white space?

    Raises:
        ConfigurationError: a validator raised something else than ValueError and AssertionError, or returned what
            it must not.
    """
    message = {"role": "assistant", "content": content}
    response = BackendResponse(content=content, message=message, backend="", model="", request_id="")
    try:
        for validator in validators or (non_empty,):
            _validate(validator, response)
    except ResponseValidationError:
        return False
    return True


def _transformed(transformer: ResponseTransformerBase, content: str, response: BackendResponse) -> str:
    name = _name(transformer)
    try:
        changed: object = transformer.transform(content)
    except (ValueError, AssertionError) as error:
        _refuse(name, str(error), content, response)
    except BaseException as error:
        raise _raised("transform", name, error, response) from error
    if isinstance(changed, str):
        return changed
    raise _misfit("transform", name, changed, "a str", response)


def _validate(validator: Validator, response: BackendResponse) -> None:
    name = _name(validator)
    try:
        verdict: object = validator(response)
    except (ValueError, AssertionError) as error:
        _refuse(name, str(error), response.content, response)
    except BaseException as error:
        raise _raised("validator", name, error, response) from error
    if verdict is None or verdict is True:
        return
    if verdict is False or isinstance(verdict, str):
        _refuse(name, verdict or "", response.content, response)
    raise _misfit("validator", name, verdict, "True, False, None, or the reason as a str", response)


def _name(one: ResponseTransformerBase | Callable[..., object]) -> str:
    try:
        return str(one.get_name()) if isinstance(one, ResponseTransformerBase) else name_of(one)
    except Exception:  # noqa: BLE001 - the caller's code, and only a name
        return type(one).__name__


def _refuse(name: str, reason: str, content: str, response: BackendResponse) -> NoReturn:
    said = redact(reason.strip())
    if len(said) > LONGEST_REASON:
        said = f"{said[: LONGEST_REASON - 1]}…"
    raise ResponseValidationError(
        f"{response.backend}: its answer was refused by {name}{f': {said}' if said else ''}; "
        "`.content` has the text",
        content=content,
        backend=response.backend,
        maybe_executed=True,
    ) from None


def _raised(what: str, name: str, error: BaseException, response: BackendResponse) -> ConfigurationError:
    where = f" on an answer of {response.backend}" if response.backend else ""
    return ConfigurationError(
        f"the {what} {name} raised {type(error).__name__}{where}; to refuse an answer let it raise ValueError, "
        "the log has the place",
        backend=response.backend,
        maybe_executed=True,
    )


def _misfit(
    what: str, name: str, value: object, wanted: str, response: BackendResponse
) -> ConfigurationError:
    return ConfigurationError(
        f"the {what} {name} returned a value of type {type(value).__name__}; let it return {wanted}",
        backend=response.backend,
        maybe_executed=True,
    )
