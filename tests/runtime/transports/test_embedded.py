"""The embedded model answers, streams, keeps its deadlines and gives its slot back; all on the real model."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import requests

from showcaller.actors.backend_config import Timeouts
from showcaller.actors.errors import (
    BackendCrashedError,
    BackendTimeoutError,
    BackendUnreachableError,
    ConfigurationError,
    ContextWindowExceededError,
    InvalidRequestError,
    RequestCancelledError,
)
from showcaller.actors.transport import Attempt, Chunk, Done, Failed, Sent, TransportEvent
from showcaller.runtime.transports.embedded import EmbeddedTransport
from showcaller.runtime.transports.embedded_model import EmbeddedModel, ModelParameters
from showcaller.runtime.transports.model_store import ModelUnavailableError

pytest.importorskip("xllamacpp")

ENDLESS: dict[str, Any] = {"max_tokens": 4000, "ignore_eos": True}
"""An answer that ends only with the context, after half a minute or more."""

LONG_PROMPT = "hello " * 3500
"""Half of a minute's work for one thread before the first token."""


@pytest.fixture
def build(model_path: Path) -> Iterator[Callable[..., EmbeddedTransport]]:
    """Builds transports that are closed with the test."""
    built: list[EmbeddedTransport] = []

    def one(**arguments: Any) -> EmbeddedTransport:
        built.append(EmbeddedTransport(**({"model_path": model_path} | arguments)))
        return built[-1]

    yield one
    for transport in built:
        transport.close()


@pytest.fixture(scope="module")
def transport(model_path: Path) -> Iterator[EmbeddedTransport]:
    """One transport for the tests that leave it as it was."""
    transport = EmbeddedTransport(model_path=model_path)
    yield transport
    transport.close()


def an_attempt(
    text: str = "Say hello",
    *,
    stream: bool = False,
    total: float = 60.0,
    timeout: Timeouts | None = None,
    **options: Any,
) -> Attempt:
    payload = {"messages": [{"role": "user", "content": text}], "max_tokens": 8, "seed": 1} | options
    return Attempt(
        request_id="r1",
        number=1,
        backend="local",
        payload=json.dumps(payload).encode(),
        stream=stream,
        deadline=time.monotonic() + total,
        timeout=timeout or Timeouts.of_total(total),
    )


def last_of(events: Iterator[TransportEvent]) -> Done | Failed:
    *_, last = events
    assert isinstance(last, Done | Failed)
    return last


def error_of(events: Iterator[TransportEvent]) -> BaseException:
    last = last_of(events)
    assert isinstance(last, Failed), last
    return last.error


def answers(transport: EmbeddedTransport) -> bool:
    last = last_of(transport.attempt(an_attempt(total=20)))
    return isinstance(last, Done)


# --- answers ---------------------------------------------------------------------------------------


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


def test_the_answer_carries_the_configured_name(build: Callable[..., EmbeddedTransport]) -> None:
    """Not the file's name, and never its path."""
    last = last_of(build(model="mine").attempt(an_attempt()))
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


# --- refusals --------------------------------------------------------------------------------------


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


# --- cancel ----------------------------------------------------------------------------------------


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
    build: Callable[..., EmbeddedTransport], stream: bool
) -> None:
    """The only slot answers the next attempt long before the cancelled one would have ended."""
    transport = build(n_parallel=1)
    attempt = an_attempt(stream=stream, **ENDLESS)
    events = transport.attempt(attempt)
    assert next(events) == Sent()
    threading.Timer(0.05, attempt.cancel.cancel).start()
    error = error_of(events)
    assert isinstance(error, RequestCancelledError)
    assert error.maybe_executed
    assert answers(transport)


def test_cancel_is_heard_while_the_prompt_is_read(build: Callable[..., EmbeddedTransport]) -> None:
    """A long prompt does not hold its slot until the first token."""
    transport = build(n_parallel=1)
    attempt = an_attempt(LONG_PROMPT)
    events = transport.attempt(attempt)
    assert next(events) == Sent()
    attempt.cancel.cancel()
    assert isinstance(error_of(events), RequestCancelledError)
    assert answers(transport)


def test_leaving_a_stream_early_frees_the_slot(build: Callable[..., EmbeddedTransport]) -> None:
    """Closing the iterator cancels the rest."""
    transport = build(n_parallel=1)
    events = transport.attempt(an_attempt(stream=True, **ENDLESS))
    assert next(events) == Sent()
    assert isinstance(next(events), Chunk)
    events.close()  # type: ignore[attr-defined]
    assert answers(transport)


