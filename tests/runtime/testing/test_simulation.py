"""A real Runtime in virtual time: everything that waits lets time pass, and nothing else does."""

from __future__ import annotations

import asyncio
import threading

import pytest

from showcaller.actors.backend_config import BackendConfig
from showcaller.actors.configuration import RuntimeConfig
from showcaller.actors.errors import (
    ConfigurationError,
    DeadlineExceededError,
    RequestCancelledError,
    RuntimeStoppedError,
)
from showcaller.actors.models import Answered, RequestContext
from showcaller.actors.route_config import RouteConfig
from showcaller.actors.settings import RuntimeSettings
from showcaller.runtime.testing.behaviour import Behaviour
from showcaller.runtime.testing.client import Plan
from showcaller.runtime.testing.distributions import Constant
from showcaller.runtime.testing.simulation import Simulation

STEADY = Behaviour(
    connect=Constant(0.0),
    first_token=Constant(1.0),
    token_interval=Constant(0.1),
    answer_tokens=(10, 10),
    most_chunks=10,
)
SLOW = Behaviour(first_token=Constant(500.0))


def backend(name, **options):
    return BackendConfig(
        name=name,
        backend_type="openai_compatible",
        base_url="http://127.0.0.1:9/v1",
        model=f"model-of-{name}",
        **options,
    )


def config(*names, **settings):
    return RuntimeConfig(
        runtime=RuntimeSettings(model="fast", **settings),
        backends=[backend(name) for name in names],
        routes=[RouteConfig(name="fast", routing_strategy="failover", targets=list(names))],
    )


def steady(*names, **settings):
    return Simulation(config(*names, **settings), behaviours=dict.fromkeys(names, STEADY))


def test_an_ask_takes_virtual_time_alone():
    """As long as the backend says, and the response says the same."""
    with steady("a") as sim:
        response = sim.runtime.ask("Say hello")
        assert sim.now == pytest.approx(2.0)
        assert response.latency == pytest.approx(2.0)
        assert response.backend == "a"


def test_requests_that_are_submitted_together_run_side_by_side():
    """The second has its answer when the first has."""
    with steady("a") as sim:
        first, second = sim.runtime.submit("one"), sim.runtime.submit("two")
        assert not first.done()
        first.result()
        assert second.result(0.0).content
        assert sim.now == pytest.approx(2.0)


def test_a_wait_with_a_bound_ends_at_the_bound_and_the_request_goes_on():
    """As in real time."""
    with steady("a") as sim:
        pending = sim.runtime.submit("one")
        with pytest.raises(TimeoutError):
            pending.result(0.5)
        assert sim.now == pytest.approx(0.5)
        assert pending.result().backend == "a"


def test_a_deadline_ends_a_request_in_virtual_time():
    """At exactly that moment."""
    with Simulation(config("a"), behaviours={"a": SLOW}) as sim:
        with pytest.raises(DeadlineExceededError):
            sim.runtime.ask("one", timeout=30)
        assert sim.now == pytest.approx(30.0)


def test_a_stream_is_read_as_it_comes():
    """Each chunk at its own time."""
    with steady("a") as sim:
        times = []
        with sim.runtime.stream("one") as stream:
            times += [round(sim.now, 3) for _ in stream]
            response = stream.response
        assert times == pytest.approx([1.0 + 0.1 * number for number in range(10)])
        assert response.content.count("r-1.1.") == 10


def test_a_stream_that_is_left_early_is_cancelled_upstream():
    """The backend's call ends then, and not when it would have been whole."""
    with steady("a") as sim:
        with sim.runtime.stream("one") as stream:
            next(stream)
        sim.advance(0.01)
        (served,) = sim.backends["a"].served
        assert isinstance(served.error, RequestCancelledError)
        assert sim.now < 1.5


def test_many_requests_go_so_many_at_a_time():
    """Twelve at four at a time take three rounds."""
    with steady("a") as sim:
        outcomes = sim.runtime.ask_many([f"prompt {n}" for n in range(12)], max_concurrency=4)
        assert all(isinstance(outcome, Answered) for outcome in outcomes)
        assert sim.now == pytest.approx(6.0)


