"""The errors: what each says about trying again, and that a copy is as good as the original."""

from __future__ import annotations

import copy
import math
import pickle
import traceback

import pytest

from showcaller.actors import errors as module
from showcaller.actors.errors import (
    AllBackendsFailedError,
    BackendDrainedError,
    BackendError,
    BackendTimeoutError,
    ConfigurationError,
    DeadlineExceededError,
    RateLimitError,
    ServerError,
    ShowcallerError,
    StreamInterruptedError,
    UnknownModelError,
)

ALL = [
    value for value in vars(module).values() if isinstance(value, type) and issubclass(value, ShowcallerError)
]

# (here, elsewhere, blames the backend) for every failure of a backend.
FAILURES = {
    "BackendError": (True, True, True),
    "BackendUnreachableError": (True, True, True),
    "BackendTimeoutError": (True, True, True),
    "ServerError": (True, True, True),
    "MalformedResponseError": (True, True, True),
    "RedirectedError": (False, True, True),
    "BackendCrashedError": (True, True, True),
    "ResponseValidationError": (True, True, False),
    "RateLimitError": (True, True, False),
    "BackendDrainedError": (False, True, False),
    "AuthenticationError": (False, True, True),
    "BillingError": (False, True, True),
    "ModelNotFoundError": (False, True, True),
    "BackendRetiredError": (False, True, True),
    "ContextWindowExceededError": (False, False, False),
    "ContentPolicyViolationError": (False, False, False),
    "InvalidRequestError": (False, False, False),
    "RequestTooLargeError": (False, True, False),
    "StreamInterruptedError": (False, False, False),
}


def full(kind):
    """One with every field set."""
    extra = {}
    if kind is StreamInterruptedError:
        extra["partial"] = "half"
    elif kind is AllBackendsFailedError:
        extra["attempts"] = [ServerError("one", backend="a"), RateLimitError("two", retry_after=3.0)]
    return kind("text", backend="a", status=503, retry_after=1.5, maybe_executed=True, **extra)


def fields(error):
    """Everything that a user can ask it; attempts by what they say."""
    return {
        name: [one.message for one in value] if name == "attempts" else value
        for name, value in vars(error).items()
    }


@pytest.mark.parametrize("kind", ALL, ids=lambda kind: kind.__name__)
def test_what_each_error_says_about_trying_again(kind):
    """Only a backend's failure can be cured by another attempt; the table knows each."""
    error = kind("text")
    expected = FAILURES.get(kind.__name__, (False, False, False))
    assert (error.retry_here, error.retry_elsewhere, error.blames_backend) == expected
    assert issubclass(kind, BackendError) is (kind.__name__ in FAILURES)


@pytest.mark.parametrize("kind", ALL, ids=lambda kind: kind.__name__)
def test_an_error_that_says_nothing_more_than_its_text(kind):
    """All further fields have an empty value."""
    error = kind("text")
    assert (str(error), error.message) == ("text", "text")
    assert (error.backend, error.status, error.retry_after, error.maybe_executed) == (None, None, None, False)


@pytest.mark.parametrize("absurd", [math.inf, math.nan, -1.0])
def test_a_time_that_never_comes_is_none(absurd):
    """A pause that long would never end."""
    assert RateLimitError("wait", retry_after=absurd).retry_after is None


@pytest.mark.parametrize("kind", ALL, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize(
    "duplicate",
    [ShowcallerError.copy, copy.copy, copy.deepcopy, lambda error: pickle.loads(pickle.dumps(error))],
    ids=["copy", "copy.copy", "deepcopy", "pickle"],
)
def test_a_duplicate_is_as_good_as_the_original(kind, duplicate):
    """Same type, text and fields, in another instance."""
    error = full(kind)
    twin = duplicate(error)
    assert twin is not error
    assert type(twin) is kind
    assert (str(twin), twin.args, repr(twin)) == (str(error), error.args, repr(error))
    assert fields(twin) == fields(error)


def test_a_copy_has_no_past():
    """Where the original was raised, and in the course of what, is not the other waiter's."""
    try:
        try:
            raise KeyError("inner")
        except KeyError as inner:
            raise full(ServerError) from inner
    except ServerError as raised:
        error = raised
    assert error.__traceback__ is not None
    twin = error.copy()
    assert (twin.__traceback__, twin.__cause__, twin.__context__) == (None, None, None)
    with pytest.raises(ServerError):
        raise twin
    assert len(traceback.extract_tb(error.__traceback__)) == 1


def test_notes_on_a_copy_are_its_own():
    """What one waiter adds, the others do not see."""
    error = full(ServerError)
    error.add_note("for all")
    twin = error.copy()
    twin.add_note("mine")
    assert error.__notes__ == ["for all"]
    assert twin.__notes__ == ["for all", "mine"]


def test_errors_are_what_their_builtin_names_promise():
    """Who catches TimeoutError or ValueError catches them too."""
    assert issubclass(DeadlineExceededError, TimeoutError)
    assert issubclass(BackendTimeoutError, TimeoutError)
    assert issubclass(ConfigurationError, ValueError)
    assert issubclass(UnknownModelError, ConfigurationError)


def test_the_errors_with_more_to_say():
    """The text so far, and the reasons of all attempts in a tuple that cannot be changed."""
    assert StreamInterruptedError("text").partial == ""
    assert full(StreamInterruptedError).partial == "half"
    assert AllBackendsFailedError("text").attempts == ()
    assert [type(one) for one in full(AllBackendsFailedError).attempts] == [ServerError, RateLimitError]
    drained = BackendDrainedError.of("a")
    assert (drained.backend, drained.maybe_executed) == ("a", True)
    assert drained.message.startswith("a: ")