# --- deadlines -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "timeout", "names"),
    [
        pytest.param("Say hello", Timeouts(total=0.4, first_token=60, idle=60), "total", id="total"),
        pytest.param(LONG_PROMPT, Timeouts(first_token=0.2), "first_token", id="first token"),
        pytest.param("Say hello", Timeouts(idle=1e-6), "idle", id="idle"),
    ],
)
def test_each_timeout_ends_the_attempt_and_says_which(
    build: Callable[..., EmbeddedTransport], text: str, timeout: Timeouts, names: str
) -> None:
    """The slot is free again, and the request may have been executed."""
    transport = build(n_parallel=1)
    assert answers(transport), "the model is loaded, so that only the answer takes time"
    attempt = an_attempt(text, total=timeout.total, timeout=timeout, **ENDLESS)
    error = error_of(transport.attempt(attempt))
    assert isinstance(error, BackendTimeoutError)
    assert f"timeout.{names}" in str(error)
    assert error.maybe_executed
    assert answers(transport)


def test_an_attempt_that_finds_no_free_slot_in_time_was_not_sent(
    build: Callable[..., EmbeddedTransport],
) -> None:
    """It may be tried elsewhere without being executed twice."""
    transport = build(n_parallel=1)
    busy = transport.attempt(an_attempt(**ENDLESS))
    assert next(busy) == Sent()
    (failed,) = transport.attempt(an_attempt(total=0.2))
    busy.close()  # type: ignore[attr-defined]
    assert isinstance(failed, Failed)
    assert isinstance(failed.error, BackendTimeoutError)
    assert "no free slot" in str(failed.error)
    assert not failed.error.maybe_executed
    assert failed.error.retry_elsewhere


# --- one model, several backends -------------------------------------------------------------------


def model_threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("showcaller-embedded")]


def test_backends_with_equal_parameters_share_one_model(
    build: Callable[..., EmbeddedTransport], model_path: Path
) -> None:
    """Two slots serve both, and the model stays until the second has closed."""
    before = len(model_threads())
    first, second = build(n_ctx=1024, model="a"), build(n_ctx=1024, model="b")
    assert answers(first)
    assert answers(second)
    assert len(model_threads()) == before + 2
    first.close()
    first.close()
    assert answers(second)
    second.close()
    assert len(model_threads()) == before


def test_other_parameters_are_another_model(model_path: Path) -> None:
    """Sharing never changes what was asked for."""
    parameters = ModelParameters(path=model_path, n_ctx=512, n_parallel=1, n_threads=1)
    bigger = ModelParameters(path=model_path, n_ctx=1024, n_parallel=1, n_threads=1)
    one, same, other = map(EmbeddedModel.shared, (parameters, parameters, bigger))
    assert one is same
    assert other is not one
    for model in (one, same, other):
        model.release()
    fresh = EmbeddedModel.shared(parameters)
    assert fresh is not one
    fresh.release()


def test_closing_fails_what_is_in_flight(build: Callable[..., EmbeddedTransport]) -> None:
    """Those that are answered and those that wait for a slot; and every later attempt."""
    transport = build(n_parallel=1)
    sent = threading.Event()

    def run(_: int) -> BaseException:
        events = transport.attempt(an_attempt(**ENDLESS))
        first = next(events)
        if isinstance(first, Failed):
            return first.error
        sent.set()
        return error_of(events)

    with ThreadPoolExecutor(3) as pool:
        errors = [pool.submit(run, number) for number in range(3)]
        assert sent.wait(20)
        transport.close()
        for error in errors:
            assert isinstance(error.result(20), BackendCrashedError | BackendUnreachableError)
    assert isinstance(error_of(transport.attempt(an_attempt())), BackendUnreachableError)


def test_the_port_that_llama_cpp_opens_wants_a_key(model_path: Path) -> None:
    """No other process and no web page may use the model."""
    model = EmbeddedModel.shared(ModelParameters(path=model_path, n_ctx=512, n_parallel=1, n_threads=1))
    try:
        address = model._loaded().listening_address
        url = f"{address}/v1/chat/completions"
        answer = requests.post(url, json={"messages": [{"role": "user", "content": "hi"}]}, timeout=10)
    finally:
        model.release()
    assert re.match(r"http://127\.0\.0\.1:", address)
    assert answer.status_code == 401


# --- what cannot be loaded -------------------------------------------------------------------------


def test_a_file_that_is_not_there_is_refused_when_the_backend_is_built(tmp_path: Path) -> None:
    """The error names the file and the fix."""
    with pytest.raises(ModelUnavailableError, match=r"gone\.gguf"):
        EmbeddedTransport(model_path=tmp_path / "gone.gguf")


def test_a_truncated_file_is_refused_when_the_backend_is_built(tmp_path: Path, model_path: Path) -> None:
    """Before anything of it is loaded."""
    short = tmp_path / "short.gguf"
    with model_path.open("rb") as whole:
        short.write_bytes(whole.read(4_000_000))
    with pytest.raises(ModelUnavailableError, match="truncated"):
        EmbeddedTransport(model_path=short)


def a_gguf_of_no_model() -> bytes:
    return b"GGUF" + (3).to_bytes(4, "little") + bytes(16)


