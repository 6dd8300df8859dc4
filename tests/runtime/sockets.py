"""Control sockets for tests: where they are, and what they say."""

from __future__ import annotations

import contextlib
import os
import socket
from pathlib import Path

from showcaller.runtime.control_client import NoAnswer, Report, ask_all, find_runtimes
from tests.runtime.live import PATIENCE

ASK = b'{"version": 1, "ask": "status"}\n'


def sockets_in(folder: Path) -> list[Path]:
    """Every socket below a folder, those without their name yet included."""
    return [path for path in folder.rglob("*") if path.is_socket()]


def only_socket(folder: Path) -> Path:
    """The one that is there."""
    (path,) = sockets_in(folder)
    return path


def exchange(path: Path, request: bytes) -> bytes:
    """What comes back, up to the end of the connection."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(PATIENCE)
        connection.connect(os.fspath(path))
        with contextlib.suppress(BrokenPipeError):
            connection.sendall(request)
        pieces = []
        with contextlib.suppress(ConnectionResetError):
            while piece := connection.recv(2**16):
                pieces.append(piece)
    return b"".join(pieces)


def reports() -> list[Report]:
    """What those say that are found; each must answer."""
    answers = ask_all(find_runtimes(os.environ), PATIENCE)
    assert not [answer for answer in answers if isinstance(answer, NoAnswer)]
    return [answer for answer in answers if isinstance(answer, Report)]
