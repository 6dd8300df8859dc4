"""Ten thousand requests from 32 threads over 8 HTTP backends that fail, hang and crash: real threads and sockets."""

from __future__ import annotations

import gc
import os
import random
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from showcaller.actors.backend_config import BackendConfig
from showcaller.actors.configuration import RuntimeConfig
from showcaller.actors.errors import ShowcallerError
from showcaller.actors.flight import Flight
from showcaller.actors.messages import Provoke
from showcaller.actors.models import Outcome
from showcaller.actors.route_config import RouteConfig
from showcaller.actors.settings import RuntimeSettings
from showcaller.actors.ticket import Ticket
from showcaller.runtime.pending import Pending
from showcaller.runtime.runtime import Runtime

REQUESTS = 10_000
CALLERS = 32
NAMES = [f"b{n}" for n in range(8)]


@pytest.fixture
def port() -> Iterator[int]:
    """The port of a chaos server in a process of its own."""
    program = Path(__file__).with_name("chaos_server.py")
    server = subprocess.Popen(
        [sys.executable, str(program), "7"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert server.stdin is not None
    assert server.stdout is not None
    try:
        yield int(server.stdout.readline())
    finally:
        server.stdin.close()
        server.stdout.close()
        server.kill()
        server.wait(10)


def resident() -> int:
    """Bytes of memory that this process holds."""
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


class Caller(threading.Thread):
    """One of the 32: asks, tells, streams, submits and cancels, and counts what comes back."""

    def __init__(self, runtime: Runtime, seed: int, on_request: threading.Semaphore) -> None:
        super().__init__(daemon=True)
        self.runtime = runtime
        self.rng = random.Random(seed)
        self.on_request = on_request
        self.seen: Counter[str] = Counter()
        self.told: Counter[str] = Counter()
        self.outcomes: Counter[str] = Counter()
        self.lock = threading.Lock()

    def run(self) -> None:
        for n in range(REQUESTS // CALLERS):
            try:
                self.seen[self.one(f"question {n}")] += 1
            except ShowcallerError as error:
                self.seen[type(error).__name__] += 1
            except Exception as error:  # noqa: BLE001 - it is counted, and the test says what it was
                self.seen[f"unexpected: {error!r}"] += 1
            self.on_request.release()

    def one(self, prompt: str) -> str:
        """One request, in one of the ways there are."""
        kind = self.rng.random()
        if kind < 0.1:
            with self.runtime.stream(prompt, timeout=20) as stream:
                for _ in stream:
                    if self.rng.random() < 0.05:
                        return "left"
            return "streamed"
        if kind < 0.2:
            request_id = self.runtime.tell(prompt, on_outcome=self.count, timeout=20)
            self.told[request_id] += 1
            return "told"
        if kind < 0.25:
            return "cancelled" if self.runtime.submit(prompt, timeout=20).cancel() else "answered"
        self.runtime.ask(prompt, timeout=20)
        return "answered"

    def count(self, outcome: Outcome) -> None:
        with self.lock:
            self.outcomes[outcome.request_id] += 1


def open_sockets() -> int:
    """How many sockets this process has."""
    links = []
    for entry in Path("/proc/self/fd").iterdir():
        try:
            links.append(str(entry.readlink()))
        except FileNotFoundError:
            continue
    return sum(link.startswith("socket:") for link in links)


@pytest.mark.timeout(240)
def test_every_request_has_one_outcome_and_nothing_is_left(port: int) -> None:
    """Exactly one outcome each; no thread, socket or future after the stop; memory flat from the 2,000th on."""
    gc.collect()
    kept_by_others = [thing for thing in gc.get_objects() if isinstance(thing, Pending | Ticket | Flight)]
    known = {id(thing) for thing in kept_by_others}
    threads_before = set(threading.enumerate())
    sockets_before = open_sockets()
    config = RuntimeConfig(
        runtime=RuntimeSettings(model="all", num_retries=4),
        backends=[
            BackendConfig(
                name=name,
                backend_type="openai",
                base_url=f"http://127.0.0.1:{port}/{name}/v1",
                model=f"chaos-{name}",
                timeout=2.0,
                max_parallel_requests=16,
            )
            for name in NAMES
        ],
        routes=[
            RouteConfig(
                name="all",
                routing_strategy="least_connections",
                targets=NAMES,
                allowed_fails=30,
                cooldown_time=0.2,
            )
        ],
    )
    runtime = Runtime.start(config)
    done = threading.Semaphore(0)
    callers = [Caller(runtime, seed, done) for seed in range(CALLERS)]
    for caller in callers:
        caller.start()
    rng = random.Random(1)
    memory: list[int] = []
    for finished in range(1, REQUESTS // CALLERS * CALLERS + 1):
        assert done.acquire(timeout=60), "a caller hangs"
        if finished % 700 == 0:
            runtime.backends.crash(rng.choice(NAMES))
        if finished in (3000, 6000):
            for slot in ("supervisor", "quota_manager", "deduplicator", "recorder"):
                runtime._tree.address(slot).tell(Provoke("a drill"))
        if finished == 2000:
            memory.append(resident())
    for caller in callers:
        caller.join(30)
        assert not caller.is_alive()
    memory.append(resident())
    runtime.stop()

    account = runtime.status().account
    assert account.accepted == account.answered + account.failed
    assert account.open == 0
    seen = sum((caller.seen for caller in callers), Counter[str]())
    assert not [kind for kind in seen if kind.startswith("unexpected")], seen
    assert sum(seen.values()) == account.accepted
    for caller in callers:
        assert caller.outcomes == caller.told
    assert runtime._tree.quotas.outstanding == 0
    assert all(not slot.in_flight for slot in runtime._tree.roster.slots.values())

    assert set(threading.enumerate()) <= threads_before
    assert open_sockets() <= sockets_before
    del caller
    callers.clear()
    del runtime
    gc.collect()
    left = [thing for thing in gc.get_objects() if isinstance(thing, Pending | Ticket | Flight)]
    assert not [thing for thing in left if id(thing) not in known]
    assert memory[1] - memory[0] < 4_000_000, memory
