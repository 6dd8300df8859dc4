"""Runs small bodies of code under every schedule with few preemptions, after CHESS (Musuvathi and Qadeer, 2007).

Each body has an OS thread of its own, and one of them runs at a time. At each step (around the operations of
locks; if wanted, before every line) the explorer decides who goes on. To leave a thread that could go on is a
preemption. What goes wrong at all mostly goes wrong with one or two of them, so all schedules with so few are
a proof worth having; that a line itself is not cut in two is what it takes on trust.
"""

from __future__ import annotations

import _thread
import gc
import linecache
import os
import sys
import threading
from contextlib import contextmanager, suppress
from pathlib import Path

import stand_ins
from stand_ins import AbandonedError, Thread, stand_in

MOST_STEPS = 5_000
"""After so many steps a run is taken to go on for ever."""
MOST_SCHEDULES = 20_000
"""A test that needs more asks too much of the few seconds it may take."""
BOUND = 20.0
"""Seconds after which a thread is taken to wait for what the explorer cannot see."""


class FoundError(AssertionError):
    """A schedule under which it goes wrong; no other needs fewer preemptions.

    Attributes:
        decisions: (step, thread) wherever it departs from the rule that who runs goes on.
        schedules: how many were tried, with this one.
    """

    def __init__(self, schedule, schedules):
        self.decisions = schedule.decisions
        self.schedules = schedules
        trail = "".join(f"\n  {line}" for line in schedule.trail)
        super().__init__(f"{schedule.why}\nschedule {schedules}, decisions={self.decisions}:{trail}")


@contextmanager
def _on_one_core():
    """One thread runs at a time: to switch within a core takes half as long as to wake another."""
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(cores)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, cores)


@_on_one_core()
def explore(setup, bodies, check, *, preemptions=0, locks=(), lines=(), timeouts=False, decisions=None):
    """Carry out every schedule; how many there were.

    Fewest preemptions first, and else depth first: a schedule that was carried out tells at which of its later
    steps another thread could have gone on, and each of those is the beginning of another schedule.

    Args:
        setup: makes the world, anew for every schedule.
        bodies: functions of the world, one for each thread.
        check: is called with the world when all have ended.
        preemptions: how many a schedule may have.
        locks: modules whose `threading` and `queue` are replaced by what the explorer can see.
        lines: those of them that may lose the processor before any of their lines.
        timeouts: may a wait end by its timeout? It costs a preemption while others can go on. Else a wait lasts
            until it is woken: what only time would end is a wake-up that was lost.
        decisions: carry out this schedule alone, which a FoundError has named.

    Raises:
        FoundError: a body or the check raised, or nobody could go on.
    """
    schedules, files = 0, {module.__file__ for module in lines}
    ways = [[decisions or ()], *([] for _ in range(preemptions))]
    for cost, branches in enumerate(ways):
        while branches:
            # Without preemptions left only a thread that cannot go on leaves a choice.
            left = 0 if decisions else preemptions - cost
            schedule = Schedule(branches.pop(), files, preemptions=left, timeouts=timeouts)
            with _seen_by(schedule, {*locks, *lines}):
                schedule.carry_out(setup, bodies, check)
            schedules += 1
            if schedule.why is not None:
                raise FoundError(schedule, schedules) from schedule.error
            if schedules > MOST_SCHEDULES:
                raise ValueError(f"there are more than {MOST_SCHEDULES} schedules; ask for less")
            for price, *decision in schedule.forks if decisions is None else ():
                if cost + price <= preemptions:
                    ways[cost + price].append((*schedule.decisions, tuple(decision)))
    return schedules


@contextmanager
def _seen_by(schedule, modules):
    seen = [
        (vars(module), name) for module in modules for name in ("threading", "queue") if name in vars(module)
    ]
    before = [names[name] for names, name in seen]
    # What a finalizer does, whenever it comes, is no step of the code under test.
    gc.disable()
    try:
        for names, name in seen:
            names[name] = stand_in(schedule, names[name])
        yield
    finally:
        for (names, name), real in zip(seen, before, strict=True):
            names[name] = real
        gc.enable()


