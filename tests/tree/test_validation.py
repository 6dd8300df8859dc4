"""Validation in the tree: an answer that will not do is a failed attempt, paid for and nobody's breakdown."""

from __future__ import annotations

from typing import Any

import pytest
from attrs import evolve

from showcaller.actors.enums import BackendState, CircuitState, Source
from showcaller.actors.errors import (
    AllBackendsFailedError,
    ConfigurationError,
    ResponseValidationError,
    ServerError,
    StreamInterruptedError,
)
from showcaller.actors.models import Usage
from showcaller.actors.response_validators import finish_reason, is_json, matches, non_empty
from showcaller.actors.supervisor import GRACE
from showcaller.actors.transport import Chunk, Failed, Sent
from tests.tree.stage import OK, Script, Stage, answer, stage

FRAGILE = {"allowed_fails": 1, "cooldown_time": 2.0}


def saying(*texts: str) -> Script:
    """Answers with these texts, one after the other."""
    return Script(*([Sent(), 0.1, answer(text)] for text in texts))


def streaming(*chunks: str) -> Script:
    return Script([Sent(), *(Chunk(text) for text in chunks), answer("".join(chunks))])


def read(pending: Any) -> list[str]:
    texts = []
    while (chunk := pending.ticket.take_chunk(0.0)) is not None:
        texts.append(chunk.text)
    return texts


def calls(s: Stage) -> dict[str, int]:
    return {name: len(script.attempts) for name, script in s.transports.items()}


def test_an_answer_that_is_refused_is_asked_of_the_next_backend() -> None:
    """At once; what came first is told of nobody."""
    s = stage({"a": saying("no json"), "b": saying('So: {"n": 1}')})
    pending = s.submit(transforms=["extract_json"], validators=[is_json])
    s.advance(0.3)
    response = pending.result(0)
    assert (response.content, response.parsed, response.backend) == ('{"n": 1}', {"n": 1}, "b")
    assert (response.attempts, response.message["content"]) == (2, 'So: {"n": 1}')
    s.at_rest()


def test_the_same_backend_is_asked_again_after_a_pause() -> None:
    """When there is no other."""
    s = stage({"a": saying("", " ", "hello")})
    pending = s.submit(validators=[non_empty])
    s.advance(20.0)
    assert pending.result(0).content == "hello"
    assert calls(s) == {"a": 3}
    s.at_rest()


def test_when_no_answer_will_do_each_refusal_is_told() -> None:
    """After num_retries; the texts are there to be looked at."""
    s = stage({"a": saying("one"), "b": saying("two")}, settings={"num_retries": 1})
    pending = s.submit(validators=[matches("^Yes")])
    s.advance(1.0)
    error = pending.exception(0)
    assert isinstance(error, AllBackendsFailedError)
    assert [(type(one), one.content, one.backend) for one in error.attempts] == [  # type: ignore[attr-defined]
        (ResponseValidationError, "one", "a"),
        (ResponseValidationError, "two", "b"),
    ]
    assert error.maybe_executed
    s.at_rest()


@pytest.mark.parametrize("stream", [False, True])
def test_what_is_not_idempotent_is_not_repeated_for_its_answer(stream: bool) -> None:
    """It was executed; the error is the validator's own."""
    s = stage({"a": saying("no"), "b": saying("Yes")})
    pending = s.submit(validators=[matches("^Yes")], idempotent=False, stream=stream)
    s.advance(20.0)
    assert isinstance(pending.exception(0), ResponseValidationError)
    assert calls(s) == {"a": 1, "b": 0}
    s.at_rest()


def test_a_refused_answer_is_paid_for_by_what_was_counted() -> None:
    """Not by the worst case that was reserved, and not given back."""
    told = evolve(answer("no"), usage=Usage(input_tokens=1000, output_tokens=2000))
    s = stage({"a": Script([Sent(), told])}, settings={"num_retries": 0}, rate_limit_tpm=10_000)
    s.submit(validators=[matches("^Yes")])
    s.advance(2.0)
    usage = s.tree.usage.generate_report()["a"]
    assert (usage.attempts, usage.successes, usage.errors) == (1, 0, {"ResponseValidationError": 1})
    assert (usage.input_tokens, usage.output_tokens) == (1000, 2000)
    (left,) = s.tree.quotas.remaining(s.clock.wall())["a"].values()
    assert 7_000 <= left < 7_500, "two seconds give back a thirtieth of the limit"
    s.at_rest()


