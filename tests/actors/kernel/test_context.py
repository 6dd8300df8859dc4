"""Which threads must not wait."""

from __future__ import annotations

import threading

import pytest

from showcaller.actors.kernel.context import forbid_waiting, stepping
from showcaller.actors.kernel.errors import BlockingCallError


def test_waiting_is_forbidden_while_the_thread_steps_and_only_there():
    """Also inside another one; on other threads it is allowed."""
    forbid_waiting("get()")
    with stepping("outer"):
        with (
            stepping("inner"),
            pytest.raises(BlockingCallError, match=r"get\(\) waits, and the thread of inner"),
        ):
            forbid_waiting("get()")
        with pytest.raises(BlockingCallError, match="outer"):
            forbid_waiting("get()")
        allowed = threading.Event()
        other = threading.Thread(target=lambda: (forbid_waiting("get()"), allowed.set()), daemon=True)
        other.start()
        assert allowed.wait(10.0)
    forbid_waiting("get()")
