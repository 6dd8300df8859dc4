"""The control socket of a running runtime: says its status to other processes of the same user, and changes nothing.

One request is answered at a time, by a thread that asks no actor, so it answers when the core is stuck too. Failing
to listen never fails a start.
"""

from __future__ import annotations

import contextlib
import enum
import json
import os
import select
import socket
import stat
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import attrs
from pykka import Timeout

from showcaller.actors.kernel.reply import ReplyFuture
from showcaller.actors.log import CONTROL_OFF, THREADS_LEFT
from showcaller.runtime.status import RuntimeStatus

VERSION = 1
"""Of the protocol: one JSON object on a line each way, with `version`; the answer has `status` or `error`."""

LONGEST_REQUEST = 4096
"""Bytes."""
OPEN_SECONDS = 1.0
"""How long a start waits for the socket to be there."""
EXCHANGE_SECONDS = 1.0
"""From the accepted connection to the last byte of the answer."""
CLOSE_SECONDS = 0.5
"""How long an end waits for the thread."""
RETRY_SECONDS = 1.0
"""How long no connection is accepted after that has failed, as without a free file descriptor."""
_BACKLOG = 16
_NO_SIGNAL = getattr(socket, "MSG_NOSIGNAL", 0)
"""A peer that has gone must not end a host that takes SIGPIPE as other programs do."""

_open_sockets: set[socket.socket] = set()


def _close(one: socket.socket) -> None:
    _open_sockets.discard(one)
    one.close()


def _close_in_child() -> None:
    """After a fork: as long as a child listens too, a dead parent looks as if it were only slow."""
    for one in list(_open_sockets):
        one.close()
    _open_sockets.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_close_in_child)


def places(environ: Mapping[str, str]) -> list[Path]:
    """The folders for control sockets of this user, the best first."""
    temporary = environ.get("TMPDIR", "")
    found = [Path(temporary if temporary.startswith("/") else "/tmp", f"showcaller-{os.geteuid()}")]  # noqa: S108
    runtime_dir = environ.get("XDG_RUNTIME_DIR", "")
    if runtime_dir.startswith("/"):
        found.insert(0, Path(runtime_dir, "showcaller"))
    return found


def check_private(folder: Path) -> None:
    """Is it a real folder, ours, and closed to everyone else?

    Raises:
        OSError: it is not, or is not there.
    """
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode):
        raise NotADirectoryError("it is no folder")
    if found.st_uid != os.geteuid():
        raise PermissionError("it belongs to another user")
    if found.st_mode & 0o077:
        raise PermissionError("others may look into it; chmod 700 mends that")


