"""ask, submit, tell, ask_many and cancel, as callers use them."""

from __future__ import annotations

import concurrent.futures
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED
from typing import Any

import pytest

from showcaller.actors.errors import (
    ConfigurationError,
    DeadlineExceededError,
    OverloadedError,
    RequestCancelledError,
    RuntimeStoppedError,
    UnknownModelError,
)
from showcaller.actors.kernel.errors import BlockingCallError
from showcaller.actors.messages import Promoted
from showcaller.actors.models import Answered, ChatRequest, Errored, RequestContext
from showcaller.actors.transport import Attempt, Failed, TransportEvent
from showcaller.runtime.runtime import Runtime
from tests.runtime.live import PATIENCE, Gate, Outcomes, Peer, answer, config_of, ready, running


def echo(attempt: Attempt) -> Iterator[TransportEvent]:
    """Answers with what it was asked; a prompt with `bad` in it fails for good."""
    text = attempt.payload.decode()
    if "bad" in text:
        yield Failed(ConfigurationError("a bad prompt"))
    yield answer(text)


def test_an_answer_is_a_response_that_reads_as_its_text() -> None:
    """`ask` with a str, with messages, and with a whole request."""
    messages = [{"role": "user", "content": "hello"}]
    with running({"a": Peer(ready)}) as runtime:
        for prompt in ("hello", messages, ChatRequest("hello")):
            response = runtime.ask(prompt, timeout=PATIENCE)
            assert str(response) == response.content == "hi"
            assert (response.backend, response.route, response.attempts) == ("a", "fast", 1)


def test_options_reach_the_backend_and_an_unknown_one_is_refused() -> None:
    """Fields of ChatRequest, also on top of one."""
    peer = Peer(ready)
    with running({"a": peer}) as runtime:
        runtime.ask(ChatRequest("q", max_tokens=3), temperature=0.5, timeout=PATIENCE)
        with pytest.raises(TypeError, match="tempperature"):
            runtime.ask("q", tempperature=1)  # type: ignore[call-arg]
        with pytest.raises(UnknownModelError, match="fast"):
            runtime.ask("q", model="fas")
        with pytest.raises(ConfigurationError, match="max_tokens"):
            runtime.ask("q", max_tokens=0)
    assert b'"max_tokens":3' in peer.attempts[0].payload
    assert b'"temperature":0.5' in peer.attempts[0].payload
    assert len(peer.attempts) == 1


def test_the_deadline_of_an_ask_ends_it_and_its_attempt() -> None:
    """`timeout` is the whole deadline, and it reaches upstream."""
    gate = Gate()
    with running({"a": Peer(gate.waiting)}) as runtime:
        with pytest.raises(DeadlineExceededError, match=r"0\.05 s"):
            runtime.ask("q", timeout=0.05)
        assert gate.cancelled.wait(PATIENCE)


def test_an_ask_whose_request_is_cancelled_raises_an_error_of_ours() -> None:
    """Cancelled from elsewhere by its id, it is a ShowcallerError like every other outcome of `ask`."""
    gate = Gate()
    peer = Peer(gate.waiting)
    raised: list[BaseException] = []
    with running({"a": peer}) as runtime:

        def ask() -> None:
            with pytest.raises(RequestCancelledError) as caught:
                runtime.ask("q", context=RequestContext(request_id="mine"))
            raised.append(caught.value)

        caller = threading.Thread(target=ask, daemon=True)
        caller.start()
        assert peer.arrived.acquire(timeout=PATIENCE)
        assert runtime.cancel("mine")
        caller.join(PATIENCE)
        assert not runtime.cancel("mine")
        assert not runtime.cancel("nobody")
    assert gate.cancelled.wait(PATIENCE)
    assert "mine" in str(raised[0])


def test_pendings_are_futures_of_the_standard_library() -> None:
    """as_completed and wait take them, and result(timeout) only waits."""
    gate = Gate()
    with running({"a": Peer(gate.waiting), "b": Peer(ready)}) as runtime:
        slow = runtime.submit("q", model="a")
        quick = [runtime.submit("q", model="b") for _ in range(5)]
        done, left = concurrent.futures.wait([slow, quick[0]], PATIENCE, return_when=FIRST_COMPLETED)
        assert (done, left) == ({quick[0]}, {slow})
        assert {p.result().content for p in concurrent.futures.as_completed(quick, PATIENCE)} == {"hi"}
        with pytest.raises(concurrent.futures.TimeoutError):
            slow.result(0)
        assert not slow.done()
        gate.open()
        assert slow.result(PATIENCE).backend == "a"
        assert isinstance(slow.outcome, Answered)


