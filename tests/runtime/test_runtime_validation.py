"""Transforms and validators through the whole runtime: the caller's code slows and fails its own request only."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from showcaller.actors.errors import (
    ConfigurationError,
    DeadlineExceededError,
    ResponseValidationError,
    StreamInterruptedError,
)
from showcaller.actors.models import BackendResponse, ChatRequest
from showcaller.actors.response_validators import is_json, json_schema, matches, non_empty
from showcaller.actors.transport import Attempt, Chunk, Sent, TransportEvent
from tests.runtime.live import PATIENCE, Peer, answer, ready, running

PRICE = {"type": "object", "properties": {"price": {"type": "number"}}, "required": ["price"]}


def saying(*texts: str) -> Any:
    """Answers with these texts, one attempt after the other; a stream in two chunks."""
    left = iter(texts)

    def play(attempt: Attempt) -> Iterator[TransportEvent]:
        text = next(left)
        yield Sent()
        if attempt.stream and text:
            yield Chunk(text[:3])
            yield Chunk(text[3:])
        yield answer(text)

    return play


def test_json_is_had_from_the_backend_that_gives_it() -> None:
    """The first one talks, the second does as it is told."""
    peers = {
        "a": Peer(saying("I would say 3 dollars.")),
        "b": Peer(saying('Sure:\n```json\n{"price": 3}\n```')),
    }
    with running(peers) as runtime:
        response = runtime.ask(
            "price?", transforms=["extract_json"], validators=[json_schema(PRICE)], timeout=PATIENCE
        )
        assert (response.parsed, response.content, response.backend) == ({"price": 3}, '{"price": 3}', "b")
        assert response.message["content"].startswith("Sure")


def test_options_given_beside_a_request_replace_its_own() -> None:
    """As every option does."""
    request = ChatRequest("x", transforms=["strip_whitespace"], validators=[is_json])
    with running({"a": Peer(saying(" hi "))}) as runtime:
        assert runtime.ask(request, transforms=[], validators=[], timeout=PATIENCE).content == " hi "


def test_they_run_on_the_seats_own_thread() -> None:
    """Neither on the caller's nor on the one that all share."""
    ran: list[str] = []

    def note(text: str) -> str:
        ran.append(threading.current_thread().name)
        return text

    def judge(response: BackendResponse) -> None:
        ran.append(threading.current_thread().name)

    with running({"a": Peer(ready)}) as runtime:
        runtime.ask("x", transforms=[note], validators=[judge], timeout=PATIENCE)
        assert ran == [ran[0]] * 2
        assert ran[0].startswith("showcaller-a-")


def test_one_that_hangs_slows_nobody_else_and_has_its_outcome_at_its_deadline() -> None:
    """Other requests to the same backend go by while it hangs."""
    hangs, entered = threading.Event(), threading.Event()

    def hang(response: BackendResponse) -> None:
        entered.set()
        assert hangs.wait(PATIENCE)

    with running({"a": Peer(ready)}) as runtime:
        pending = runtime.submit("x", validators=[hang], timeout=1.0)
        assert entered.wait(PATIENCE)
        assert [runtime.ask("y", timeout=PATIENCE).content for _ in range(5)] == ["hi"] * 5
        assert isinstance(pending.exception(PATIENCE), DeadlineExceededError)
        hangs.set()


def test_a_mistake_in_one_is_told_and_logged(caplog: pytest.LogCaptureFixture) -> None:
    """With its traceback, which the error itself does not carry."""

    def clumsy(text: str) -> str:
        return text[99]

    with running({"a": Peer(ready)}) as runtime, caplog.at_level("ERROR", "showcaller.seat"):
        with pytest.raises(ConfigurationError, match="clumsy raised IndexError on an answer of a"):
            runtime.ask("x", transforms=[clumsy], timeout=PATIENCE)
        assert runtime.ask("x", timeout=PATIENCE).content == "hi"
    assert "return text[99]" in caplog.text


def test_a_stream_gives_its_chunks_as_they_come_and_its_response_transformed() -> None:
    """What has been handed over cannot be changed any more."""
    with (
        running({"a": Peer(saying('So {"n": 1}'))}) as runtime,
        runtime.stream("x", transforms=["extract_json"], validators=[is_json], timeout=PATIENCE) as stream,
    ):
        assert "".join(chunk.text for chunk in stream) == 'So {"n": 1}'
        assert (stream.response.content, stream.response.parsed) == ('{"n": 1}', {"n": 1})


def test_a_stream_that_is_refused_ends_with_what_was_read() -> None:
    """For asyncio too."""
    with running({"a": Peer(saying("no json", "no json"))}) as runtime:
        with runtime.stream("x", validators=[is_json], timeout=PATIENCE) as stream:
            with pytest.raises(StreamInterruptedError, match="refused by is_json") as caught:
                list(stream)
            assert caught.value.partial == "no json"

        async def read() -> list[str]:
            async with runtime.stream_async("x", validators=[is_json], timeout=PATIENCE) as answers:
                return [chunk.text async for chunk in answers]

        with pytest.raises(StreamInterruptedError, match="refused by is_json") as caught:
            asyncio.run(read())
        assert caught.value.partial == "no json"


def test_a_stream_of_which_nothing_came_fails_over() -> None:
    """And is then read from the other backend alone."""
    with (
        running({"a": Peer(saying("")), "b": Peer(saying("hello"))}) as runtime,
        runtime.stream("x", validators=[non_empty], timeout=PATIENCE) as stream,
    ):
        assert [chunk.text for chunk in stream] == ["hel", "lo"]
        assert stream.response.backend == "b"


def test_many_are_judged_each_for_itself() -> None:
    """One Outcome each."""
    with running({"a": Peer(saying("yes", "no", "yes"))}, settings={"num_retries": 0}) as runtime:
        outcomes = runtime.ask_many(
            ["1", "2", "3"], max_concurrency=1, validators=[matches("yes")], timeout=PATIENCE
        )
        assert [outcome.ok for outcome in outcomes] == [True, False, True]
        with pytest.raises(ResponseValidationError, match="refused by Matches") as caught:
            outcomes[1].unwrap()
        assert caught.value.content == "no"