class Control:
    """Listens from `open` to `close`.

    Everything is made and closed on its own thread: an interrupt, which strikes the main thread alone, leaves
    nothing half done.

    Args:
        name: the runtime's; with the process's id it names the socket.
        take: the status of this moment; called on the control thread.

    Attributes:
        path: the socket, while it is there.
    """

    def __init__(self, name: str, take: Callable[[], RuntimeStatus]) -> None:
        self.path: Path | None = None
        self._name = name
        self._take = take
        self._began = time.monotonic()
        self._opened = ReplyFuture()
        self._wake: socket.socket | None = None
        self._thread: threading.Thread | None = None

    def open(self) -> None:
        """Listen; where that cannot be, a warning says why."""
        if not hasattr(socket, "AF_UNIX"):
            return
        try:
            self._wake, woken = socket.socketpair()
        except OSError as error:
            CONTROL_OFF.say(error.strerror)
            return
        _open_sockets.update((self._wake, woken))
        self._thread = threading.Thread(
            target=self._run, args=(woken,), name="showcaller-control", daemon=True
        )
        try:
            self._thread.start()
        except RuntimeError as error:
            CONTROL_OFF.say(error)
            _close(woken)
            return
        with contextlib.suppress(Timeout):
            self._opened.get(timeout=OPEN_SECONDS)

    def close(self) -> None:
        """Remove the socket and end the thread; no error when that was done."""
        self._remove()
        wake, thread = self._wake, self._thread
        if wake is None:
            return
        with contextlib.suppress(OSError):
            wake.send(b"!", _NO_SIGNAL)
        if thread is not None and thread is not threading.current_thread() and thread.is_alive():
            thread.join(CLOSE_SECONDS)
            if thread.is_alive():
                THREADS_LEFT.say(1)
        self._wake = None
        _close(wake)

    def _remove(self) -> None:
        path, self.path = self.path, None
        if path is not None:
            with contextlib.suppress(OSError):
                path.unlink()

    def _run(self, woken: socket.socket) -> None:
        try:
            listener = self._listen()
            self._opened.set()
            if listener is not None:
                try:
                    _Server(listener, woken, self._reply).run()
                finally:
                    _close(listener)
        finally:
            self._remove()
            _close(woken)

    def _listen(self) -> socket.socket | None:
        reasons = []
        for folder in places(os.environ):
            try:
                return self._listen_in(folder)
            except OSError as error:
                reasons.append(f"{folder}: {error.strerror or error}")
        CONTROL_OFF.say("; ".join(reasons))
        return None

    def _listen_in(self, folder: Path) -> socket.socket:
        with contextlib.suppress(FileExistsError):
            folder.mkdir(0o700)
        check_private(folder)
        name = f"{os.getpid()}-{self._name}.sock"
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        _open_sockets.add(listener)
        try:
            # It gets its name when it listens: a named socket at which nobody listens is a dead one's.
            unnamed = folder / f".{name}"
            listener.bind(os.fspath(unnamed))
            self.path = unnamed
            unnamed.chmod(0o600)
            listener.listen(_BACKLOG)
            listener.setblocking(False)
            self.path = unnamed.rename(folder / name)
        except BaseException:
            self._remove()
            _close(listener)
            raise
        return listener

    def _reply(self, request: bytes) -> bytes:
        answer: dict[str, Any] = {"version": VERSION}
        try:
            document = json.loads(request)
            if not isinstance(document, dict) or document.get("version") != VERSION:
                answer["error"] = f"this runtime speaks version {VERSION} of the protocol"
            elif document.get("ask") != "status":
                answer["error"] = "this runtime answers nothing but status"
            else:
                answer |= {
                    "pid": os.getpid(),
                    "name": self._name,
                    "uptime": round(time.monotonic() - self._began, 3),
                    "status": attrs.asdict(self._take(), value_serializer=_as_value),
                }
        except (ValueError, RecursionError):
            answer["error"] = "the request is no JSON object"
        except Exception as error:  # noqa: BLE001 - one status that cannot be taken is not the end of the next
            answer["error"] = f"the status could not be taken ({type(error).__name__})"
        return json.dumps(answer).encode() + b"\n"


def _as_value(_owner: Any, _attribute: Any, value: Any) -> Any:
    return value.value if isinstance(value, enum.Enum) else value


class _Server:
    """One connection after the other, until it is woken."""

    def __init__(
        self, listener: socket.socket, woken: socket.socket, reply: Callable[[bytes], bytes]
    ) -> None:
        self._listener = listener
        self._woken = woken
        self._reply = reply

    def run(self) -> None:
        while self._wait(self._listener, select.POLLIN, None):
            try:
                connection = self._listener.accept()[0]
            except BlockingIOError:
                continue
            except OSError:
                self._wait(None, 0, time.monotonic() + RETRY_SECONDS)
                continue
            with connection, contextlib.suppress(OSError):
                connection.setblocking(False)
                self._exchange(connection, time.monotonic() + EXCHANGE_SECONDS)

    def _exchange(self, connection: socket.socket, until: float) -> None:
        request = b""
        while not request.endswith(b"\n"):
            if len(request) > LONGEST_REQUEST or not self._wait(connection, select.POLLIN, until):
                return
            piece = connection.recv(LONGEST_REQUEST)
            if not piece:
                return
            request += piece
        left = memoryview(self._reply(request))
        while left and self._wait(connection, select.POLLOUT, until):
            left = left[connection.send(left, _NO_SIGNAL) :]

    def _wait(self, other: socket.socket | None, event: int, until: float | None) -> bool:
        """Wait for an event of the other; False when the time has come, or the end."""
        poll = select.poll()
        poll.register(self._woken, select.POLLIN)
        if other is not None:
            poll.register(other, event)
        milliseconds = None if until is None else max(0.0, until - time.monotonic()) * 1000
        ready = [number for number, _ in poll.poll(milliseconds)]
        return bool(ready) and self._woken.fileno() not in ready