def test_a_cancelled_pending_is_cancelled_for_all_who_wait_and_upstream() -> None:
    """`cancel` says whether it came in time."""
    gate = Gate()
    peer = Peer(gate.waiting)
    with running({"a": peer, "b": Peer(ready)}) as runtime:
        pending = runtime.submit("q", model="a")
        assert peer.arrived.acquire(timeout=PATIENCE)
        assert pending.cancel()
        assert pending.cancelled()
        with pytest.raises(concurrent.futures.CancelledError):
            pending.result(0)
        assert concurrent.futures.wait([pending], 0).done == {pending}
        assert gate.cancelled.wait(PATIENCE)
        answered = runtime.submit("q", model="b")
        answered.result(PATIENCE)
        assert not answered.cancel()


def test_told_requests_report_one_outcome_each_on_callback_threads() -> None:
    """Answers and errors, by id."""
    outcomes = Outcomes()
    with running({"a": Peer(echo)}) as runtime:
        ids = [runtime.tell(text, on_outcome=outcomes) for text in ("good", "bad", "good")]
        runtime.tell("nobody listens")
        seen = outcomes.wait(3)
        assert Counter(outcome.request_id for outcome in seen) == Counter(ids)
        assert {outcome.request_id: outcome.ok for outcome in seen} == {
            ids[0]: True,
            ids[1]: False,
            ids[2]: True,
        }
        assert all("callbacks" in name for name in outcomes.threads)


# --- ask_many ----------------------------------------------------------------------------------------


def test_many_outcomes_come_in_the_order_of_their_prompts() -> None:
    """Errors are outcomes and stop nobody."""
    prompts = ["zero", "bad one", "two", "three"]
    with running({"a": Peer(echo)}) as runtime:
        outcomes = runtime.ask_many(iter(prompts), timeout=PATIENCE)
    assert [outcome.ok for outcome in outcomes] == [True, False, True, True]
    for prompt, outcome in zip(prompts, outcomes, strict=True):
        assert not outcome.ok or prompt in outcome.unwrap().content
    with pytest.raises(ConfigurationError, match="bad prompt"):
        outcomes[1].unwrap()


def test_no_more_than_max_concurrency_are_under_way_and_none_are_shared() -> None:
    """Also where the answers are meant to be the same."""
    peer = Peer(ready)
    with running({"a": peer}) as runtime:
        outcomes = runtime.ask_many(["same"] * 40, max_concurrency=3, temperature=0)
    assert all(isinstance(outcome, Answered) for outcome in outcomes)
    assert len(peer.attempts) == 40
    assert peer.most <= 3


def test_a_prompt_refused_by_a_full_door_is_an_outcome_too() -> None:
    """The others go on."""
    gate = Gate()
    peer = Peer(gate.waiting)
    with running({"a": peer}, settings={"max_open_requests": 2}) as runtime:

        def prompts() -> Iterator[str]:
            yield from ("one", "two", "three")
            gate.open()

        outcomes = runtime.ask_many(prompts(), timeout=PATIENCE)
    assert [type(outcome) for outcome in outcomes] == [Answered, Answered, Errored]
    assert isinstance(outcomes[2].error, OverloadedError)  # type: ignore[union-attr]


@pytest.mark.parametrize("interrupt", [KeyboardInterrupt, ZeroDivisionError])
def test_an_interrupted_ask_many_cancels_what_it_has_started(interrupt: type[BaseException]) -> None:
    """Whether the user interrupts it or his own generator fails."""
    gate = Gate()
    peer = Peer(gate.waiting)

    def prompts() -> Iterator[str]:
        yield "one"
        assert peer.arrived.acquire(timeout=PATIENCE)
        raise interrupt

    with running({"a": peer}) as runtime:
        with pytest.raises(interrupt):
            runtime.ask_many(prompts())
        assert gate.cancelled.wait(PATIENCE)
        assert runtime.status().account.open == 0


