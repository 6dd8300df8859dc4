"""The cost of a hop: one message from an actor to the next, on the shared thread and on pinned ones."""

from __future__ import annotations

import random
import threading
import time
from statistics import median
from typing import Any

import pykka
from attrs import frozen

from showcaller.actors.kernel.actor import KernelActor
from showcaller.actors.kernel.clock import SystemClock
from showcaller.actors.kernel.dispatcher import Dispatcher, PinnedDispatcher, SharedDispatcher
from showcaller.actors.kernel.message import Message
from showcaller.actors.kernel.system import ActorSystem
from showcaller.actors.kernel.workers import ThreadWorkers

RING = 5
"""Actors in the ring: about as many as a request meets."""
HOPS = 5_000
ROUNDS = 7
SECONDS = 60.0


@frozen
class Pass(Message):
    """Goes around the ring until no hop is left."""

    left: int


class Relay(KernelActor):
    """Hands what it gets to the next of the ring, or at last to the goal."""

    def __init__(self, ring: list[pykka.ActorRef[Any]], position: int, goal: Goal) -> None:
        super().__init__()
        self._ring = ring
        self._next = (position + 1) % RING
        self._goal = goal

    def on_pass(self, message: Pass) -> None:
        """Hand it on."""
        if message.left == 0:
            self._goal.reached.set()
        else:
            self._ring[self._next].tell(Pass(message.left - 1))


class Goal:
    """Where the hops end, and the parent of the ring's actors."""

    def __init__(self) -> None:
        self.reached = threading.Event()

    def tell(self, message: Any) -> None:
        """Let the kernel say that an actor has ended."""


def measure() -> dict[str, float]:
    """Microseconds a hop: the median over the rounds, for each dispatcher."""
    clock = SystemClock()
    shared, pinned = SharedDispatcher("benchmark", clock.now), PinnedDispatcher()
    system = ActorSystem(
        clock=clock, rng=random.Random(1), shared=shared, pinned=pinned, workers=ThreadWorkers
    )
    return {"shared": _hop(system, shared), "pinned": _hop(system, pinned)}


def _hop(system: ActorSystem, dispatcher: Dispatcher) -> float:
    goal = Goal()
    ring: list[pykka.ActorRef[Any]] = []
    for position in range(RING):
        slot = f"relay-{position}"
        ref = system.spawn(Relay, ring, position, goal, slot=slot, parent=goal, dispatcher=dispatcher)
        if ref is None:
            raise RuntimeError(f"{slot} did not start")
        ring.append(ref)
    rounds = []
    for _ in range(ROUNDS + 1):
        goal.reached.clear()
        begin = time.perf_counter()
        ring[0].tell(Pass(HOPS))
        if not goal.reached.wait(SECONDS):
            raise TimeoutError(f"{HOPS} hops took more than {SECONDS} s")
        rounds.append(time.perf_counter() - begin)
    return median(rounds[1:]) / HOPS * 1e6
