"""docs/faults.md: each row of its table is run over real HTTP, and what comes of it is what the row says."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from showcaller.actors.backend_config import BackendConfig, Timeouts
from showcaller.actors.configuration import RuntimeConfig
from showcaller.actors.errors import AllBackendsFailedError, ShowcallerError, StreamInterruptedError
from showcaller.actors.kernel.clock import SystemClock
from showcaller.actors.models import BackendResponse
from showcaller.actors.route_config import RouteConfig
from showcaller.actors.settings import RuntimeSettings
from showcaller.runtime.machine import ThreadMachine
from showcaller.runtime.runtime import Runtime
from tests.runtime.transports.fault_server import PATIENCE, FaultServer, good
from tests.runtime.transports.faults import FAULTS, PATIENT, Fault

DOCS = Path(__file__).parents[3] / "docs" / "faults.md"
NUM_RETRIES = 1
COLUMNS = ("plain, alone", "stream, alone", "plain, beside another", "stream, beside another")
KEY = "the-key-of-the-tests"
ONLY_ONE = "—"


class ShortJitter(random.Random):
    """Draws near 0, so that a backoff is short."""

    def random(self) -> float:
        return super().random() * 0.02


def table() -> dict[str, dict[str, str]]:
    """The rows of the page, by fault and column."""
    lines = [line for line in DOCS.read_text(encoding="utf-8").splitlines() if line.startswith("| ")]
    header, *rows = ([cell.strip() for cell in line.strip("|").split("|")] for line in lines)
    assert header == ["fault", *COLUMNS]
    return {row[0]: dict(zip(COLUMNS, row[1:], strict=True)) for row in rows}


def backend(name: str, url: str, timeout: Timeouts) -> BackendConfig:
    return BackendConfig(
        name=name, backend_type="openai", base_url=url, model=name, api_key=KEY, timeout=timeout
    )


@pytest.fixture
def another() -> Iterator[FaultServer]:
    """A server that answers."""
    with FaultServer() as server:
        server.play(good)
        yield server


def call(
    runtime: Runtime, server: FaultServer, texts: list[str], *, streamed: bool, idempotent: bool | None
) -> BackendResponse | ShowcallerError:
    """The answer or the error; `texts` gets what a stream gave out before."""
    try:
        if not streamed:
            return runtime.ask("Say hello", idempotent=idempotent)
        with runtime.stream("Say hello", idempotent=idempotent) as stream:
            for chunk in stream:
                texts.append(chunk.text)
                server.heard.set()
            return stream.response
    except ShowcallerError as error:
        return error


def attempts_of(outcome: BackendResponse | ShowcallerError) -> list[str | None]:
    """The backends that were called, in order, as the caller can know them."""
    if isinstance(outcome, BackendResponse):
        return [*["faulty"] * (outcome.attempts - 1), outcome.backend]
    if isinstance(outcome, AllBackendsFailedError):
        return [error.backend for error in outcome.attempts]
    return [outcome.backend]


def has_short(fault: Fault, limit: str) -> bool:
    """Is that the timeout which ends this fault?"""
    return bool(getattr(fault.timeout, limit) < getattr(PATIENT, limit))


def described(outcome: BackendResponse | ShowcallerError, texts: list[str], fault: Fault) -> str:
    """What the table says of an outcome, once it is found to be whole."""
    text = "".join(texts)
    if isinstance(outcome, BackendResponse):
        assert outcome.content in ("Hello", "Hello\ufffd", "Hel") or outcome.message["tool_calls"]
        assert text in ("", outcome.content)
        return "answer"
    assert "faulty" in str(outcome)
    assert KEY not in f"{outcome} {outcome!r}"
    if fault.pause is not None:
        assert outcome.retry_after == fault.pause
    short = [limit for limit in ("connect", "first_token", "idle", "total") if has_short(fault, limit)]
    assert not short or any(f"{limit} timeout" in str(outcome) for limit in short)
    if isinstance(outcome, AllBackendsFailedError):
        assert text == ""
        assert len(outcome.attempts) > 1
        (name,) = {type(error).__name__ for error in outcome.attempts}
    else:
        name = type(outcome).__name__
        assert text == (outcome.partial if isinstance(outcome, StreamInterruptedError) else "")
        assert (text == "Hel") is isinstance(outcome, StreamInterruptedError)
    return f"`{name}`"


@pytest.fixture
def run(
    fault_server: FaultServer, another: FaultServer, request: pytest.FixtureRequest
) -> Callable[..., str]:
    """Makes one call of a backend that has the fault, and says what came of it as the table does."""

    def run(fault: Fault, *, streamed: bool, beside: bool, idempotent: bool | None = None) -> str:
        make = fault.stream if streamed else fault.plain
        if make is None:
            return ONLY_ONE
        fault_server.play(make(fault_server))
        url = fault_server.url
        if fault.at is not None:
            port = request.getfixturevalue({"refused": "closed_port", "full": "full_backlog"}[fault.at])
            url = f"http://127.0.0.1:{port}/v1"
        targets = ["faulty", "another"] if beside else ["faulty"]
        config = RuntimeConfig(
            runtime=RuntimeSettings(model="route", num_retries=NUM_RETRIES, timeout=3 * PATIENCE),
            backends=[backend("faulty", url, fault.timeout), backend("another", another.url, PATIENT)],
            routes=[RouteConfig(name="route", routing_strategy="failover", targets=targets)],
        )
        machine = ThreadMachine(SystemClock())
        machine.system.rng = ShortJitter()
        texts: list[str] = []
        with Runtime.start(config, machine=machine) as runtime:
            outcome = call(runtime, fault_server, texts, streamed=streamed, idempotent=idempotent)
            for name in runtime.backends:
                assert runtime.backends.drain(name, PATIENCE) == 0
            account = runtime.status().account
        assert (account.accepted, account.answered + account.failed, account.open) == (1, 1, 0)
        assert runtime._tree.quotas.outstanding == 0
        attempts = attempts_of(outcome)
        calls = [len(fault_server.requests), len(another.requests)]
        if fault.at is None:
            assert attempts == ["faulty"] * calls[0] + ["another"] * calls[1]
        else:
            assert calls == [0, attempts.count("another")]
        for one in (*fault_server.requests, *another.requests):
            assert one.startswith(b"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1:")
        if fault.pause is not None and len(fault_server.arrivals) > 1:
            assert fault_server.arrivals[1] - fault_server.arrivals[0] >= fault.pause
        made = str(attempts.count("faulty")) + (f"+{attempts.count('another')}" if beside else "")
        return f"{described(outcome, texts, fault)}, {made}"

    return run


def test_the_page_has_a_row_for_every_fault_and_no_other() -> None:
    """In the same order."""
    assert list(table()) == list(FAULTS)


@pytest.mark.parametrize("column", COLUMNS)
@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_has_the_outcome_that_its_row_says(run: Callable[..., str], name: str, column: str) -> None:
    """What the caller sees, and how many calls were made."""
    found = run(FAULTS[name], streamed=column.startswith("stream"), beside=column.endswith("another"))
    assert found == table()[name][column]


@pytest.mark.parametrize("streamed", [False, True], ids=["plain", "stream"])
@pytest.mark.parametrize(
    ("name", "outcome"),
    [
        ("the port refuses", "answer, 1+1"),
        ("the port neither accepts nor refuses", "answer, 1+1"),
        ("401", "answer, 1+1"),
        ("429", "answer, 1+1"),
        ("503", "answer, 1+1"),
        ("529", "answer, 1+1"),
        ("500", "`ServerError`, 1+0"),
        ("502, a web page", "`ServerError`, 1+0"),
        ("closed before the headers", "`MalformedResponseError`, 1+0"),
        ("silent before the headers", "`BackendTimeoutError`, 1+0"),
        ("200, an error as JSON", "`ServerError`, 1+0"),
        ("an empty answer", "`MalformedResponseError`, 1+0"),
    ],
)
def test_what_may_have_been_carried_out_is_not_repeated_unless_it_may_be(
    run: Callable[..., str], name: str, outcome: str, streamed: bool
) -> None:
    """What surely was not goes to another backend all the same."""
    assert run(FAULTS[name], streamed=streamed, beside=True, idempotent=False) == outcome