def test_one_context_serves_many_requests() -> None:
    """Each gets an id of its own, which begins with the context's."""
    with running({"a": Peer(ready)}) as runtime:
        outcomes = runtime.ask_many(["q"] * 3, context=RequestContext(request_id="job", tenant="t"))
    assert [outcome.request_id for outcome in outcomes] == ["job-1", "job-2", "job-3"]
    assert all(outcome.ok for outcome in outcomes)


@pytest.mark.parametrize("wrong", ["abc", b"abc", {"a": 1}, 3, ChatRequest("q")])
def test_what_are_no_prompts_is_refused(wrong: Any) -> None:
    """One text is not as many prompts as it has letters."""
    peer = Peer(ready)
    with running({"a": peer}) as runtime, pytest.raises(ConfigurationError, match="prompts is a "):
        runtime.ask_many(wrong)
    assert not peer.attempts


@pytest.mark.parametrize("wrong", [0, -1, True, 2.0])
def test_a_wrong_max_concurrency_is_refused(wrong: int) -> None:
    """Before anything is sent."""
    peer = Peer(ready)
    with running({"a": peer}) as runtime, pytest.raises(ConfigurationError, match="max_concurrency"):
        runtime.ask_many(["q"], max_concurrency=wrong)
    assert not peer.attempts


# --- the door ----------------------------------------------------------------------------------------


def test_no_call_waits_on_a_thread_that_steps_actors() -> None:
    """A call that waits would stop the whole tree; it raises, and the tree goes on."""
    raised: list[type[BaseException]] = []
    with running({"a": Peer(ready)}) as runtime:

        def handler(_message: object) -> None:
            calls = (
                lambda: runtime.ask("q"),
                lambda: runtime.ask_many(["q"]),
                lambda: next(runtime.stream("q")),
                lambda: runtime.stop(),
                lambda: runtime.backends.drain("a"),
                lambda: runtime.supervisor.ask(object()),
            )
            for call in calls:
                try:
                    call()
                except BlockingCallError as error:
                    raised.append(type(error))
            done.set()

        done = threading.Event()
        runtime.ask("q", timeout=PATIENCE)
        ref = runtime._tree.address("supervisor").ref
        assert ref is not None
        actor = ref._actor_weakref()
        assert actor is not None
        actor.on_promoted = handler  # type: ignore[attr-defined]
        runtime.supervisor.tell(Promoted())
        assert done.wait(PATIENCE)
        assert raised == [BlockingCallError] * 6
        assert runtime.ask("q", timeout=PATIENCE).content == "hi"


def test_a_transport_for_a_backend_that_does_not_exist_is_refused() -> None:
    """A slip of the pen would else call the real endpoint."""
    with pytest.raises(ConfigurationError, match='did you mean "local"'):
        Runtime.start(config_of(["local"]), transports={"locl": Peer(ready)})


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"transports": {"a": None}}, r"transports\['a'\] = None"),
        ({"transports": {3: Peer(ready)}}, "transports: no backend is named 3"),
        ({"transports": [Peer(ready)]}, "transports = .*: give a mapping"),
        ({"on_failed": 3}, "on_failed = 3"),
    ],
)
def test_what_no_runtime_can_use_is_refused_at_the_start(wrong: dict[str, Any], says: str) -> None:
    """And not when the first request needs it."""
    with pytest.raises(ConfigurationError, match=says):
        Runtime.start(config_of(["a"]), **wrong)


def test_a_tell_to_what_is_no_function_is_refused() -> None:
    """Nobody would hear of its outcome."""
    with running({"a": Peer(ready)}) as runtime:
        with pytest.raises(ConfigurationError, match="on_outcome = 3"):
            runtime.tell("q", on_outcome=3)  # type: ignore[arg-type]
        assert runtime.status().account.accepted == 0


def test_after_the_stop_every_call_is_refused_at_once() -> None:
    """With one error that says so."""
    with running({"a": Peer(ready)}) as runtime:
        pass
    calls = (
        lambda: runtime.ask("q"),
        lambda: runtime.submit("q"),
        lambda: runtime.tell("q"),
        lambda: runtime.stream("q"),
        lambda: runtime.ask_many(["q"]),
        lambda: runtime.backends.drain("a"),
        lambda: runtime.backends.remove("a"),
        lambda: runtime.backends.crash("a"),
    )
    for call in calls:
        with pytest.raises(RuntimeStoppedError):
            call()
    assert not runtime.cancel("q")
    assert runtime.status().account.open == 0
    assert runtime.recorder.get_recordings() == []