def test_a_refusal_does_not_keep_the_answer_alive() -> None:
    """The frames in which it was raised hold all of it, and the error may be kept for long."""
    s = stage({"a": saying("no")}, settings={"num_retries": 0})
    seen = []
    actor = s.tree.address("supervisor").ref._actor_weakref()  # type: ignore[union-attr]
    finished = actor._arrivals.finished

    def watched(message: Any) -> None:
        seen.append(message.error)
        finished(message)

    actor._arrivals.finished = watched
    pendings = [s.submit(validators=[check]) for check in (matches("^Yes"), lambda r: 1 / 0)]
    s.advance(1.0)
    errors = [*seen, *(pending.exception(0) for pending in pendings)]
    assert [type(error) for error in errors] == [ResponseValidationError, ConfigurationError] * 2
    assert all(error.__cause__ is error.__context__ is error.__traceback__ is None for error in errors)


def test_neither_breaker_nor_health_holds_a_refusal_against_the_backend() -> None:
    """One caller's strict check must not take it from all the others."""
    s = stage({"a": saying("no")}, settings={"num_retries": 0})
    for number in range(30):
        s.submit(f"prompt {number}", validators=[matches("^Yes")])
        s.advance(1.0)
    slot = s.tree.roster.slots["a"]
    assert slot.breaker.state(s.clock.now()) is CircuitState.CLOSED
    assert slot.health is not BackendState.UNHEALTHY
    assert s.tree.health.get_status("a").error_count == 0
    s.at_rest()


@pytest.mark.parametrize("check", [matches("^Yes"), lambda r: 1 / 0], ids=["refuses", "raises"])
def test_a_breaker_closes_for_an_answer_that_its_caller_refuses(check: Any) -> None:
    """The backend is there again; else one caller's check would keep all the others waiting."""
    broken = ServerError("a: HTTP 500", backend="a", maybe_executed=True)
    s = stage({"a": Script([Sent(), Failed(broken)], OK)}, route=FRAGILE)
    s.submit("first", idempotent=False)
    s.advance(0.1)
    slot = s.tree.roster.slots["a"]
    assert slot.breaker.state(s.clock.now()) is CircuitState.OPEN
    s.submit("second", validators=[check], idempotent=False)
    s.advance(10.0)
    assert slot.breaker.state(s.clock.now()) is CircuitState.CLOSED


@pytest.mark.parametrize(
    "options",
    [{"validators": [lambda r: 1 / 0]}, {"transforms": [lambda t: None]}],
    ids=["raises", "nonsense"],
)
def test_a_mistake_in_a_check_fails_its_own_request_and_no_other(options: dict[str, Any]) -> None:
    """Nothing is tried again, nobody dies, and the breaker stays closed."""
    s = stage({"a": saying("hi"), "b": saying("hi")})
    pendings = [s.submit(f"prompt {number}", **options) for number in range(10)]
    other = s.submit("other")
    s.advance(2.0)
    assert {type(pending.exception(0)) for pending in pendings} == {ConfigurationError}
    assert other.result(0).content == "hi"
    assert sum(calls(s).values()) == 11
    assert s.tree.roster.slots["a"].breaker.state(s.clock.now()) is CircuitState.CLOSED
    s.at_rest()


def test_what_ends_programs_goes_on_after_the_attempt_has_been_told_of() -> None:
    """It is the caller's mistake like any other, and whoever steps the seat hears of it too."""
    s = stage({"a": saying("hi"), "b": saying("hi")})

    def leave(response: Any) -> None:
        raise SystemExit(3)

    pending = s.submit(validators=[leave])
    with pytest.raises(SystemExit):
        s.advance(1.0)
    s.advance(1.0)
    assert "leave raised SystemExit" in str(pending.exception(0))
    assert isinstance(pending.exception(0), ConfigurationError)
    assert calls(s) == {"a": 1, "b": 0}
    s.at_rest()


def test_a_check_that_takes_its_time_does_not_make_the_backend_slow() -> None:
    """Its latency ends with its answer."""
    s = stage({"a": saying("hi")}, strategy="least_latency")

    def dawdle(response: Any) -> None:
        s.clock.time += 5.0

    pending = s.submit(validators=[dawdle])
    s.advance(10.0)
    assert pending.result(0).latency > 5.0
    s.advance(1.0)
    (record,) = s.tree.recordings.get_recordings()
    assert record.latency < 1.0
    s.at_rest()


