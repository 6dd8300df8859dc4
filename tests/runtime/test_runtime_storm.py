"""Storms of calls from many threads, through crashes and a stop: every request has one outcome, and nobody waits on."""

from __future__ import annotations

import concurrent.futures
import contextlib
import gc
import random
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from showcaller.actors.errors import RuntimeStoppedError, ServerError, ShowcallerError
from showcaller.actors.models import RequestContext
from showcaller.actors.transport import Attempt, Chunk, Failed, Sent, TransportEvent
from showcaller.runtime.runtime import Runtime
from tests.runtime.live import PATIENCE, Outcomes, Peer, answer, running


@pytest.fixture
def impatient() -> Iterator[None]:
    """Threads are switched at every opportunity."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


class Storm:
    """Calls of every kind from many threads; what came of each.

    Attributes:
        seen: how each call ended, and how often.
        told: the ids of what was told, and `outcomes` what was reported of them.
    """

    def __init__(self, runtime: Runtime, seed: int) -> None:
        self.runtime = runtime
        self.seed = seed
        self.seen: Counter[str] = Counter()
        self.told: list[str] = []
        self.outcomes = Outcomes()
        self._lock = threading.Lock()

    def run(self, callers: int, requests: int) -> None:
        """All of them, to the end."""
        threads = [
            threading.Thread(target=self._call, args=(n, requests), daemon=True) for n in range(callers)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(3 * PATIENCE)
            assert not thread.is_alive(), "a caller hangs"
        assert not [kind for kind in self.seen if kind.startswith("unexpected")], self.seen
        assert sum(self.seen.values()) == callers * requests
        ended = self.outcomes.wait(len(self.told))
        assert Counter(outcome.request_id for outcome in ended) == Counter(self.told)

    def _call(self, number: int, requests: int) -> None:
        rng = random.Random(self.seed * 1000 + number)
        kinds = [
            self.read,
            self.tell,
            self.give_up,
            self.be_too_late,
            self.share,
            self.drop,
            self.ask_by_name,
        ]
        for _ in range(requests):
            kind = rng.choice(kinds)
            try:
                kind(rng)
                ending = kind.__name__
            except ShowcallerError as error:
                ending = type(error).__name__
            except BaseException as error:  # noqa: BLE001 - whatever it is, it is what the test looks for
                ending = f"unexpected: {error!r}"
            with self._lock:
                self.seen[ending] += 1

    def read(self, rng: random.Random) -> None:
        with self.runtime.stream("q", timeout=PATIENCE) as stream:
            for _ in stream:
                if rng.random() < 0.3:
                    return

    def tell(self, rng: random.Random) -> None:
        request_id = self.runtime.tell("q", on_outcome=self.outcomes, timeout=PATIENCE)
        with self._lock:
            self.told.append(request_id)
        if rng.random() < 0.5:
            self.runtime.cancel(request_id)

    def give_up(self, _rng: random.Random) -> None:
        pending = self.runtime.submit("q", timeout=PATIENCE)
        pending.cancel()
        with contextlib.suppress(concurrent.futures.CancelledError):
            pending.result(PATIENCE)

    def be_too_late(self, rng: random.Random) -> None:
        self.runtime.ask("q", timeout=rng.choice([1e-9, 1e-4, 1e-3]))

    def share(self, rng: random.Random) -> None:
        """The same question from many at once: they share calls, and leave them."""
        pending = self.runtime.submit("same", temperature=0, timeout=PATIENCE)
        if rng.random() < 0.5:
            pending.cancel()
        else:
            pending.result(PATIENCE)

    def drop(self, _rng: random.Random) -> None:
        self.runtime.stream("q", timeout=PATIENCE)

    def ask_by_name(self, rng: random.Random) -> None:
        context = RequestContext(request_id=f"mine-{rng.randrange(3)}")
        self.runtime.ask("q", context=context, timeout=PATIENCE)


def flaky(rng: random.Random, lock: threading.Lock) -> Any:
    """Answers, streams, fails and breaks off."""

    def play(attempt: Attempt) -> Iterator[TransportEvent]:
        with lock:
            fate = rng.random()
        yield Sent()
        if fate < 0.1:
            yield Failed(ServerError("flaky"))
        elif fate < 0.13:
            raise ValueError("a bug")
        elif fate < 0.15 and attempt.stream:
            yield Chunk("a")
            yield Failed(ServerError("broken off"))
        else:
            if attempt.stream:
                yield Chunk("a")
            yield answer()

    return play


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("seed", range(2))
def test_a_storm_of_calls_gives_every_request_one_outcome(seed: int) -> None:
    """With threads that are switched at every opportunity, crashes and restarts."""
    rng, lock = random.Random(seed), threading.Lock()
    peers = {name: Peer(flaky(rng, lock)) for name in "abc"}
    with running(peers, strategy="round_robin", route={"allowed_fails": 1000}) as runtime:
        stop = threading.Event()

        def drill() -> None:
            while not stop.wait(0.05):
                runtime.backends.crash(rng.choice("abc"))

        driller = threading.Thread(target=drill, daemon=True)
        driller.start()
        try:
            Storm(runtime, seed).run(callers=10, requests=40)
        finally:
            stop.set()
            driller.join(PATIENCE)
        gc.collect()
        # Told before it, so done before it.
        runtime.backends.drain("a", PATIENCE)
        runtime.backends.drain("b", PATIENCE)
        runtime.backends.drain("c", PATIENCE)
    assert len(runtime._tree.flights) == 0
    assert all(not slot.in_flight for slot in runtime._tree.roster.slots.values())


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("seed", range(3))
def test_a_stop_in_a_storm_leaves_no_caller_waiting(seed: int) -> None:
    """Whatever each of them was just doing."""
    rng, lock = random.Random(seed), threading.Lock()
    with running({name: Peer(flaky(rng, lock)) for name in "ab"}) as runtime:
        stopper = threading.Timer(0.1 + 0.1 * seed, runtime.stop, args=(0.0,))
        stopper.daemon = True
        stopper.start()
        Storm(runtime, seed).run(callers=12, requests=60)
        stopper.join(PATIENCE)
        assert not stopper.is_alive()
    with pytest.raises(RuntimeStoppedError):
        runtime.ask("q")
    assert len(runtime._tree.flights) == 0
