"""What code under exploration sees in place of `threading` and `queue`: the same, but it waits for its turn.

Nothing here blocks: whoever must wait says for what, and the schedule lets it go on once that is true. A lock
is a step before it is taken and one after it is released, so that what lies between two locks is a step too.
"""

from __future__ import annotations

import _thread
import queue
import sys
import threading
from collections import deque
from functools import partial
from types import SimpleNamespace


class AbandonedError(BaseException):
    """Ends a thread whose run is over."""


def stand_in(schedule, module):
    """What replaces `threading` or `queue` in a module for one run."""
    if module is queue:
        return SimpleNamespace(SimpleQueue=partial(SimpleQueue, schedule), Empty=queue.Empty)
    return SimpleNamespace(
        Lock=partial(Lock, schedule),
        RLock=partial(Lock, schedule, reentrant=True),
        Condition=partial(Condition, schedule),
        Event=partial(Event, schedule),
        Thread=partial(Thread, schedule),
        current_thread=threading.current_thread,
    )


class Thread(threading.Thread):
    """A thread that runs when it is its turn."""

    def __init__(self, schedule, target, args=(), *, name=None, daemon=True):
        super().__init__(target=target, args=args, name=name, daemon=True)
        self.gate = _thread.allocate_lock()
        self.gate.acquire()
        self.ready = None
        self.timed = self.ended = False
        self._schedule = schedule

    def can_go_on(self):
        return not self.ended and (self.ready is None or self.ready())

    def start(self):
        self._schedule.start(self)

    def run(self):
        self.gate.acquire()
        try:
            sys.settrace(self._schedule.trace)
            super().run()
        except AbandonedError:
            pass
        except BaseException as error:  # noqa: BLE001 - whatever a body raises is what was found
            self._schedule.fail(f"{self.name} failed", error)
        finally:
            sys.settrace(None)
            self.ended, self.timed = True, False
            self._schedule.leave(self)

    def is_alive(self):
        return not self.ended

    def join(self, timeout=None):
        self._schedule.step(lambda: self.ended, timed=timeout is not None)


class Lock:
    def __init__(self, schedule, *, reentrant=False):
        self._schedule = schedule
        self._reentrant = reentrant
        self._holder = None
        self._depth = 0

    def acquire(self, blocking=True, timeout=-1):
        me = _thread.get_ident()
        if self._reentrant and self._holder == me:
            self._depth += 1
            return True
        if blocking:
            taken = self._schedule.step(lambda: not self._depth, timed=timeout >= 0)
        else:
            taken = self._schedule.step() and not self._depth
        if taken:
            self._holder, self._depth = me, 1
        return taken

    def let_go(self):
        """Release it without a step."""
        if not self._depth:
            raise RuntimeError("release unlocked lock")
        self._depth -= 1

    def release(self):
        self.let_go()
        if not self._depth:
            self._schedule.step()

    def __enter__(self):
        return self.acquire()

    def __exit__(self, *_):
        self.release()


class Condition:
    def __init__(self, schedule, lock):
        self._schedule = schedule
        self._lock = lock
        self._waiting = []

    def wait(self, timeout=None):
        ticket = object()
        self._waiting.append(ticket)
        self._lock.let_go()
        woken = self._schedule.step(lambda: ticket not in self._waiting, timed=timeout is not None)
        if not woken:
            self._waiting.remove(ticket)
        self._lock.acquire()
        return woken

    def wait_for(self, predicate, timeout=None):
        while not (met := predicate()) and self.wait(timeout):
            pass
        return met or predicate()

    def notify(self, n=1):
        del self._waiting[:n]

    def notify_all(self):
        self._waiting.clear()


class Event:
    def __init__(self, schedule):
        self._schedule = schedule
        self._flag = False

    def is_set(self):
        self._schedule.step()
        return self._flag

    def set(self):
        self._flag = True
        self._schedule.step()

    def wait(self, timeout=None):
        return self._schedule.step(lambda: self._flag, timed=timeout is not None)


class SimpleQueue:
    def __init__(self, schedule):
        self._schedule = schedule
        self._items = deque()

    def put(self, item):
        self._items.append(item)
        self._schedule.step()

    def get(self, timeout=None):
        if not self._schedule.step(lambda: bool(self._items), timed=timeout is not None):
            raise queue.Empty
        return self._items.popleft()
