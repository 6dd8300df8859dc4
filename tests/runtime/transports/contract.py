"""The contract that every transport passes, on a real peer with a real model.

A test module subclasses `TransportContract` and gives it the fixture `make_transport`: a callable that builds
a transport for a model with a context of 2048 tokens; the fixture closes what it built.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol

import pytest

from showcaller.actors.cancel import CancelScope
from showcaller.actors.errors import (
    BackendError,
    BackendTimeoutError,
    ContextWindowExceededError,
    InvalidRequestError,
    RequestCancelledError,
)
from showcaller.actors.transport import Attempt, Chunk, Done, Failed, Sent, Transport, TransportEvent

# Far more than any test lets the model say; llama.cpp's own option keeps it talking.
ENDLESS: dict[str, Any] = {"max_tokens": 1500, "ignore_eos": True, "temperature": 0}
SHORT: dict[str, Any] = {"max_tokens": 5, "temperature": 0, "ignore_eos": True}

MakeTransport = Callable[[], Transport]


class MakeAttempt(Protocol):
    """The fixture `make_attempt`."""

    def __call__(self, prompt: str = ..., **options: Any) -> Attempt: ...


def last_of(events: Iterable[TransportEvent]) -> Done | Failed:
    """The final event; checks that it is the only one of its kind."""
    *before, last = events
    assert isinstance(last, Done | Failed)
    assert not any(isinstance(event, Done | Failed) for event in before)
    return last


def done_of(events: list[TransportEvent]) -> Done:
    """The answer of an attempt that succeeded: `Sent` came once, before anything else."""
    last = last_of(events)
    assert isinstance(last, Done), last
    assert [isinstance(event, Sent) for event in events].index(True) == 0
    assert sum(isinstance(event, Sent) for event in events) == 1
    return last


def error_of(events: Iterable[TransportEvent]) -> Exception:
    """The error of an attempt that failed."""
    last = last_of(events)
    assert isinstance(last, Failed), last
    return last.error


def read_until_chunk(events: Iterator[TransportEvent]) -> list[TransportEvent]:
    """The events up to the first chunk."""
    seen = []
    for event in events:
        seen.append(event)
        if isinstance(event, Chunk):
            return seen
    pytest.fail(f"no chunk came: {seen}")


class TransportContract:
    """The tests; see the module's docstring."""

    def test_a_plain_answer_is_sent_then_done(
        self, make_transport: MakeTransport, make_attempt: MakeAttempt
    ) -> None:
        """One Sent, one Done with text, usage, finish reason and model; no chunk."""
        events = list(make_transport().attempt(make_attempt(**SHORT)))
        done = done_of(events)
        assert len(events) == 2
        assert done.message["role"] == "assistant"
        assert done.message["content"]
        assert done.model
        assert done.usage.input_tokens > 0
        assert done.usage.output_tokens > 0
        assert not done.usage.estimated

    def test_a_streams_chunks_are_the_done_message(
        self, make_transport: MakeTransport, make_attempt: MakeAttempt
    ) -> None:
        """What came piece by piece is what the end says, with usage."""
        options = {**SHORT, "max_tokens": 12}
        events = list(make_transport().attempt(make_attempt(stream=True, **options)))
        done = done_of(events)
        chunks = [event for event in events if isinstance(event, Chunk)]
        assert len(chunks) > 1
        assert "".join(chunk.text for chunk in chunks) == done.message["content"]
        assert done.usage.output_tokens > 0
        assert not done.usage.estimated

    @pytest.mark.parametrize("stream", [False, True])
    def test_max_tokens_is_kept(
        self, make_transport: MakeTransport, make_attempt: MakeAttempt, stream: bool
    ) -> None:
        """The finish reason says so."""
        done = done_of(list(make_transport().attempt(make_attempt(stream=stream, **SHORT))))
        assert done.finish_reason == "length"
        assert done.usage.output_tokens <= 5

    @pytest.mark.parametrize("stream", [False, True])
    def test_tools_pass_through_or_are_refused(
        self, make_transport: MakeTransport, make_attempt: MakeAttempt, stream: bool
    ) -> None:
        """A tool in the payload is never the transport's own failure."""
        function = {"name": "weather", "description": "x", "parameters": {"type": "object", "properties": {}}}
        tools = [{"type": "function", "function": function}]
        events = list(make_transport().attempt(make_attempt(stream=stream, tools=tools, max_tokens=8)))
        last = last_of(events)
        assert isinstance(last, Done) or isinstance(last.error, InvalidRequestError)

    @pytest.mark.parametrize("stream", [False, True])
    def test_a_prompt_beyond_the_context_is_named(
        self, make_transport: MakeTransport, make_attempt: MakeAttempt, stream: bool
    ) -> None:
        """ContextWindowExceededError, which only a bigger context cures."""
        attempt = make_attempt("hello " * 4000, stream=stream, **SHORT)
        error = error_of(list(make_transport().attempt(attempt)))
        assert isinstance(error, ContextWindowExceededError)
        assert error.backend == "under-test"

    @pytest.mark.parametrize("stream", [False, True])
    def test_a_cancel_before_the_start_sends_nothing(
        self, make_transport: MakeTransport, make_attempt: MakeAttempt, stream: bool
    ) -> None:
        """Failed at once."""
        cancel = CancelScope()
        cancel.cancel()
        events = list(make_transport().attempt(make_attempt(stream=stream, cancel=cancel, **SHORT)))
        assert len(events) == 1
        assert isinstance(error_of(events), RequestCancelledError)

    def test_a_cancel_between_chunks_ends_the_stream(
        self, make_transport: MakeTransport, make_attempt: MakeAttempt
    ) -> None:
        """The same thread cancels and reads on: no further chunk."""
        cancel = CancelScope()
        events = make_transport().attempt(make_attempt(stream=True, cancel=cancel, **ENDLESS))
        read_until_chunk(events)
        cancel.cancel()
        rest = list(events)
        assert len(rest) == 1
        assert isinstance(error_of(rest), RequestCancelledError)

    @pytest.mark.parametrize("stream", [False, True])
    def test_a_cancel_from_another_thread_wakes_a_blocked_read(
        self, make_transport: MakeTransport, make_attempt: MakeAttempt, stream: bool
    ) -> None:
        """Long before the answer would have been whole."""
        cancel = CancelScope()
        sent = threading.Event()

        def canceller() -> None:
            assert sent.wait(30)
            cancel.cancel()

        thread = threading.Thread(target=canceller)
        thread.start()
        events: list[TransportEvent] = []
        for event in make_transport().attempt(make_attempt(stream=stream, cancel=cancel, **ENDLESS)):
            events.append(event)
            sent.set()
        thread.join(30)
        error = error_of(events)
        assert isinstance(error, RequestCancelledError)
        assert len(events) < ENDLESS["max_tokens"] / 2

    @pytest.mark.parametrize("stop_at", [Sent, Chunk])
    def test_an_iterator_closed_early_frees_what_it_held(
        self, make_transport: MakeTransport, make_attempt: MakeAttempt, stop_at: type
    ) -> None:
        """More than the peer has slots for; the next attempt works at once."""
        transport = make_transport()
        for _ in range(4):
            events = transport.attempt(make_attempt(stream=True, **ENDLESS))
            assert any(isinstance(event, stop_at) for event in events)
            events.close()  # type: ignore[attr-defined]
        done_of(list(transport.attempt(make_attempt(deadline=20.0, **SHORT))))

    @pytest.mark.parametrize("stream", [False, True])
    def test_a_deadline_in_the_past_sends_nothing(
        self, make_transport: MakeTransport, make_attempt: MakeAttempt, stream: bool
    ) -> None:
        """BackendTimeoutError, and nothing can have been executed."""
        events = list(make_transport().attempt(make_attempt(stream=stream, deadline=-1.0, **SHORT)))
        assert len(events) == 1
        error = error_of(events)
        assert isinstance(error, BackendTimeoutError)
        assert not error.maybe_executed

    @pytest.mark.parametrize("stream", [False, True])
    def test_a_deadline_ends_the_attempt(
        self, make_transport: MakeTransport, make_attempt: MakeAttempt, stream: bool
    ) -> None:
        """Whatever the peer is doing then."""
        events = list(make_transport().attempt(make_attempt(stream=stream, deadline=0.5, **ENDLESS)))
        error = error_of(events)
        assert isinstance(error, BackendTimeoutError)
        assert error.backend == "under-test"

    def test_attempts_run_side_by_side(
        self, make_transport: MakeTransport, make_attempt: MakeAttempt
    ) -> None:
        """Four threads on one transport."""
        transport = make_transport()
        with ThreadPoolExecutor(4) as pool:
            runs = [
                pool.submit(lambda stream: list(transport.attempt(make_attempt(stream=stream, **SHORT))), one)
                for one in (False, True, False, True)
            ]
            for run in runs:
                assert done_of(run.result(60)).message["content"]

    def test_closing_fails_what_is_in_flight(
        self, make_transport: MakeTransport, make_attempt: MakeAttempt
    ) -> None:
        """And what comes after; a second close does nothing."""
        transport = make_transport()
        events = transport.attempt(make_attempt(stream=True, **ENDLESS))
        read_until_chunk(events)
        transport.close()
        transport.close()
        assert isinstance(error_of(list(events)), BackendError)
        assert isinstance(error_of(list(transport.attempt(make_attempt(**SHORT)))), BackendError)