def test_a_check_that_hangs_costs_its_own_request_and_not_the_breaker() -> None:
    """The request has its outcome at its deadline; the seat is given up later, and the backend not blamed."""
    s = stage({"a": saying("hi")}, settings={"timeout": 5.0})
    hung = []

    def hang(response: Any) -> None:
        # The test's thread is the seat's: time passes, and the tree goes on, while the check is not back.
        hung.append(response)
        s.advance(5.0 + GRACE + 60.0)

    pending = s.submit(validators=[hang])
    s.advance(1.0)
    assert len(hung) == 1
    assert "deadline" in str(pending.exception(0)) or "within 5 s" in str(pending.exception(0))
    slot = s.tree.roster.slots["a"]
    assert slot.workers.abandoned  # type: ignore[attr-defined]
    assert slot.breaker._failures == 0
    assert calls(s) == {"a": 1}
    s.at_rest()


def test_a_check_that_hangs_is_not_tried_again() -> None:
    """Also when the backend's own time is over long before the request's."""
    s = stage({"a": saying("hi"), "b": saying("hi")}, timeout=5.0, settings={"timeout": 300.0})

    def hang(response: Any) -> None:
        s.advance(5.0 + GRACE + 60.0)

    pending = s.submit(validators=[hang])
    s.advance(1.0)
    error = pending.exception(0)
    assert isinstance(error, ConfigurationError)
    assert "had not come back from the answer of a" in str(error)
    assert calls(s) == {"a": 1, "b": 0}
    s.at_rest()


# --- streams ---


def test_the_chunks_of_a_stream_are_passed_on_as_they_come() -> None:
    """Only the whole is transformed, parsed and judged."""
    s = stage({"a": streaming("So: ", '{"n"', ": 1}")})
    pending = s.submit(stream=True, transforms=["extract_json"], validators=[is_json, finish_reason("stop")])
    s.settle()
    assert read(pending) == ["So: ", '{"n"', ": 1}"]
    assert (pending.result(0).content, pending.result(0).parsed) == ('{"n": 1}', {"n": 1})
    s.at_rest()


def test_a_stream_that_was_read_is_interrupted_by_a_refusal() -> None:
    """It cannot be taken back, and so it is not begun again elsewhere."""
    s = stage({"a": streaming("no ", "json"), "b": streaming("{}")})
    pending = s.submit(stream=True, validators=[is_json])
    s.advance(20.0)
    error = pending.exception(0)
    assert isinstance(error, StreamInterruptedError)
    assert (error.partial, error.backend) == ("no json", "a")
    assert "it is no JSON" in str(error)
    assert calls(s) == {"a": 1, "b": 0}
    with pytest.raises(StreamInterruptedError):
        read(pending)
    s.at_rest()


def test_a_stream_without_a_chunk_fails_over() -> None:
    """Nobody has seen anything of it."""
    s = stage({"a": saying(""), "b": streaming("hel", "lo")})
    pending = s.submit(stream=True, validators=[non_empty])
    s.advance(1.0)
    assert read(pending) == ["hel", "lo"]
    assert pending.result(0).backend == "b"
    s.at_rest()


# --- sharing ---


def test_requests_share_a_call_only_with_the_same_checks() -> None:
    """Else one would get what the other wanted."""
    s = stage({"a": saying(" hi ")})
    stripped = [s.submit(coalesce=True, transforms=["strip_whitespace"]) for _ in range(2)]
    plain = s.submit(coalesce=True)
    picky = s.submit(coalesce=True, validators=[lambda r: r.content != " hi "], idempotent=False)
    s.advance(1.0)
    assert [pending.result(0).content for pending in stripped] == ["hi", "hi"]
    assert [pending.result(0).source for pending in stripped] == [Source.LIVE, Source.COALESCED]
    assert plain.result(0).content == " hi "
    assert isinstance(picky.exception(0), ResponseValidationError)
    assert calls(s) == {"a": 3}
    s.at_rest()


def test_those_who_share_an_answer_each_have_their_own_parsed_value() -> None:
    """It is a plain dict, and one may change it."""
    s = stage({"a": saying('{"n": [1]}')})
    first, second = (s.submit(coalesce=True, response_format={"type": "json_object"}) for _ in range(2))
    s.advance(1.0)
    first.result(0).parsed["n"].append(2)
    assert second.result(0).parsed == {"n": [1]}
    s.at_rest()


def test_nobody_is_asked_about_an_answer_that_nobody_wants() -> None:
    """The caller has given it up before it came."""
    s = stage({"a": saying("hi")})
    asked: list[object] = []
    pending = s.submit(validators=[asked.append])
    s.settle()
    pending.cancel()
    s.advance(1.0)
    assert asked == []
    s.at_rest()