def test_coroutines_wait_in_virtual_time_too():
    """Side by side: tasks of one event loop share the time."""

    async def talk(sim):
        first, second = await asyncio.gather(sim.runtime.ask_async("one"), sim.runtime.ask_async("two"))
        assert sim.now == pytest.approx(2.0)
        assert {first.request_id, second.request_id} == {"r-1", "r-2"}
        async with sim.runtime.stream_async("three") as stream:
            texts = [chunk.text async for chunk in stream]
        assert len(texts) == 10
        assert sim.now == pytest.approx(4.0)
        done = [index async for index, _ in sim.runtime.ask_many_async(list("abcd"), max_concurrency=2)]
        assert sorted(done) == [0, 1, 2, 3]
        assert sim.now == pytest.approx(8.0)
        task = asyncio.ensure_future(sim.runtime.ask_async("five"))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    with steady("a") as sim:
        asyncio.run(talk(sim))
        assert sim.runtime.status().account.open == 0


def test_callbacks_come_without_a_thread():
    """Of a tell, and of a pending."""
    heard = []
    with steady("a") as sim:
        sim.runtime.tell("one", on_outcome=heard.append)
        sim.runtime.submit("two").add_done_callback(heard.append)
        assert threading.active_count() == 1 or not any(
            thread.name.startswith("showcaller") for thread in threading.enumerate()
        )
        sim.advance(3.0)
    assert len(heard) == 2


def test_backends_are_added_drained_and_removed():
    """Each call returns when the supervisor has answered, and the drain when the backend is empty."""
    with steady("a", "b") as sim:
        pending = sim.runtime.submit("one")
        sim.advance(0.5)
        assert sim.runtime.backends.drain("a") == 0
        assert sim.now == pytest.approx(2.0)
        assert pending.done()
        assert sim.runtime.ask("two").backend == "b"
        sim.runtime.backends.add(backend("c"))
        assert sim.runtime.ask("three", model="c").backend == "c"
        sim.runtime.backends.remove("b", timeout=0.0)
        assert list(sim.runtime.backends) == ["a", "c"]
        with pytest.raises(ConfigurationError, match="no backend"):
            sim.runtime.backends.drain("b")


def test_a_crashed_backend_is_restarted_and_the_request_answered():
    """Elsewhere, meanwhile."""
    with steady("a", "b") as sim:
        pending = sim.runtime.submit("one")
        sim.advance(0.5)
        sim.runtime.backends.crash("a")
        assert pending.result().content
        sim.advance(1.0)
        status = {backend.name: backend.actor for backend in sim.runtime.status().backends}
        assert (status["a"].restarts, status["a"].state) == (1, "running")
        assert status["b"].restarts == 0


def test_the_end_of_the_block_stops_the_runtime():
    """What is open fails, and no thread was ever there."""
    with steady("a") as sim:
        pending = sim.runtime.submit("one")
    with pytest.raises(RuntimeStoppedError):
        pending.result(0.0)


def test_a_stop_waits_for_what_is_open_in_virtual_time():
    """As long as it may."""
    with steady("a") as sim:
        pending = sim.runtime.submit("one")
        sim.runtime.stop(10.0)
        assert pending.result(0.0).backend == "a"
        assert sim.now == pytest.approx(2.0, abs=1.0)


def test_plans_happen_at_their_time():
    """In the order of their times, whatever the order of their making."""
    happened = []
    with steady("a") as sim:
        for time in (30.0, 10.0, 20.0):
            sim.at(time, lambda: happened.append(sim.now))
        sim.run()
    assert happened == [10.0, 20.0, 30.0]


def test_traffic_comes_at_its_rate_for_its_time():
    """Every request has one outcome, seen by its own caller."""
    with steady("a") as sim:
        sim.traffic(rate=10.0, duration=60.0, start=5.0, streams=0.5)
        sim.run()
        times = [client.sent.submitted - 1000.0 for client in sim.clients]
        assert 500 < len(times) < 700
        assert min(times) >= 5.0
        assert max(times) < 65.0
        assert 0.4 < sum(client.sent.plan.stream for client in sim.clients) / len(times) < 0.6
        for client in sim.clients:
            assert client.sent.ok
            assert len(client.sent.outcomes) == 1
            if client.sent.plan.stream:
                assert "".join(client.sent.chunks) == client.sent.outcome.response.content


def test_a_caller_may_read_slowly_stop_reading_or_give_up():
    """A slow reader holds up its own stream alone."""
    with Simulation(config("a", reader_timeout=5.0), behaviours={"a": STEADY}) as sim:
        slow = sim.send(Plan(prompt="slow", stream=True, read_pause=0.5))
        stops = sim.send(Plan(prompt="stops", stream=True, reads=2))
        gives_up = sim.send(Plan(prompt="gives up", cancel_after=0.3))
        sim.run()
        sim.advance(10.0)
        assert len(slow.sent.chunks) == 10
        assert len(stops.sent.chunks) == 2
        assert gives_up.sent.cancelled
        assert gives_up.sent.completed == pytest.approx(1000.3)


