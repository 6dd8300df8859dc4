"""What the tests of control sockets share, and those of pending requests."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from showcaller.actors.kernel.workers import ThreadWorkers
from tests.runtime.pending_request import BOUND, Request


@pytest.fixture
def sockets(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder in which all control sockets of the test are; its path is short, as a socket's must be."""
    with tempfile.TemporaryDirectory(prefix="sc", dir="/tmp", ignore_cleanup_errors=True) as folder:
        monkeypatch.setenv("XDG_RUNTIME_DIR", folder)
        monkeypatch.setenv("TMPDIR", folder)
        yield Path(folder)


@pytest.fixture
def request_of() -> Iterator[Callable[[], Request]]:
    """Makes pending requests whose callbacks run on two threads, of which none is left in the end."""
    pool = ThreadWorkers("callbacks", 2)
    yield lambda: Request(pool)
    pool.close()
    assert pool.join(BOUND) == 0


@pytest.fixture
def pending_request(request_of: Callable[[], Request]) -> Request:
    """One of them."""
    return request_of()
