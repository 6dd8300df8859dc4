"""The place of the control socket: private, there while the runtime runs, and empty afterwards."""

from __future__ import annotations

import logging
import os
import socket
import threading
from pathlib import Path
from typing import Any

import pytest

from showcaller.actors.kernel.reply import ReplyFuture
from showcaller.runtime import control
from showcaller.runtime.control import Control, places
from showcaller.runtime.control_client import find_runtimes
from showcaller.runtime.runtime import Runtime
from showcaller.runtime.testing.simulation import Simulation
from tests.runtime.live import PATIENCE, Peer, config_of, our_threads, ready, running
from tests.runtime.sockets import only_socket, reports, sockets_in


def test_only_its_user_reaches_the_socket_and_a_stop_removes_it(sockets: Path) -> None:
    """Folder 0700, socket 0600, both from the first moment on which the name is there."""
    with running({"a": Peer(ready)}) as runtime:
        path = only_socket(sockets)
        assert path == sockets / "showcaller" / f"{os.getpid()}-{runtime._engine.machine.name}.sock"
        assert path.stat().st_mode & 0o777 == 0o600
        assert path.parent.stat().st_mode & 0o777 == 0o700
        assert "showcaller-control" in {thread.name for thread in our_threads()}
    assert sockets_in(sockets) == []
    runtime.stop()


def spoil(folder: Path, how: str) -> None:
    """Make a folder one that must not be used."""
    if how == "open to others":
        folder.mkdir(0o750)
    elif how == "a link":
        target = folder.with_name("target")
        target.mkdir(0o700)
        folder.symlink_to(target)
    else:
        folder.touch()


@pytest.mark.parametrize("how", ["open to others", "a link", "a file"])
def test_a_folder_that_is_not_private_is_not_used(
    how: str, sockets: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The next one is; without any, one warning says why of each, and the runtime runs."""
    spoil(sockets / "showcaller", how)
    with running({"a": Peer(ready)}):
        assert only_socket(sockets).parent == sockets / f"showcaller-{os.geteuid()}"
        assert len(reports()) == 1
    assert caplog.text == ""
    (sockets / f"showcaller-{os.geteuid()}").rmdir()
    if how == "a link":
        (sockets / "target").rmdir()
    spoil(sockets / f"showcaller-{os.geteuid()}", how)
    with running({"a": Peer(ready)}) as runtime:
        assert runtime.ask("q", timeout=PATIENCE).content == "hi"
        assert sockets_in(sockets) == []
    (record,) = [one for one in caplog.records if one.levelno >= logging.WARNING]
    assert record.getMessage().count(str(sockets)) == 2


def test_a_folder_of_another_user_is_not_used(
    sockets: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Whoever made it before us in a place that all may write to."""
    monkeypatch.delenv("XDG_RUNTIME_DIR")
    other = os.geteuid() + 1
    monkeypatch.setattr(os, "geteuid", lambda: other)
    (sockets / f"showcaller-{other}").mkdir(0o700)
    (sockets / f"showcaller-{other}" / "7-ab.sock").touch()
    with running({"a": Peer(ready)}):
        assert sockets_in(sockets) == []
        assert find_runtimes(os.environ) == []
    assert "belongs to another user" in caplog.text


def test_a_folder_with_a_name_that_is_too_long_is_not_used(
    sockets: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A socket's path has about a hundred characters."""
    far = sockets / ("x" * 100)
    far.mkdir()
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(far))
    with running({"a": Peer(ready)}):
        assert only_socket(sockets).parent == sockets / f"showcaller-{os.geteuid()}"


def test_without_a_thread_there_is_no_socket_and_a_warning(
    sockets: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A socket at which nobody answers would be worse than none."""
    start = threading.Thread.start

    def refuse(self: threading.Thread) -> None:
        if self.name == "showcaller-control":
            raise RuntimeError("can't start new thread")
        start(self)

    monkeypatch.setattr(threading.Thread, "start", refuse)
    with running({"a": Peer(ready)}) as runtime:
        assert runtime.ask("q", timeout=PATIENCE).content == "hi"
        assert sockets_in(sockets) == []
    assert "can't start new thread" in caplog.text
    assert not control._open_sockets


def test_a_socket_that_cannot_have_its_name_leaves_nothing(
    sockets: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next folder is used, and the first is as it was."""
    rename = Path.rename

    def refuse_first(self: Path, target: Path) -> Path:
        if self.parent == sockets / "showcaller":
            raise OSError("no")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", refuse_first)
    with running({"a": Peer(ready)}):
        assert only_socket(sockets).parent == sockets / f"showcaller-{os.geteuid()}"
    assert sockets_in(sockets) == []
    assert not control._open_sockets


def test_a_start_that_is_interrupted_leaves_no_socket(sockets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While it waits for the socket to be there."""
    before = our_threads()

    class Interrupted(ReplyFuture):
        def get(self, *, timeout: float | None = None) -> Any:
            super().get(timeout=timeout)
            raise KeyboardInterrupt

    monkeypatch.setattr(control, "ReplyFuture", Interrupted)
    with pytest.raises(KeyboardInterrupt):
        Runtime.start(config_of(["a"]), transports={"a": Peer(ready)})
    assert sockets_in(sockets) == []
    assert not control._open_sockets
    assert our_threads() <= before


def test_a_socket_that_is_late_holds_up_no_start_and_is_gone_when_the_runtime_is(
    sockets: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was closed before there was anything to close."""
    may_go = threading.Event()

    def late(environ: Any) -> list[Path]:
        assert may_go.wait(PATIENCE)
        return places(environ)

    monkeypatch.setattr(control, "places", late)
    monkeypatch.setattr(control, "OPEN_SECONDS", 0.01)
    monkeypatch.setattr(control, "CLOSE_SECONDS", 0.01)
    one = Control("x1", lambda: pytest.fail("nobody asks"))
    one.open()
    assert one.path is None
    one.close()
    may_go.set()
    (thread,) = [thread for thread in our_threads() if thread.name == "showcaller-control"]
    thread.join(PATIENCE)
    assert not thread.is_alive()
    assert sockets_in(sockets) == []
    assert not control._open_sockets


def test_a_system_without_unix_sockets_has_none(
    sockets: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Without a word: there is nothing to mend."""
    monkeypatch.delattr(socket, "AF_UNIX")
    with running({"a": Peer(ready)}):
        assert list(sockets.iterdir()) == []
        assert find_runtimes(os.environ) == []
    assert caplog.text == ""


def test_it_can_be_switched_off(sockets: Path) -> None:
    """`control = false`."""
    with running({"a": Peer(ready)}, settings={"control": False}):
        assert list(sockets.iterdir()) == []


def test_a_simulation_has_none(sockets: Path) -> None:
    """It has no threads, and its time is not ours."""
    with Simulation(config_of(["a"])):
        assert list(sockets.iterdir()) == []


def test_nothing_is_left_of_many_runtimes(sockets: Path) -> None:
    """No socket, no thread, no file descriptor."""
    for _ in range(20):
        one = Control("x1", lambda: pytest.fail("nobody asks"))
        one.open()
        assert only_socket(sockets) == one.path
        one.close()
        one.close()
    assert sockets_in(sockets) == []
    assert not control._open_sockets
    assert not [thread for thread in our_threads() if thread.name == "showcaller-control"]