def test_what_is_asked_of_the_runtime_itself_is_in_the_report_too():
    """Answered, refused and streamed."""
    with steady("a") as sim:
        sim.runtime.ask("one")
        with pytest.raises(ConfigurationError):
            sim.runtime.ask("two", model="nothing")
        with sim.runtime.stream("three") as stream:
            list(stream)
        sim.traffic(rate=1.0, duration=5.0, context=RequestContext(request_id="task", metadata={"team": "x"}))
        report = sim.run()
    assert (report.answered, report.refused) == (2 + len(sim.clients), 1)
    assert [request.outcome for request in report.requests[:3]] == ["answered", "refused", "answered"]
    assert {request.metadata.get("team") for request in report.requests[3:]} == {"x"}
    assert len({request.request_id for request in report.requests}) == len(report.requests)


def test_the_seed_decides_everything():
    """Also what is random in the actors and in the backends."""

    def digest(seed):
        with Simulation(config("a", "b"), seed=seed) as sim:
            sim.traffic(rate=5.0, duration=10.0, streams=0.3, cancels=0.2)
            return sim.run().digest

    assert digest(3) == digest(3)
    assert digest(3) != digest(4)


def test_a_configuration_with_credentials_needs_none_of_them(tmp_path, monkeypatch):
    """A key is never looked up."""
    monkeypatch.delenv("A_KEY_THAT_IS_NOT_SET", raising=False)
    path = tmp_path / "showcaller.toml"
    path.write_text(
        'version = 1\n[backends.openai]\ntype = "openai"\n'
        'api_key = { env = "A_KEY_THAT_IS_NOT_SET" }\nmodel = "gpt-5"\n'
    )
    with Simulation(path) as sim:
        assert sim.runtime.ask("hello").backend == "openai"


def test_a_behaviour_for_a_backend_that_is_not_there_is_refused():
    """With the nearest known name."""
    with pytest.raises(ConfigurationError, match='did you mean "alpha"'):
        Simulation(config("alpha"), behaviours={"alpa": STEADY})


def test_a_block_that_raises_ends_without_covering_the_error():
    """The runtime is simply let go; the next simulation is not disturbed."""

    def fail():
        with steady("a") as sim:
            sim.runtime.submit("one")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    with steady("a") as sim:
        assert sim.runtime.ask("one").content


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"rate": 0}, "Traffic.rate = 0"),
        ({"rate": -1.0}, "Traffic.rate = -1.0"),
        ({"duration": 0}, "Traffic.duration = 0"),
        ({"start": -1}, "Traffic.start = -1"),
        ({"streams": 1.5}, "Traffic.streams = 1.5"),
        ({"cancels": -0.1}, "Traffic.cancels = -0.1"),
        ({"patience": "long"}, "Traffic.patience = 'long'"),
        ({"reads": -1}, "Traffic.reads = -1"),
        ({"read_pause": float("nan")}, "Traffic.read_pause = nan"),
        ({"prompts": ()}, r"Traffic.prompts = \(\)"),
        ({"prompts": "hello"}, "Traffic.prompts = 'hello'"),
        ({"temperature": -1}, "ChatRequest.temperature = -1"),
    ],
)
def test_wrong_traffic_is_refused_when_it_is_planned(wrong, says):
    """Not when its first request arrives; the text names the field and the value."""
    with steady("a") as sim, pytest.raises(ConfigurationError, match=says):
        sim.traffic(**{"rate": 1.0, "duration": 1.0, **wrong})


@pytest.mark.parametrize(
    ("plan", "says"),
    [
        (lambda sim: sim.at(1, 3), "fault = 3"),
        (lambda sim: sim.at("1", sim.note), "time = '1'"),
        (lambda sim: sim.at(-1, sim.note), "time = -1"),
        (lambda sim: sim.advance(-1), "seconds = -1"),
    ],
)
def test_a_wrong_plan_is_refused_when_it_is_made(plan, says):
    """The text names the argument and the value."""
    with steady("a") as sim, pytest.raises(ConfigurationError, match=says):
        plan(sim)


def test_an_option_that_does_not_exist_is_refused_when_traffic_is_planned():
    """As `submit` refuses it."""
    with steady("a") as sim, pytest.raises(TypeError, match="temprature"):
        sim.traffic(rate=1.0, duration=1.0, temprature=1)
