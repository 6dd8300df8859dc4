"""A slice of load: some callers, each making one call after the other for a short time."""

from __future__ import annotations

import gc
import math
import threading
import time
from collections.abc import Sequence

from attrs import frozen

from benchmarks.clients import Call
from benchmarks.completion import ANSWER


@frozen
class Slice:
    """What one slice of load showed.

    Attributes:
        latencies_us: of every call, ascending, in microseconds.
        seconds: from the first call's start to the last one's end.
        cpu_seconds: of this process, all threads together.
    """

    latencies_us: tuple[float, ...]
    seconds: float
    cpu_seconds: float

    @property
    def p50_us(self) -> float:
        """The median latency."""
        return quantile(self.latencies_us, 0.5)

    @property
    def per_second(self) -> float:
        """Calls a second, all callers together."""
        return len(self.latencies_us) / self.seconds

    @property
    def cpu_us(self) -> float:
        """Processor time of a call."""
        return self.cpu_seconds / len(self.latencies_us) * 1e6


def quantile(ascending: Sequence[float], share: float) -> float:
    """The smallest value that at least `share` of the values do not exceed."""
    return ascending[max(0, math.ceil(len(ascending) * share) - 1)]


def run(calls: Sequence[Call], seconds: float) -> Slice:
    """Let each call's caller repeat it for some seconds, on a thread of its own.

    Raises:
        Exception: what the first failing call raised; a wrong answer is an AssertionError.
    """
    latencies: list[list[int]] = [[] for _ in calls]
    failures: list[BaseException] = []
    start = threading.Barrier(len(calls) + 1)

    def caller(call: Call, mine: list[int]) -> None:
        clock = time.perf_counter_ns
        start.wait()
        until = clock() + int(seconds * 1e9)
        try:
            before = clock()
            while before < until:
                answer = call()
                after = clock()
                if answer != ANSWER:
                    raise AssertionError(f"a call returned {answer!r}")
                mine.append(after - before)
                before = clock()
        except BaseException as error:  # noqa: BLE001 - raised again below, on the thread that asked
            failures.append(error)

    threads = [
        threading.Thread(target=caller, args=pair, daemon=True) for pair in zip(calls, latencies, strict=True)
    ]
    for thread in threads:
        thread.start()
    gc.collect()
    cpu, wall = time.process_time(), time.perf_counter()
    start.wait()
    for thread in threads:
        thread.join()
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    if failures:
        raise failures[0]
    return Slice(tuple(sorted(each / 1e3 for mine in latencies for each in mine)), wall, cpu)