class Schedule:
    """One run.

    Attributes:
        decisions: where it departs from the rule that who runs goes on, and else the first that can.
        forks: (price in preemptions, step, thread) for every other way that it could have gone, after those.
        why: what went wrong, or None; `error` is the exception that said so.
        trail: who ran, until where.
    """

    def __init__(self, decisions, files, *, preemptions, timeouts):
        self.decisions = decisions
        self.forks = []
        self.why = self.error = None
        self.trail = []
        self._ahead = dict(decisions)
        self._files = files
        # From that step on, when nothing is ahead, a thread that can go on may be left.
        self._free_from = 0 if preemptions else MOST_STEPS
        self._next = self._next_choice()
        self._timeouts = timeouts
        self._threads = []
        self._steps = 0
        self._running = self._over = False
        self._finished = _thread.allocate_lock()

    def carry_out(self, setup, bodies, check):
        """Run the bodies, each on its thread, in a new world, and check that."""
        world = setup()
        for body in bodies:
            Thread(self, body, (world,), name=body.__name__).start()
        self._run()
        if self.why is None:
            try:
                check(world)
            except Exception as error:  # noqa: BLE001 - a world that cannot be checked is not right either
                self.fail("the check failed", error)

    def _run(self):
        self._finished.acquire()
        self._running = True
        for thread in tuple(self._threads):
            threading.Thread.start(thread)
        try:
            self._choose(None).gate.release()
            if not self._finished.acquire(timeout=BOUND):
                self._stop("somebody waits for what the explorer cannot see")
        finally:
            self._over = True
            for thread in self._threads:
                with suppress(RuntimeError):
                    thread.gate.release()
                threading.Thread.join(thread, BOUND)

    # --- what the threads call ---

    def step(self, ready=None, *, timed=False):
        """Perhaps let another thread go on; with `ready`, not before that is true. False: its time ran out."""
        me = threading.current_thread()
        if not isinstance(me, Thread):
            # The setup or the check, beside which nobody runs.
            if not (ready is None or ready() or timed):
                raise RuntimeError("it waits, and nobody is there to end that")
            return ready is None or ready()
        me.ready, me.timed = ready, timed
        self._pass_on(me)
        woken = me.can_go_on()
        me.ready = None
        return woken

    def trace(self, frame, _event, _arg):
        """A trace function: each line of the chosen files is a step."""
        return self._trace_line if frame.f_code.co_filename in self._files else None

    def _trace_line(self, frame, event, _arg):
        if event == "line":
            if self._steps + 1 < self._next:
                self._steps += 1
            else:
                self.step()
        return self._trace_line

    def start(self, thread):
        """A thread joins."""
        self._threads.append(thread)
        if self._running:
            threading.Thread.start(thread)
            self.step()

    def leave(self, me):
        """A thread has ended."""
        with suppress(AbandonedError):
            self._pass_on(me)

    def fail(self, why, error=None):
        """It went wrong; the first reason stays."""
        if self.why is None:
            self.why, self.error = why, error
            if error is not None:
                self.why += f": {type(error).__name__}: {str(error).partition(chr(10))[0]}"
            self._end()

    # --- who goes on ---

    def _pass_on(self, me):
        if self._over:
            raise AbandonedError
        after = self._choose(me)
        if after is me:
            return
        self.trail.append(f"{me.name}: to {'its end' if me.ended else _where(sys._getframe())}")
        if after is not None:
            after.gate.release()
        elif all(thread.ended for thread in self._threads):
            self._end()
        else:
            self._stop("nobody can go on")
        if not me.ended:
            me.gate.acquire()
        if self._over:
            raise AbandonedError

    def _choose(self, me):
        self._steps += 1
        if self._steps > MOST_STEPS:
            return None
        if self._steps < self._next and me is not None and me.can_go_on():
            return me
        able = [thread for thread in self._threads if thread.can_go_on()]
        late = [thread for thread in self._threads if self._timeouts and thread.timed and thread not in able]
        usual = me if me in able else next(iter(able or late), None)
        if self._steps in self._ahead:
            usual = self._threads[self._ahead.pop(self._steps)]
            self._next = self._next_choice()
            if usual not in able + late:
                raise RuntimeError(f"the bodies are not deterministic: {usual.name} cannot go on now")
        elif not self._ahead:
            for thread in able + late:
                if thread is not usual:
                    price = int(usual is me if thread in able else bool(able))
                    self.forks.append((price, self._steps, self._threads.index(thread)))
        return usual

    def _next_choice(self):
        return next(iter(self._ahead), self._free_from)

    def _stop(self, why):
        frames = sys._current_frames()
        self.trail += [
            f"{thread.name} stands at {_where(frames[thread.ident])}"
            for thread in self._threads
            if not thread.ended and thread.ident in frames
        ]
        self.fail(why if self._steps <= MOST_STEPS else f"it has not ended after {MOST_STEPS} steps")

    def _end(self):
        self._over = True
        with suppress(RuntimeError):
            self._finished.release()


def _where(frame):
    while frame.f_code.co_filename in (__file__, stand_ins.__file__):
        frame = frame.f_back
    path, line = frame.f_code.co_filename, frame.f_lineno
    return f"{Path(path).name}:{line}  {linecache.getline(path, line).strip()}"
