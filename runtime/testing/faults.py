"""Everything that can go wrong in a simulation; public as `showcaller.testing.faults`.

Each function makes a Fault, for `simulation.at(time, fault)`: a value whose repr is the call that makes it
again. A number that cannot be is refused when the fault is made, a name that does not exist when it strikes.
"""

from __future__ import annotations

from showcaller.runtime.testing.fault import Fault
from showcaller.runtime.testing.mishaps import KINDS
from showcaller.runtime.testing.outside_faults import (
    add,
    batch,
    cancel,
    cancel_everything,
    drain,
    remove,
    replace,
    reset,
    suspend,
    wall_skip,
)
from showcaller.runtime.testing.tree_faults import (
    ACTORS,
    broken,
    crash,
    fail_init,
    fail_start,
    no_thread,
    overload,
    restart_storm,
    slow_actor,
    stall,
)
from showcaller.runtime.testing.upstream_faults import (
    duplicate_result,
    errors,
    late_result,
    latency,
    lost_result,
    outage,
    slow,
    slow_close,
)

__all__ = [
    "ACTORS",
    "KINDS",
    "Fault",
    "add",
    "batch",
    "broken",
    "cancel",
    "cancel_everything",
    "crash",
    "drain",
    "duplicate_result",
    "errors",
    "fail_init",
    "fail_start",
    "late_result",
    "latency",
    "lost_result",
    "no_thread",
    "outage",
    "overload",
    "remove",
    "replace",
    "reset",
    "restart_storm",
    "slow",
    "slow_actor",
    "slow_close",
    "stall",
    "suspend",
    "wall_skip",
]
