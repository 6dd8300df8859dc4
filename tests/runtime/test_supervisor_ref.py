"""`runtime.supervisor`, as code that knows Pykka uses it."""

from __future__ import annotations

import asyncio
from typing import Any

import pykka
import pytest
from pykka import ActorDeadError

from showcaller.actors.errors import (
    ConfigurationError,
    DeadlineExceededError,
    RuntimeStoppedError,
    UnknownModelError,
)
from showcaller.actors.kernel.errors import UnknownMessageError
from showcaller.actors.messages import Promoted, Submit
from showcaller.actors.models import Answered, ChatRequest, Errored
from showcaller.actors.supervisor import Supervisor
from tests.runtime.live import PATIENCE, Gate, Peer, ready, running


def test_it_is_an_actor_ref_of_a_supervisor() -> None:
    """By type, class and name."""
    with running({"a": Peer(ready)}) as runtime:
        runtime.ask("q", timeout=PATIENCE)
        ref = runtime.supervisor
        assert isinstance(ref, pykka.ActorRef)
        assert ref.actor_class is Supervisor
        assert ref.is_alive()
        assert not ref.actor_stopped.is_set()
        assert "supervisor" in str(ref) == repr(ref)
        assert "supervisor" in ref.actor_urn
    assert not ref.is_alive()


def test_a_submit_by_ask_is_replied_to_with_its_outcome() -> None:
    """Errors too: they are outcomes."""
    gate = Gate()
    with running({"a": Peer(ready), "held": Peer(gate.waiting)}) as runtime:
        outcome = runtime.supervisor.ask(Submit(ChatRequest("q")), timeout=PATIENCE)
        assert isinstance(outcome, Answered)
        assert outcome.response.content == "hi"
        late = runtime.supervisor.ask(Submit(ChatRequest("q", model="held", timeout=0.02)), timeout=PATIENCE)
        assert isinstance(late, Errored)
        assert isinstance(late.error, DeadlineExceededError)
        with pytest.raises(UnknownModelError):
            runtime.supervisor.ask(Submit(ChatRequest("q", model="nobody")))


@pytest.mark.parametrize("wrong", [None, 3, {"role": "user"}])
def test_a_submit_of_no_request_is_refused(wrong: Any) -> None:
    """By tell and by ask; a prompt of another kind is as good as a ChatRequest."""
    with running({"a": Peer(ready)}) as runtime:
        for send in (runtime.supervisor.tell, runtime.supervisor.ask):
            with pytest.raises(ConfigurationError):
                send(Submit(wrong))
        assert runtime.supervisor.ask(Submit("q"), timeout=PATIENCE).ok  # type: ignore[arg-type]


def test_a_submit_that_is_not_waited_for_gives_a_future() -> None:
    """Which can be got, mapped and awaited; a timeout lets the request go on."""
    gate = Gate()
    peer = Peer(gate.waiting)
    with running({"a": peer}) as runtime:
        future = runtime.supervisor.ask(Submit(ChatRequest("q")), block=False)
        assert isinstance(future, pykka.Future)
        with pytest.raises(pykka.Timeout):
            future.get(timeout=0.01)
        with pytest.raises(pykka.Timeout):
            runtime.supervisor.ask(Submit(ChatRequest("q")), timeout=0.01)
        assert runtime.status().account.open == 2
        gate.open()
        assert future.get(timeout=PATIENCE).response.content == "hi"
        assert future.map(lambda outcome: outcome.ok).get(timeout=PATIENCE) is True

        async def main() -> bool:
            return (await runtime.supervisor.ask(Submit(ChatRequest("q")), block=False)).ok  # type: ignore[no-any-return]

        assert asyncio.run(asyncio.wait_for(main(), PATIENCE))
    assert runtime.status().account.answered == 3


def test_a_submit_by_tell_is_accepted_or_refused_at_once() -> None:
    """As by `runtime.tell`."""
    peer = Peer(ready)
    with running({"a": peer}) as runtime:
        runtime.supervisor.tell(Submit(ChatRequest("q")))
        assert peer.arrived.acquire(timeout=PATIENCE)
        with pytest.raises(UnknownModelError):
            runtime.supervisor.tell(Submit(ChatRequest("q", model="nobody")))
    with pytest.raises(RuntimeStoppedError):
        runtime.supervisor.tell(Submit(ChatRequest("q")))


def test_an_unknown_message_kills_nobody() -> None:
    """By ask it is refused with an error, by tell without one."""
    with running({"a": Peer(ready)}) as runtime:
        runtime.ask("q", timeout=PATIENCE)
        with pytest.raises(UnknownMessageError, match="dict"):
            runtime.supervisor.ask({"command": "stop"}, timeout=PATIENCE)
        runtime.supervisor.tell("stop")
        assert runtime.ask("q", timeout=PATIENCE).content == "hi"
        assert runtime.status().actors[4].restarts == 0


def test_a_proxy_is_refused() -> None:
    """It would call methods behind the supervisor's back."""
    with running({"a": Peer(ready)}) as runtime:
        with pytest.raises(UnknownMessageError, match="proxy"):
            runtime.supervisor.proxy()
        assert runtime.ask("q", timeout=PATIENCE).content == "hi"


def test_a_supervisor_stopped_from_outside_is_started_again() -> None:
    """With what it had in its hands; the ref reaches the new one."""
    gate = Gate()
    peer = Peer(gate.waiting)
    with running({"a": peer}, max_parallel_requests=1) as runtime:
        pendings = [runtime.submit("q", timeout=PATIENCE) for _ in range(5)]
        assert peer.arrived.acquire(timeout=PATIENCE)
        assert runtime.supervisor.stop(timeout=PATIENCE) is True
        gate.open()
        assert {pending.result(PATIENCE).content for pending in pendings} == {"hi"}
        runtime.supervisor.tell(Promoted())
        supervisor = next(one for one in runtime.status().actors if one.name == "supervisor")
        assert (supervisor.generation, supervisor.restarts) == (2, 1)
        assert supervisor.last_crash == "stopped from outside"


def test_between_two_incarnations_a_submit_waits_and_the_rest_hears_of_it_as_from_pykka() -> None:
    """A tell raises, an ask replies with the error, a stop says False."""
    with running({"a": Peer(ready)}) as runtime:
        runtime.ask("q", timeout=PATIENCE)
        runtime.stop()
        ref = runtime.supervisor
        with pytest.raises(ActorDeadError):
            ref.tell(Promoted())
        with pytest.raises(ActorDeadError):
            ref.ask(Promoted(), timeout=PATIENCE)
        future = ref.ask(Promoted(), block=False)
        with pytest.raises(ActorDeadError):
            future.get(timeout=PATIENCE)
        assert ref.stop(timeout=PATIENCE) is False
        with pytest.raises(ActorDeadError):
            _ = ref.actor_inbox


def test_the_prompt_of_a_submit_is_checked_on_the_callers_thread() -> None:
    """A wrong request never reaches an actor."""
    with running({"a": Peer(ready)}) as runtime, pytest.raises(ConfigurationError):
        runtime.supervisor.ask(Submit(ChatRequest("q", max_tokens=-1)))
