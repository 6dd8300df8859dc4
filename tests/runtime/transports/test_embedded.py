"""The embedded model answers, streams, keeps its deadlines and gives its slot back; all on the real model."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from showcaller.actors.backend_config import Timeouts
from showcaller.actors.errors import (
    BackendTimeoutError,
    ContextWindowExceededError,
    InvalidRequestError,
    RequestCancelledError,
)
from showcaller.actors.transport import Chunk, Done, Failed, Sent
from showcaller.runtime.transports.embedded import EmbeddedTransport
from tests.runtime.transports.contract import error_of, last_of
from tests.runtime.transports.local_model import ENDLESS, LONG_PROMPT, an_attempt, answers

pytest.importorskip("xllamacpp")


@pytest.fixture(scope="module")
def transport(model_path: Path) -> Iterator[EmbeddedTransport]:
    """One transport for the tests that leave it as it was."""
    transport = EmbeddedTransport(model_path=model_path)
    yield transport
    transport.close()


# --- answers ---


def test_a_plain_attempt_is_sent_and_done(transport: EmbeddedTransport) -> None:
    """No chunk is shown to who wants none; tokens are counted, not guessed."""
    sent, done = transport.attempt(an_attempt())
    assert sent == Sent()
    assert isinstance(done, Done)
    assert done.message["role"] == "assistant"
    assert done.message["content"]
    assert done.finish_reason in {"length", "stop"}
    assert done.model == "smollm2"
    assert not done.usage.estimated
    assert done.usage.input_tokens > 0
    assert 0 < done.usage.output_tokens <= 8


def test_the_chunks_of_a_stream_make_the_answer(transport: EmbeddedTransport) -> None:
    """Sent comes first, Done last, and nothing is lost between."""
    sent, *chunks, done = transport.attempt(an_attempt(stream=True))
    assert sent == Sent()
    assert len(chunks) > 1
    assert all(isinstance(chunk, Chunk) for chunk in chunks)
    assert isinstance(done, Done)
    assert "".join(chunk.text for chunk in chunks if isinstance(chunk, Chunk)) == done.message["content"]


def test_the_answer_carries_the_configured_name(make_embedded: Callable[..., EmbeddedTransport]) -> None:
    """Not the file's name, and never its path."""
    last = last_of(make_embedded(model="mine").attempt(an_attempt()))
    assert isinstance(last, Done)
    assert last.model == "mine"


def test_the_same_seed_gives_the_same_answer(transport: EmbeddedTransport) -> None:
    """The options of the request reach the model."""
    contents = []
    for _ in range(2):
        last = last_of(transport.attempt(an_attempt(temperature=0)))
        assert isinstance(last, Done)
        contents.append(last.message["content"])
    assert contents[0] == contents[1]


def test_more_callers_than_slots_are_all_answered(transport: EmbeddedTransport) -> None:
    """Who finds no free slot waits for one."""
    with ThreadPoolExecutor(4) as pool:
        lasts = list(pool.map(lambda _: last_of(transport.attempt(an_attempt())), range(8)))
    assert all(isinstance(last, Done) for last in lasts)


# --- refusals ---


def test_a_prompt_beyond_the_context_is_named_as_that(transport: EmbeddedTransport) -> None:
    """Only a bigger context helps, so the router must be told; the slot is free again."""
    assert isinstance(error_of(transport.attempt(an_attempt("hello " * 6000))), ContextWindowExceededError)
    assert answers(transport)


@pytest.mark.parametrize("wrong", [{"temperature": "hot"}, {"messages": "hello"}])
def test_a_wrong_option_is_the_requests_fault(transport: EmbeddedTransport, wrong: dict[str, Any]) -> None:
    """What llama.cpp returns as an error and what it raises are the same error here."""
    error = error_of(transport.attempt(an_attempt(**wrong)))
    assert isinstance(error, InvalidRequestError)
    assert error.backend == "local"
    assert answers(transport)