def test_a_model_that_llama_cpp_cannot_load_fails_the_attempt_and_not_the_process(tmp_path: Path) -> None:
    """The backend can be passed over; once the file is right the next attempt works."""
    path = tmp_path / "empty.gguf"
    path.write_bytes(a_gguf_of_no_model())
    transport = EmbeddedTransport(model_path=path)
    try:
        (failed,) = transport.attempt(an_attempt())
        assert isinstance(failed, Failed)
        assert isinstance(failed.error, BackendUnreachableError)
        assert str(path) in str(failed.error)
        path.unlink()
        assert "No such file" in str(error_of(transport.attempt(an_attempt())))
    finally:
        transport.close()


def test_a_load_that_failed_is_tried_again(tmp_path: Path, model_path: Path) -> None:
    """A file that has been mended needs no restart."""
    path = tmp_path / "model.gguf"
    path.write_bytes(a_gguf_of_no_model())
    transport = EmbeddedTransport(model_path=path)
    try:
        assert isinstance(error_of(transport.attempt(an_attempt())), BackendUnreachableError)
        path.unlink()
        path.symlink_to(model_path)
        assert answers(transport)
    finally:
        transport.close()


def test_without_the_package_the_command_is_named(monkeypatch: pytest.MonkeyPatch, model_path: Path) -> None:
    """The package is an extra: who has not installed it is told how."""
    monkeypatch.setitem(sys.modules, "xllamacpp", None)
    with pytest.raises(ConfigurationError, match=r"pip install 'showcaller\[embedded\]'"):
        EmbeddedTransport(model_path=model_path)


@pytest.mark.parametrize("wrong", [{"n_ctx": 0}, {"n_parallel": 1.5}, {"n_threads": -1}])
def test_a_wrong_number_is_named(model_path: Path, wrong: dict[str, Any]) -> None:
    """Field, value and fix."""
    with pytest.raises(ConfigurationError, match=next(iter(wrong))):
        EmbeddedTransport(model_path=model_path, **wrong)


# --- the end of the process ------------------------------------------------------------------------

SCRIPT = """
import json, os, sys, threading, time
from pathlib import Path
from showcaller.actors.backend_config import Timeouts
from showcaller.actors.transport import Attempt
from showcaller.runtime.transports.embedded import EmbeddedTransport

transport = EmbeddedTransport(model_path=Path(sys.argv[1]))

def attempt(text, **options):
    payload = {"messages": [{"role": "user", "content": text}]} | options
    return transport.attempt(Attempt(
        request_id="r", number=1, backend="local", payload=json.dumps(payload).encode(), stream=True,
        deadline=time.monotonic() + 60, timeout=Timeouts.of_total(60.0),
    ))

begun = threading.Semaphore(0)

def run(text, events):
    stream = attempt(text, max_tokens=4000, ignore_eos=True)
    for _, _ in zip(range(events), stream):
        pass
    begun.release()
    for _ in stream:
        pass

def start(count, text, events):
    for _ in range(count):
        threading.Thread(target=run, args=(text, events), daemon=True).start()
    for _ in range(min(count, 2)):
        assert begun.acquire(timeout=50)
"""

ENDINGS = {
    "nothing in flight": "print(len(list(attempt('hi', max_tokens=2))) > 1)",
    "answers in flight": "start(2, 'Tell a story', 3); print(True)",
    "more in flight than slots": "start(5, 'Tell a story', 3); print(True)",
    "a prompt being read": "start(1, 'hello ' * 3500, 1); print(True)",
    "an exception": "start(1, 'Tell a story', 3); print(True, flush=True); sys.exit(0)",
}


@pytest.mark.parametrize("ending", ENDINGS.values(), ids=ENDINGS.keys())
def test_the_interpreter_exits_when_close_was_forgotten(model_path: Path, ending: str) -> None:
    """Neither a hang nor a signal, and llama.cpp has written nothing to the terminal."""
    result = subprocess.run(
        [sys.executable, "-c", SCRIPT + ending, str(model_path)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (result.returncode, result.stdout, result.stderr) == (0, "True\n", "")


FORKED = """
import gc, warnings
warnings.simplefilter("ignore")
list(attempt("hi", max_tokens=2))
child = os.fork()
if child == 0:
    (failed,) = attempt("hi", max_tokens=2)
    transport.close()
    del transport
    gc.collect()
    os._exit(7 if "before the fork" in str(failed.error) else 8)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), len(list(attempt("hi", max_tokens=2))) > 1)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="there is no fork")
def test_after_a_fork_the_child_is_refused_at_once(model_path: Path) -> None:
    """The child neither waits for threads that it does not have nor harms the parent's model."""
    result = subprocess.run(
        [sys.executable, "-c", SCRIPT + FORKED, str(model_path)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (result.returncode, result.stdout) == (0, "7 True\n"), result.stderr
