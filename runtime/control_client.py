"""The other side of the control sockets: finds the running runtimes of this user, and asks each how it is."""

from __future__ import annotations

import json
import os
import re
import socket
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from attrs import frozen
from cattrs import Converter

from showcaller.runtime.control import VERSION, check_private, places
from showcaller.runtime.status import RuntimeStatus

ANSWER_SECONDS = 2.0
"""How long a process gets for its answer."""
LONGEST_ANSWER = 64 * 2**20
"""Bytes."""

_NAME = re.compile(r"(\d+)-(\w+)\.sock", re.ASCII)
_REQUEST = json.dumps({"version": VERSION, "ask": "status"}).encode() + b"\n"


@frozen
class Found:
    """The socket of a runtime: its process, its name, and where it listens."""

    pid: int
    name: str
    path: Path


@frozen(kw_only=True)
class Report:
    """What a runtime has answered.

    Attributes:
        pid, name: its process and its name, which begins the ids of its requests.
        uptime: seconds since its start.
        status: of that moment.
        document: the status as it was sent.
    """

    pid: int
    name: str
    uptime: float
    status: RuntimeStatus
    document: Mapping[str, Any]


@frozen(kw_only=True)
class NoAnswer:
    """A runtime that is there, and from which nothing was to be learned, for a reason."""

    pid: int
    name: str
    reason: str


def find_runtimes(environ: Mapping[str, str]) -> list[Found]:
    """The sockets in this user's own folders, by process; some may be of dead processes."""
    found: list[Found] = []
    for folder in places(environ) if hasattr(socket, "AF_UNIX") else []:
        try:
            check_private(folder)
            names = sorted(path.name for path in folder.iterdir())
        except OSError:
            continue
        matches = [match for name in names if (match := _NAME.fullmatch(name))]
        found += [Found(int(match[1]), match[2], folder / match[0]) for match in matches]
    return sorted(found, key=lambda one: (one.pid, one.name))


def ask_all(found: Iterable[Found], seconds: float = ANSWER_SECONDS) -> list[Report | NoAnswer]:
    """Ask each for its status, all of them within so many seconds.

    The socket of a dead process is removed and left out.
    """
    until = time.monotonic() + seconds
    # All are asked before any is heard, so that one that is silent takes no time from the others.
    inquiries = [_Inquiry(one, seconds) for one in found]
    try:
        answers = [inquiry.hear(until) for inquiry in inquiries]
    finally:
        for inquiry in inquiries:
            inquiry.close()
    return [answer for answer in answers if answer is not None]


class _Inquiry:
    """One connection, one question."""

    def __init__(self, found: Found, seconds: float) -> None:
        self._found = found
        self._seconds = seconds
        self._error: OSError | None = None
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.settimeout(seconds)
        try:
            self._socket.connect(os.fspath(found.path))
            self._socket.sendall(_REQUEST)
        except OSError as error:
            self._error = error

    def close(self) -> None:
        self._socket.close()

    def hear(self, until: float) -> Report | NoAnswer | None:
        """What it says; None when it is no longer there."""
        try:
            if self._error is not None:
                raise self._error
            line = b"".join(self._pieces(until))
        except ConnectionRefusedError:
            self._found.path.unlink(missing_ok=True)
            return None
        except FileNotFoundError:
            return None
        except (TimeoutError, BlockingIOError):
            return self._no_answer(
                f"does not answer within {self._seconds:g} s; it is stopped, or something in it holds the GIL"
            )
        except OSError as error:
            # One that stops meanwhile takes its socket away first.
            if not self._found.path.exists() or self._is_dead():
                return None
            return self._no_answer(f"did not answer: {error}")
        return self._read(line)

    def _is_dead(self) -> bool:
        """Did it die with the question in its hands? Then nobody takes a second; its socket is removed."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as second:
            second.settimeout(self._seconds)
            try:
                second.connect(os.fspath(self._found.path))
            except ConnectionRefusedError:
                self._found.path.unlink(missing_ok=True)
                return True
            except OSError:
                return False
        return False

    def _pieces(self, until: float) -> Iterator[bytes]:
        length = 0
        while length <= LONGEST_ANSWER:
            left = until - time.monotonic()
            # What is there already is taken, however late it is.
            self._socket.settimeout(max(0.0, left))
            piece = self._socket.recv(2**16)
            if not piece:
                raise ConnectionResetError("it closed the connection")
            yield piece
            length += len(piece)
            if piece.endswith(b"\n"):
                return
        raise ConnectionAbortedError("its answer is too long")

    def _read(self, line: bytes) -> Report | NoAnswer:
        try:
            answer = json.loads(line)
            if "error" in answer:
                return self._no_answer(f"answers: {answer['error']}")
            return Report(
                pid=answer["pid"],
                name=answer["name"],
                uptime=float(answer["uptime"]),
                status=Converter().structure(answer["status"], RuntimeStatus),
                document=answer["status"],
            )
        except Exception:  # noqa: BLE001 - a stranger's answer may be wrong in any way
            return self._no_answer(
                "answers what this version does not understand; use the showcaller that it runs with"
            )

    def _no_answer(self, reason: str) -> NoAnswer:
        return NoAnswer(pid=self._found.pid, name=self._found.name, reason=reason)