# --- cancel ---


def test_an_attempt_that_is_cancelled_before_it_begins_fails_at_once(transport: EmbeddedTransport) -> None:
    """Nothing is sent for it."""
    attempt = an_attempt(**ENDLESS)
    attempt.cancel.cancel()
    (failed,) = transport.attempt(attempt)
    assert isinstance(failed, Failed)
    assert isinstance(failed.error, RequestCancelledError)
    assert not failed.error.maybe_executed


@pytest.mark.parametrize("stream", [True, False])
def test_cancel_ends_an_answer_under_way_and_frees_the_slot(
    make_embedded: Callable[..., EmbeddedTransport], stream: bool
) -> None:
    """The only slot answers the next attempt long before the cancelled one would have ended."""
    transport = make_embedded(n_parallel=1)
    attempt = an_attempt(stream=stream, **ENDLESS)
    events = transport.attempt(attempt)
    assert next(events) == Sent()
    threading.Timer(0.05, attempt.cancel.cancel).start()
    error = error_of(events)
    assert isinstance(error, RequestCancelledError)
    assert error.maybe_executed
    assert answers(transport)


def test_cancel_is_heard_while_the_prompt_is_read(make_embedded: Callable[..., EmbeddedTransport]) -> None:
    """A long prompt does not hold its slot until the first token."""
    transport = make_embedded(n_parallel=1)
    attempt = an_attempt(LONG_PROMPT)
    events = transport.attempt(attempt)
    assert next(events) == Sent()
    attempt.cancel.cancel()
    assert isinstance(error_of(events), RequestCancelledError)
    assert answers(transport)


def test_leaving_a_stream_early_frees_the_slot(make_embedded: Callable[..., EmbeddedTransport]) -> None:
    """Closing the iterator cancels the rest."""
    transport = make_embedded(n_parallel=1)
    events = transport.attempt(an_attempt(stream=True, **ENDLESS))
    assert next(events) == Sent()
    assert isinstance(next(events), Chunk)
    events.close()  # type: ignore[attr-defined]
    assert answers(transport)


# --- deadlines ---


@pytest.mark.parametrize(
    ("text", "timeout", "names"),
    [
        pytest.param("Say hello", Timeouts(total=0.4, first_token=60, idle=60), "total", id="total"),
        pytest.param(LONG_PROMPT, Timeouts(first_token=0.2), "first_token", id="first token"),
        pytest.param("Say hello", Timeouts(idle=1e-6), "idle", id="idle"),
    ],
)
def test_each_timeout_ends_the_attempt_and_says_which(
    make_embedded: Callable[..., EmbeddedTransport], text: str, timeout: Timeouts, names: str
) -> None:
    """The slot is free again, and the request may have been executed."""
    transport = make_embedded(n_parallel=1)
    assert answers(transport), "the model is loaded, so that only the answer takes time"
    attempt = an_attempt(text, total=timeout.total, timeout=timeout, **ENDLESS)
    error = error_of(transport.attempt(attempt))
    assert isinstance(error, BackendTimeoutError)
    assert f"timeout.{names}" in str(error)
    assert error.maybe_executed
    assert answers(transport)


def test_an_attempt_that_finds_no_free_slot_in_time_was_not_sent(
    make_embedded: Callable[..., EmbeddedTransport],
) -> None:
    """It may be tried elsewhere without being executed twice."""
    transport = make_embedded(n_parallel=1)
    busy = transport.attempt(an_attempt(**ENDLESS))
    assert next(busy) == Sent()
    (failed,) = transport.attempt(an_attempt(total=0.2))
    busy.close()  # type: ignore[attr-defined]
    assert isinstance(failed, Failed)
    assert isinstance(failed.error, BackendTimeoutError)
    assert "no free slot" in str(failed.error)
    assert not failed.error.maybe_executed
    assert failed.error.retry_elsewhere
