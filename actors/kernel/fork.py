"""Notices a fork: threads do not survive it, so what was started before it must refuse work after it.

The check is one comparison of integers and takes no lock, because a lock may have been copied locked.
"""

from __future__ import annotations

import os

from showcaller.actors.kernel.errors import ForkedProcessError

_generation = 0


def _in_child() -> None:
    global _generation
    _generation += 1


os.register_at_fork(after_in_child=_in_child)


def generation() -> int:
    """How many forks lie between the first process and this one."""
    return _generation


def refuse_if_forked(born: int) -> None:
    """Raise ForkedProcessError when `born`, the generation noted at the start, is not today's."""
    if born != _generation:
        raise ForkedProcessError(
            "this runtime was started before a fork and has no threads in the child process; "
            "start a Runtime of the child's own after the fork"
        )
