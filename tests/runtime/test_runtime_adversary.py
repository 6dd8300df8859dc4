"""Attempts to have a request lost, doubled or hung, through what a caller and a transport can do."""

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
from tests.runtime.live import PATIENCE, Gate, Outcomes, Peer, answer, ready, running

# --- transports that do not keep their word -----------------------------------------------------------


def goes_on_after_done(_attempt: Attempt) -> Iterator[TransportEvent]:
    yield answer("first")
    yield answer("second")
    yield Failed(ServerError("third"))


def fails_after_done(_attempt: Attempt) -> Iterator[TransportEvent]:
    yield answer("first")
    raise RuntimeError("after the end")


def goes_on_after_failed(_attempt: Attempt) -> Iterator[TransportEvent]:
    yield Failed(ServerError("first"))
    yield answer("second")


def says_nothing(_attempt: Attempt) -> Iterator[TransportEvent]:
    yield from ()


def only_sends(_attempt: Attempt) -> Iterator[TransportEvent]:
    yield Sent()


def raises(_attempt: Attempt) -> Iterator[TransportEvent]:
    yield Sent()
    raise ValueError("a bug")


def exits(_attempt: Attempt) -> Iterator[TransportEvent]:
    yield Sent()
    raise SystemExit(3)


def interrupts(_attempt: Attempt) -> Iterator[TransportEvent]:
    yield Sent()
    raise KeyboardInterrupt


def raises_in_close(_attempt: Attempt) -> Iterator[TransportEvent]:
    try:
        yield answer("first")
    finally:
        raise ValueError("in close")


def exits_in_close(_attempt: Attempt) -> Iterator[TransportEvent]:
    try:
        yield Failed(ServerError("first"))
    finally:
        raise SystemExit(3)


def ignores_its_close(_attempt: Attempt) -> Iterator[TransportEvent]:
    try:
        yield answer("first")
    except GeneratorExit:
        yield answer("second")


def chunks_unasked(_attempt: Attempt) -> Iterator[TransportEvent]:
    yield Chunk("unasked")
    yield answer("first")


def talks_nonsense(_attempt: Attempt) -> Iterator[Any]:
    yield "not an event"
    yield None
    yield answer("first")


def sends_a_broken_answer(_attempt: Attempt) -> Iterator[Any]:
    yield answer(None)  # type: ignore[arg-type]


class RaisesAtOnce(Peer):
    def attempt(self, attempt: Attempt) -> Iterator[TransportEvent]:
        self.attempts.append(attempt)
        raise OSError("no iterator at all")


class ReturnsNothing(Peer):
    def attempt(self, attempt: Attempt) -> Iterator[TransportEvent]:
        self.attempts.append(attempt)
        return None  # type: ignore[return-value]


@pytest.mark.parametrize(
    "play",
    [
        goes_on_after_done,
        fails_after_done,
        raises_in_close,
        ignores_its_close,
        chunks_unasked,
        talks_nonsense,
    ],
)
def test_an_answer_counts_whatever_its_transport_does_besides(play: Any) -> None:
    """Once; and its seat is free for the next."""
    with running({"a": Peer(play)}, max_parallel_requests=1) as runtime:
        for _ in range(4):
            assert runtime.ask("q", timeout=PATIENCE).content == "first"
        # The backend is not blamed for what came after its answer so far that it gets nothing more.
        assert runtime.status().account.answered == 4
        assert runtime.status().backends[0].hanging == 0


@pytest.mark.parametrize(
    "bad",
    [
        Peer(goes_on_after_failed),
        Peer(says_nothing),
        Peer(only_sends),
        Peer(raises),
        Peer(exits),
        Peer(interrupts),
        Peer(exits_in_close),
        RaisesAtOnce(ready),
        ReturnsNothing(ready),
    ],
    ids=lambda peer: getattr(peer.play, "__name__", "") if type(peer) is Peer else type(peer).__name__,
)
def test_a_transport_that_breaks_its_word_fails_over(bad: Peer) -> None:
    """To one that keeps it, at once; its seat is free and it is blamed."""
    patient = {"allowed_fails": 1000}
    peers = {"a": bad, "b": Peer(ready)}
    with running(
        peers, max_parallel_requests=1, max_retries=0, route=patient, settings={"num_retries": 1}
    ) as runtime:
        for _ in range(3):
            response = runtime.ask("q", timeout=PATIENCE)
            assert (response.content, response.backend, response.attempts) == ("hi", "b", 2)
        with pytest.raises(ShowcallerError):
            runtime.ask("q", model="a", timeout=PATIENCE, idempotent=False)
        status = runtime.status().backends[0]
        assert (status.in_flight, status.hanging) == (0, 0)
    assert len(bad.attempts) == 4


def test_an_answer_that_is_no_answer_is_no_crash() -> None:
    """A content of None is an empty text."""
    with running({"a": Peer(sends_a_broken_answer)}) as runtime:
        assert runtime.ask("q", timeout=PATIENCE).content == ""


def test_hanging_attempts_are_given_up_and_their_backend_is_left_alone() -> None:
    """The seats hang past every deadline; the requests do not, and come to another backend."""
    gate = Gate()
    hung = Peer(gate.stubborn)
    with running({"a": hung, "b": Peer(ready)}, max_parallel_requests=2, timeout=0.05) as runtime:
        try:
            pendings = [runtime.submit("q", timeout=PATIENCE) for _ in range(4)]
            assert {pending.result(PATIENCE).backend for pending in pendings} == {"b"}
            assert runtime.status().backends[0].hanging == 2
            assert runtime.ask("q", timeout=PATIENCE).backend == "b"
        finally:
            gate.open()
    assert len(hung.attempts) == 2


# --- races -------------------------------------------------------------------------------------------


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


def test_streams_that_the_collector_finds_inside_our_own_locks_do_no_harm() -> None:
    """A finalizer runs wherever an object is made, and may come in the middle of another request's door."""
    gate = Gate()
    thresholds = gc.get_threshold()
    with running({"a": Peer(gate.after_one_chunk), "b": Peer(ready)}, max_parallel_requests=64) as runtime:
        finished = threading.Event()

        def call() -> None:
            for _ in range(40):
                circle: list[Any] = [runtime.stream("q", model="a", temperature=0, timeout=PATIENCE)]
                circle.append(circle)
                del circle
                runtime.submit("q", model="b", timeout=PATIENCE).result(PATIENCE)
            finished.set()

        caller = threading.Thread(target=call, daemon=True)
        gc.set_threshold(1, 1, 1)
        try:
            caller.start()
            assert finished.wait(PATIENCE), "a finalizer waits for a lock that its own thread holds"
        finally:
            gc.set_threshold(*thresholds)
        gc.collect()
        gate.open()
